/** What is the same in all commands. */
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { commands } from "../../cli/commands";
import { exitCodes } from "../../cli/exitCodes";
import { bin, scripts, version } from "../../package.json";
import { Shell, stateOf } from "./commandLine";
import { nowhere } from "./keys";

test("--help lists all commands, and says what the exit codes mean", async () => {
  const { code, stdout, stderr } = await new Shell().run("--help");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  for (const [name, summary] of commands) {
    expect(stdout).toMatch(new RegExp(`^ {2}${name} +${summary}$`, "m"));
  }
  for (const number of Object.values(exitCodes)) {
    expect(stdout).toMatch(new RegExp(`^ {2}${number} +\\w`, "m"));
  }
});

test.each(commands.map(([name]) => name))("%s --help has an example", async (name) => {
  const { code, stdout } = await new Shell().run(name, "--help");
  expect(code).toBe(0);
  expect(stdout).toMatch(new RegExp(`^Usage: mlflow-vps ${name} `));
  expect(stdout).toMatch(new RegExp(`\nExample:\n  \\./mlflow-vps ${name} `));
});

test("--version tells the project's", async () => {
  expect(await new Shell().run("--version")).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
});

test.each([
  [["drfit"], "unknown command 'drfit' (Did you mean drift?); see 'mlflow-vps --help'"],
  [["drift", "a", "b"], "Expected 1 argument but got 2; see 'mlflow-vps drift --help'"],
  [["drift", "--jsn"], "unknown option '--jsn' (Did you mean --json?); see 'mlflow-vps drift --help'"],
  [["unlock"], "missing required argument 'ADDRESS'; see 'mlflow-vps unlock --help'"],
  [["unlock", "here"], "'here' is not an address"],
])("a wrong call is one line: %j", async (args, message) => {
  const { code, stdout, stderr } = await new Shell().run(...args);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toContain(message);
  expect(stderr).toMatch(/^mlflow-vps\b[^\n]*\n$/);
});

test("without a command it says which there are, and fails", async () => {
  const { code, stdout, stderr } = await new Shell().run();
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toContain("Commands:");
});

test("npm's names for it are the same, and say that npm wants flags apart", async () => {
  expect(bin).toBe("./mlflow-vps");
  expect([scripts.configure, scripts.drift]).toEqual(["./mlflow-vps configure", "./mlflow-vps drift"]);
  const shell = new Shell();
  shell.env.npm_lifecycle_event = "configure";
  const { stderr } = await shell.run("configure", "root@203.0.113.7", "prod");
  expect(stderr).toContain("npm needs a '--' before the flags");
});

test("it runs through a link, as npx calls it", async () => {
  const shell = new Shell();
  const link = join(shell.directory, "mlflow-vps");
  symlinkSync(shell.executable, link);
  shell.executable = link;
  expect((await shell.run("--version")).stdout).toBe(`${version}\n`);
});

test("what takes longer than a second says so at a terminal, and is gone from it afterwards", async () => {
  const shell = new Shell();
  shell.putStack(stateOf({ connection: nowhere }, ["service"]), "sleep 1.5");
  const { shown, raw, code } = await shell.converse(["open", "prod"]);
  expect(code).toBe(0);
  expect(shown).toContain("reading the stack … 1 s");
  expect(raw).toContain(`reading the stack … 1 s${"\x1b[1G\x1b[2K"}`);
  expect(await shell.run("open", "prod")).toMatchObject({ code: 0, stderr: "" });
});

test("colours are for terminals only, and not with NO_COLOR", async () => {
  const shell = new Shell();
  shell.put("pulumi", "echo 'error: broken' >&2; exit 1");
  const red = "\x1b[31mmlflow-vps drift:\x1b[39m";
  expect((await shell.converse(["drift"])).raw).toContain(red);
  expect((await shell.run("drift")).stderr).toMatch(/^mlflow-vps drift: /);
  shell.env.NO_COLOR = "1";
  expect((await shell.converse(["drift"])).raw).toMatch(/^mlflow-vps drift: /);
});
