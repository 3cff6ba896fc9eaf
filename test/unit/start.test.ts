import { execFile } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { hostKey, loginKey } from "./keys";

const project = resolve(__dirname, "../..");

/** A project of its own: the program prints its arguments, what a component says, and the text beside it. */
let directory: string;
const put = (path: string, content: string) => {
  mkdirSync(join(directory, dirname(path)), { recursive: true });
  writeFileSync(join(directory, path), content);
};
const component = (word: string) => `
  import { readFileSync } from "node:fs";
  import { join } from "node:path";
  import { suffix } from "a-package";
  interface Said { readonly text: string }
  export const said = (): Said => ({ text: "${word} " + suffix + readFileSync(join(__dirname, "beside.txt"), "utf8") });
`;
const program = (word: string) => `
  import { said } from "../components/part/part";
  console.log(...process.argv.slice(2), "${word}", said().text);
`;

beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), "start-")));
  for (const path of ["cli", "config", "scripts", "sandbox", "node_modules"]) {
    mkdirSync(join(directory, path));
  }
  copyFileSync(join(project, "scripts/start.cjs"), join(directory, "scripts/start.cjs"));
  put("index.ts", "");
  put("package.json", "{}");
  put("tsconfig.json", "{}");
  put("node_modules/.package-lock.json", "lock 1");
  put("node_modules/a-package/index.js", 'exports.suffix = "packaged ";');
  for (const name of ["esbuild", "@esbuild"]) {
    symlinkSync(join(project, "node_modules", name), join(directory, "node_modules", name));
  }
  put("scripts/program.ts", program("says"));
  put("components/part/part.ts", component("hello"));
  put("components/part/beside.txt", "and beside");
});
afterEach(() => rmSync(directory, { recursive: true }));

interface Started {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Away from the project, as nothing may depend on where a program is started. */
function start(...args: string[]): Promise<Started> {
  return new Promise((done) => {
    const script = join(directory, "scripts/start.cjs");
    execFile(
      process.execPath,
      [script, "scripts/program.ts", ...args],
      { cwd: "/" },
      (error, stdout, stderr) => done({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

const cache = () => join(directory, "node_modules/.cache/mlflow-vps");
/** All bundles, without what lies beside them. A file that was written anew is another one. */
const bundles = () =>
  (existsSync(cache()) ? readdirSync(cache(), { recursive: true, encoding: "utf8" }) : [])
    .filter((path) => path.endsWith(".cjs"))
    .map((path) => ({ path, inode: statSync(join(cache(), path)).ino }));

describe("a start", () => {
  test("runs the program with its arguments and with the files beside its sources", async () => {
    const said = { code: 0, stdout: "one two says hello packaged and beside\n", stderr: "" };
    expect(await start("one", "two")).toEqual(said);
    expect(await start("one", "two")).toEqual(said);
  });

  test("of unchanged sources builds nothing", async () => {
    await start();
    const built = bundles();
    expect(built).toHaveLength(1);
    rmSync(join(directory, "node_modules/esbuild"));
    expect((await start()).code).toBe(0);
    expect(bundles()).toEqual(built);
  });

  test("reads a command's bundle only when the program calls it", async () => {
    put(
      "scripts/commands/first.ts",
      "console.log('the first is read'); export const run = () => console.log('first');",
    );
    put("scripts/commands/second.ts", "throw new Error('the second is read');");
    put(
      "scripts/program.ts",
      `const commands = { first: () => import("./commands/first"), second: () => import("./commands/second") };
       commands.first().then(({ run }) => run());`,
    );
    for (const _ of ["built", "found"]) {
      expect(await start()).toEqual({ code: 0, stdout: "the first is read\nfirst\n", stderr: "" });
    }
    expect(bundles().map(({ path }) => path.split("scripts/")[1])).toEqual(
      expect.arrayContaining(["program.cjs", "commands/first.cjs", "commands/second.cjs"]),
    );
  });

  // Of the same length all of them: it is the content that counts.
  test.each<[string, () => void, string]>([
    [
      "a component",
      () => put("components/part/part.ts", component("adieu")),
      "says adieu packaged and beside\n",
    ],
    ["the program", () => put("scripts/program.ts", program("asks")), "asks hello packaged and beside\n"],
    [
      "a package",
      () => {
        put("node_modules/a-package/index.js", 'exports.suffix = "repacked ";');
        put("node_modules/.package-lock.json", "lock 2");
      },
      "says hello repacked and beside\n",
    ],
    [
      "a file that is read as it runs",
      () => put("components/part/beside.txt", "and changed"),
      "says hello packaged and changed\n",
    ],
  ])("after a change of %s runs the changed program", async (_, change, expected) => {
    await start();
    change();
    expect(await start()).toEqual({ code: 0, stdout: expected, stderr: "" });
  });

  test("beside others, when nothing is built yet, runs as it would alone", async () => {
    const all = await Promise.all(["a", "b", "c"].map((argument) => start(argument)));
    expect(all).toEqual(
      ["a", "b", "c"].map((argument) => ({
        code: 0,
        stdout: `${argument} says hello packaged and beside\n`,
        stderr: "",
      })),
    );
    expect(bundles()).toHaveLength(1);
  });

  test("removes the bundles of other sources, unless somebody may just be starting with one", async () => {
    await start();
    const [old] = bundles();
    put("components/part/part.ts", component("second"));
    await start();
    expect(bundles()).toHaveLength(2);
    utimesSync(join(cache(), dirname(dirname(old?.path ?? ""))), 0, 0);
    put("components/part/part.ts", component("third"));
    await start();
    expect(bundles()).toHaveLength(2);
    expect(bundles()).not.toContainEqual(old);
  });

  test("of a program that fails names its source, and fails", async () => {
    put(
      "components/part/part.ts",
      "// first line\nexport const said = () => {\n  throw new Error('broken');\n};",
    );
    for (const _ of ["built", "found"]) {
      const { code, stderr } = await start();
      expect(code).toBe(1);
      expect(stderr).toContain("Error: broken");
      expect(stderr).toContain(`${directory}/components/part/part.ts:3:`);
      expect(stderr).toContain(`${directory}/scripts/program.ts:3:`);
    }
  });

  test("of what is no program says where, and leaves nothing to run", async () => {
    put("components/part/part.ts", "\nexport const said = ;");
    const { code, stderr } = await start();
    expect(code).toBe(1);
    expect(stderr).toContain("components/part/part.ts:2:20: ERROR: Unexpected");
    expect(bundles()).toEqual([]);
  });
});

test("the engineless apply comes as far as its first connection", async () => {
  put(
    "config.yaml",
    stringify({
      config: {
        "mlflow-vps:host.address": "127.0.0.1",
        "mlflow-vps:host.port": 1,
        "mlflow-vps:host.user": "deploy",
        "mlflow-vps:host.hostKey": hostKey.public,
        "mlflow-vps:host.privateKey": loginKey.private,
      },
    }),
  );
  const state = join(directory, "state");
  const args = [
    "sandbox/engineless/main.ts",
    "up",
    "--config",
    join(directory, "config.yaml"),
    "--state",
    state,
  ];
  const { code, stderr } = await new Promise<Started>((done) => {
    execFile(join(project, "scripts/start.cjs"), args, (error, stdout, stderr) =>
      done({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
  expect(stderr).toMatch(/^deploy@127\.0\.0\.1 \(port 1\): nothing listens there, or the host limits/);
  expect(code).toBe(1);
  expect(readFileSync(join(state, "generated.json"), "utf8")).toContain("mlflow-database-password");
});
