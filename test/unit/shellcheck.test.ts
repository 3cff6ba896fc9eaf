/** The steps' scripts are checked as they are sent to the host: values, library and step together. */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { renderHook } from "../../components/entrance/acme/acme";
import { fullConfig, probeType, runProgram } from "./mocks";

const project = join(__dirname, "../..");
const read = (file: string) => readFileSync(join(project, file), "utf8");
const components = readdirSync(join(project, "components"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".sh"))
  .map((file) => `components/${file}`)
  .sort();
const isLibrary = (file: string) => file.startsWith("components/step/library/");

/** What the TypeScript of all steps adds, whether or not a step's script asks for it. */
const commonValues = ["step", "managed", "drain_file", "stack", "privileged"];

const unusedVariable = "SC2034";
/** A step need not use all of a part of the library, but one of them should. */
const neededOnce = [unusedVariable, "SC2317", "SC2329"];

interface Finding {
  readonly line: number;
  readonly code: string;
  readonly message: string;
}

/** Runs the project's shellcheck, which is installed at the first time. */
async function shellcheck(files: readonly string[]): Promise<Map<string, Finding[]>> {
  const command = join(project, "scripts/shellcheck.sh");
  const args = ["--shell=bash", "--format=json1", ...files];
  const output = await new Promise<string>((done, failed) => {
    execFile(command, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      // 1 is for findings.
      if ((error === null || error.code === 1) && stdout !== "") {
        done(stdout);
      } else {
        failed(new Error(`shellcheck did not run: ${stderr}`));
      }
    });
  });
  const found = new Map<string, Finding[]>(files.map((file) => [file, []]));
  for (const { file, line, code, message } of JSON.parse(output).comments) {
    found.get(file)?.push({ line, code: `SC${code}`, message });
  }
  return found;
}

interface Place {
  readonly file: string;
  readonly line: number;
}

/** Where the lines of a rendered script come from; nothing for the values and for the call at the end. */
function origins(script: string): (Place | undefined)[] {
  const places: (Place | undefined)[] = script.split("\n").map(() => undefined);
  for (const file of components) {
    const text = read(file).trimEnd();
    const at = script.indexOf(`\n${text}\n`);
    if (at >= 0) {
      const first = script.slice(0, at + 1).split("\n").length - 1;
      for (const [index] of text.split("\n").entries()) {
        places[first + index] = { file, line: index + 1 };
      }
    }
  }
  return places;
}

/** The functions of a file: the lines of each. */
function functionsOf(file: string): Map<string, { from: number; to: number; text: string }> {
  const lines = read(file).split("\n");
  const functions = new Map<string, { from: number; to: number; text: string }>();
  for (const [index, line] of lines.entries()) {
    const [, name, oneLine] = /^(\w+)\(\) \{(.*\})?/.exec(line) ?? [];
    if (name !== undefined) {
      const last = oneLine === undefined ? lines.indexOf("}", index) : index;
      const text = lines.slice(index, last + 1).join("\n");
      functions.set(name, { from: index + 1, to: last + 1, text });
    }
  }
  return functions;
}

interface Sent {
  readonly script: string;
  /** Values that stand in the command line, where a preview shows them; some have no other use. */
  readonly shown: readonly string[];
}

/** Each script that the program sends, with ACME and without, and what certbot runs. */
async function scriptsOfTheProgram(): Promise<Sent[]> {
  const scripts = new Map<string, Sent>();
  for (const mode of ["selfSigned", "acme"]) {
    const program = await runProgram({ ...fullConfig, "tls.mode": mode });
    for (const { inputs } of program.ofType(probeType)) {
      const [settings = "{}"] = /\{.*\}/.exec(String(inputs.command)) ?? [];
      const shown = Object.keys(JSON.parse(settings)).map((name) =>
        name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      );
      scripts.set(String(inputs.script), { script: String(inputs.script), shown });
    }
  }
  const hook = { script: renderHook("/etc/server.pem"), shown: [] };
  return [...scripts.values(), hook];
}

interface Faults {
  /** What is wrong, as `FILE:LINE: CODE MESSAGE`. */
  readonly faults: readonly string[];
  /** What is, if it is so in every script in which the file is. */
  readonly unneeded: readonly string[];
  readonly files: ReadonlySet<string>;
}

function faultsOf({ script, shown }: Sent, findings: readonly Finding[]): Faults {
  const places = origins(script);
  const lines = script.split("\n");
  const step = places.find((place) => place !== undefined && !isLibrary(place.file))?.file;
  if (step === undefined) {
    throw new Error(`no file of components/ is in the script that begins ${lines[0]}`);
  }
  const faults: string[] = [];
  const unneeded: string[] = [];
  for (const { line, code, message } of findings) {
    const place = places[line - 1];
    if (place === undefined) {
      // What a value holds is data; but one that no line uses is one too many.
      const value = /^declare -r[aA]? (\w+)=/.exec(lines[line - 1] ?? "")?.[1];
      if (code === unusedVariable && value !== undefined && ![...commonValues, ...shown].includes(value)) {
        faults.push(`${step}: ${code} the value ${value} is not used`);
      }
      continue;
    }
    const fault = `${place.file}:${place.line}: ${code} ${message}`;
    const isShared = isLibrary(place.file);
    if (isShared && neededOnce.includes(code)) {
      unneeded.push(fault);
    } else {
      faults.push(fault);
    }
  }
  return { faults, unneeded, files: new Set(places.flatMap((place) => place?.file ?? [])) };
}

/** What is wrong in any of the scripts, once. */
async function faultsOfAll(sent: readonly Sent[]): Promise<string[]> {
  const files = sent.map(({ script }, index) => {
    const file = join(directory, `${index}.sh`);
    writeFileSync(file, script);
    return file;
  });
  const findings = await shellcheck(files);
  const all = sent.map((each, index) => faultsOf(each, findings.get(files[index] ?? "") ?? []));
  const unsent = components.filter((file) => all.every(({ files }) => !files.has(file)));
  const needless = all
    .flatMap(({ unneeded }) => unneeded)
    .filter((fault) =>
      all.every(
        ({ files, unneeded }) => unneeded.includes(fault) || !files.has(fault.slice(0, fault.indexOf(":"))),
      ),
    );
  const distinct = new Set([
    ...unsent.map((file) => `${file}: is in no script`),
    ...all.flatMap(({ faults }) => faults),
    ...needless,
  ]);
  return [...distinct].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "mlflow-vps-shellcheck-"));
  await shellcheck([join(project, "scripts/shellcheck.sh")]);
}, 120_000);
afterAll(() => rmSync(directory, { recursive: true }));

describe("shellcheck", () => {
  test("finds nothing in the script of any step, as it is sent", async () => {
    expect((await faultsOfAll(await scriptsOfTheProgram())).join("\n")).toBe("");
  }, 300_000);

  test.each([
    ["SC2312", "a failure in an argument", 'printf "%s" "$(false)"'],
    ["SC2310", "a function in a condition", "f() { false; }; if f; then echo; fi"],
    [
      "SC2311",
      "a function in a substitution that goes on after a failure",
      'f() { false; }; x=$(f); echo "$x"',
    ],
    ["SC2154", "a variable that is never set", 'echo "$nobody"'],
    ["SC2034", "a variable that is never used", "nobody=1"],
  ])("refuses with %s %s", async (code, _, line) => {
    const file = join(directory, "bad.sh");
    writeFileSync(file, `set -e\n${line}\n`);
    expect((await shellcheck([file])).get(file)).toEqual([expect.objectContaining({ code })]);
  });
});

describe("the components' scripts", () => {
  const linesWith = (pattern: RegExp, files: readonly string[]) =>
    files.flatMap((file) =>
      read(file)
        .split("\n")
        .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
    );

  test("switch a rule of shellcheck off for one command, with the reason, and never for a whole file", () => {
    const directive = /# shellcheck (?!shell=bash$)/;
    const local = /: # shellcheck disable=SC\d+ # \w/;
    const indented = linesWith(/^ +# shellcheck /, components);
    expect(
      linesWith(directive, components).filter((line) => !local.test(line) || !indented.includes(line)),
    ).toEqual([]);
  });

  test("have names of their own for their functions: a second one would replace the library's", () => {
    const files = components.flatMap((file) => [...functionsOf(file).keys()].map((name) => ({ file, name })));
    const ofLibrary = files.filter(({ file }) => isLibrary(file)).map(({ name }) => name);
    expect(ofLibrary).toEqual(expect.arrayContaining(["main", "write_file", "sql"]));
    expect(new Set(ofLibrary).size).toBe(ofLibrary.length);
    expect(files.filter(({ file, name }) => !isLibrary(file) && ofLibrary.includes(name))).toEqual([]);
  });

  test("leave EXIT to the library: a second trap would replace the first", () => {
    const trap = /^[^#]*\btrap\b.*\b(EXIT|0)\b/;
    const found = linesWith(trap, components);
    expect(found.filter((line) => !line.startsWith("components/step/library/core.sh:"))).toEqual([]);
    expect(found).not.toEqual([]);
  });
});
