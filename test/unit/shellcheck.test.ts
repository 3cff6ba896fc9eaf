/** The steps' scripts are checked as they are sent to the host: values, library and step together. */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
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
const unassigned = "SC2154";
/** A step need not use all of the library, but one of them should. */
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

const functionAt = ({ file, line }: Place) =>
  [...functionsOf(file)].find(([, { from, to }]) => from <= line && line <= to)?.[0];

/** The library's functions that a step calls, and those that they call. */
function reached(step: string): Set<string> {
  const functions = new Map(components.filter(isLibrary).flatMap((file) => [...functionsOf(file)]));
  const names = new Set<string>();
  const visit = (text: string) => {
    for (const [word] of text.replaceAll(/(^|\s)#.*/g, "").matchAll(/\w+/g)) {
      const called = functions.get(word);
      if (called !== undefined && !names.has(word)) {
        names.add(word);
        visit(called.text);
      }
    }
  };
  visit(`main\n${read(step)}`);
  return names;
}

interface Sent {
  readonly script: string;
  /** Values that stand in the command line, where a preview shows them; some have no other use. */
  readonly shown: readonly string[];
}

/** Each script that the program sends, with ACME and without. */
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
  return [...scripts.values()];
}

/** What is wrong in one script, as `FILE:LINE: CODE MESSAGE`, and what would be if it were so in every script. */
function faultsOf(
  { script, shown }: Sent,
  findings: readonly Finding[],
): { faults: string[]; unneeded: string[] } {
  const places = origins(script);
  const lines = script.split("\n");
  const step = places.find((place) => place !== undefined && !isLibrary(place.file))?.file;
  if (step === undefined) {
    throw new Error(`no file of components/ is in the script that begins ${lines[0]}`);
  }
  const called = reached(step);
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
    } else if (!isShared || code !== unassigned || called.has(functionAt(place) ?? step)) {
      faults.push(fault);
    }
  }
  return { faults, unneeded };
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
  const [first, ...others] = all.map(({ unneeded }) => unneeded);
  const inAll = first?.filter((fault) => others.every((other) => other.includes(fault))) ?? [];
  const distinct = new Set([...all.flatMap(({ faults }) => faults), ...inAll]);
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
