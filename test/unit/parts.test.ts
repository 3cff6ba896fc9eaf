/** A step is sent the parts of the library that it calls, and no others. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { renderHook } from "../../components/entrance/acme/acme";
import { library, type Part, parts } from "../../components/step/library";
import { startBashIn } from "./bash";
import { fullConfig, probeType, runProgram } from "./mocks";

const text = (part: Part) =>
  readFileSync(join(__dirname, `../../components/step/library/${part}.sh`), "utf8").trimEnd();

/** What a text defines by name: functions, and variables that stand outside of them. */
interface Definitions {
  readonly functions: ReadonlySet<string>;
  readonly variables: ReadonlySet<string>;
}

function definitions(bash: string): Definitions {
  const names = (pattern: RegExp) => new Set([...bash.matchAll(pattern)].map(([, name = ""]) => name));
  return {
    functions: names(/^(\w+)\(\) [{(]/gm),
    variables: names(/^(?:readonly|declare)(?: -\w+)? (\w+)=/gm),
  };
}

const defined = (part: Part) => definitions(text(part));

/** The bodies of all functions as bash writes them: no comments. */
async function bodies(script: string): Promise<ReadonlyMap<string, string>> {
  const { code, stdout, stderr } = await startBashIn(".", `${script}\ndeclare -f`, []).ended;
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return new Map(
    stdout
      .split(/^(?=\w+ \(\) ?$)/m)
      .map((body): [string, string] => [body.slice(0, body.indexOf(" ")), body.slice(body.indexOf("\n"))]),
  );
}

/** Without what looks like a function's name and is none: text, and names of variables. */
const words = (body: string) =>
  new Set(
    body
      .replaceAll(/<<(\w+).*\n[\s\S]*?\n\1$/gm, "")
      .replaceAll(/'[^']*'|"(?:\\.|[^"\\])*"|\\./g, " ")
      .replaceAll(/\$\{?!?#?\w+|\w+\+?=|^\s*(local|for|read|mapfile|unset)\b[^;]*/gm, " ")
      .match(/[\w-]+/g),
  );
const variables = (body: string) =>
  new Set([...body.matchAll(/\$\{?[!#]?(\w+)/g)].map(([, name = ""]) => name));

/** Whether one of these bodies uses a name of a part that is not its own. */
function isUsed(part: Part, all: ReadonlyMap<string, string>, outside = ""): boolean {
  const { functions, variables: constants } = defined(part);
  const others = [...all].filter(([name]) => !functions.has(name)).map(([, body]) => body);
  const body = [...others, outside].join("\n");
  return (
    [...words(body)].some((word) => functions.has(word)) ||
    [...variables(body)].some((name) => constants.has(name))
  );
}

const isSent = (part: Part, script: string) => `\n${script}\n`.includes(`\n${text(part)}\n`);
/** What is sent beside the parts that every script has, which use each other or are used by what is not bash. */
const optional = (script: string) =>
  parts.filter((part) => !["core", "files", "main"].includes(part) && isSent(part, script));

/** Functions of the components that are called and not there. */
function missing(all: ReadonlyMap<string, string>, known: ReadonlySet<string>): string[] {
  const called = new Set([...all.values()].flatMap((body) => [...words(body)]));
  return [...called].filter((word) => known.has(word) && !all.has(word));
}

const ofTheLibrary = new Set(parts.flatMap((part) => [...defined(part).functions]));

describe("a part of the library", () => {
  /** What the parts take from a step's values. */
  const values = "declare step=x managed=x stack=x privileged=true database_port=1 drain_file=x\n";

  test.each(parts)("%s comes with all that it calls, and with no other part", async (part) => {
    const script = library([part]);
    const all = await bodies(values + script);
    expect(missing(all, ofTheLibrary)).toEqual([]);
    const others = optional(script).filter((other) => other !== part);
    expect(others.filter((other) => !isUsed(other, all))).toEqual([]);
  });
});

/** The functions that a run comes to, by way of those that it calls. */
function reachedIn(all: ReadonlyMap<string, string> = new Map()): ReadonlyMap<string, string> {
  const reached = new Map<string, string>();
  const visit = (name: string) => {
    const body = all.get(name);
    if (body !== undefined && !reached.has(name)) {
      reached.set(name, body);
      words(body).forEach(visit);
    }
  };
  visit("main"); // of a step
  visit("hand_over"); // of certbot's hook
  return reached;
}

describe("the script of a step", () => {
  /** Without the first line, which reads the others, and the last one, which runs them. */
  const scripts = new Map<string, string>();
  const functions = new Map<string, ReadonlyMap<string, string>>();
  beforeAll(async () => {
    for (const mode of ["selfSigned", "acme"]) {
      const program = await runProgram({ ...fullConfig, "tls.mode": mode });
      for (const { name, inputs } of program.ofType(probeType)) {
        const script = String(inputs.script).split("\n").slice(1, -2).join("\n");
        scripts.set(name, script);
        functions.set(name, await bodies(script));
      }
    }
    const hook = renderHook("/etc/server.pem").split("\n").slice(0, -1).join("\n");
    scripts.set("certbot's hook", hook);
    functions.set("certbot's hook", await bodies(hook));
    expect(scripts.size).toBeGreaterThan(12);
  });

  test("has each function that it calls", () => {
    const known = new Set([...ofTheLibrary, ...[...functions.values()].flatMap((all) => [...all.keys()])]);
    expect(known.size).toBeGreaterThan(150);
    for (const [name, all] of functions) {
      expect([name, missing(all, known)]).toEqual([name, []]);
    }
  });

  test("has no part of the library that it does not come to", () => {
    for (const [name, script] of scripts) {
      const reached = reachedIn(functions.get(name));
      const unneeded = optional(script).filter((part) => {
        const outside = `\n${script}\n`.replace(`\n${text(part)}\n`, "\n").match(/^readonly .*$/gm) ?? [];
        return !isUsed(part, reached, outside.join("\n"));
      });
      expect([name, unneeded]).toEqual([name, []]);
    }
  });

  test("has no function of its own that it does not come to, and there is none in the library that no step does", () => {
    const notReached = new Set(ofTheLibrary);
    for (const [name, all] of functions) {
      const reached = reachedIn(all);
      for (const each of reached.keys()) {
        notReached.delete(each);
      }
      const own = [...all.keys()].filter((each) => !ofTheLibrary.has(each));
      expect([name, own.filter((each) => !reached.has(each))]).toEqual([name, []]);
    }
    expect([...notReached]).toEqual([]);
  });
});
