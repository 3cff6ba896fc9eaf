/** What all commands that are about a stack say when they cannot read it, and which one they read. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { quote } from "../../components/step/script";
import { project, Shell, stateOf } from "./commandLine";
import { nowhere } from "./keys";

/** A `pulumi` that fails as the real one does. */
function refusing(refusal: string): Shell {
  const shell = new Shell();
  shell.put("pulumi", `echo ${quote(refusal)} >&2; exit 255`);
  return shell;
}

// The refusals are those of Pulumi 3.248.
test.each([
  ["an unknown stack", "error: no stack named 'prod' found", "'pulumi stack ls'"],
  [
    "no stack selected",
    "error: no stack selected; please use `pulumi stack select` to choose one",
    "'pulumi stack select STACK'",
  ],
  [
    "no passphrase",
    'error: could not deserialize deployment: constructing secrets manager of type "passphrase": constructing secrets manager: passphrase must be set with PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE environment variables',
    "'export PULUMI_CONFIG_PASSPHRASE=…'",
  ],
  [
    "another passphrase",
    "error: could not deserialize deployment: failed to decrypt: incorrect passphrase, please set PULUMI_CONFIG_PASSPHRASE to the correct passphrase or set PULUMI_CONFIG_PASSPHRASE_FILE to a file containing the passphrase",
    "the stack was made with",
  ],
  [
    "no login",
    "error: PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions",
    "'pulumi login file://~'",
  ],
  [
    "a state that is not there",
    "error: unable to open bucket file:///nowhere?no_tmp_dir=true: stat /nowhere: no such file or directory",
    "'pulumi login file://~'",
  ],
])("%s: what Pulumi says and the command that mends it", async (_, refusal, remedy) => {
  const { code, stdout, stderr } = await refusing(refusal).run("drift", "prod");
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toContain(
    `mlflow-vps drift: stack prod cannot be read: ${refusal.replace("error: ", "")}\n`,
  );
  expect(stderr).toContain(remedy);
});

test("what Pulumi says stands alone where nobody knows what mends it", async () => {
  const { code, stderr } = await refusing("error: the moon is full").run("open");
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: "mlflow-vps open: the selected stack cannot be read: the moon is full\n",
  });
});

test("no Pulumi CLI: where it is", async () => {
  const shell = new Shell();
  shell.hideAllButOwn();
  const { code, stdout, stderr } = await shell.run("drift", "prod");
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(/there is no Pulumi CLI on PATH.*https:\/\/www\.pulumi\.com\/docs\/install/);
});

test.each([
  [["prod"], /stack prod holds no server yet: run 'pulumi up --stack prod' first/],
  [[], /the selected stack holds no server yet: run 'pulumi up' first/],
])("a stack that was never applied: %j", async (args, message) => {
  const shell = new Shell();
  shell.putStack('{"deployment":{}}');
  const { code, stdout, stderr } = await shell.run("drift", ...args);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(message);
});

test("without a name it is the stack that is selected, and its name is told", async () => {
  const shell = new Shell();
  shell.putStack(stateOf({ connection: nowhere }, ["service"]));
  const { stdout } = await shell.run("open", "--json");
  expect(JSON.parse(stdout)).toMatchObject({ stack: "prod" });
  expect(shell.calls("pulumi")).not.toContain("--stack");
});

test("the stacks are those of the project, wherever the command is called", async () => {
  const shell = new Shell();
  shell.putStack(stateOf({ connection: nowhere }, ["service"]));
  await shell.run("open", "prod");
  expect(shell.calls("pulumi")).toBe(
    `${project}: stack export --show-secrets --non-interactive --stack prod\n`,
  );
});

test("in the directory of another Pulumi program, or below it, they are that program's", async () => {
  const shell = new Shell();
  shell.putStack(stateOf({ connection: nowhere }, ["service"]));
  writeFileSync(join(shell.directory, "Pulumi.yaml"), "name: another\nruntime: nodejs\n");
  mkdirSync(join(shell.directory, "below"));
  shell.cwd = join(shell.directory, "below");
  await shell.run("open", "prod");
  expect(shell.calls("pulumi")).toMatch(new RegExp(`^${shell.directory}: `));
});

test.each([
  [["open"], "trackingUri"],
  [["env"], "users"],
  [["unlock", "198.51.100.7"], "users"],
])("a program that does not export what the server puts out: %j", async (command, missing) => {
  const shell = new Shell();
  shell.putStack(stateOf({ connection: nowhere }, ["service"], { [missing]: undefined }));
  const { code, stdout, stderr } = await shell.run(...command);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toContain(`stack prod has no output '${missing}': export that of the MlflowServer`);
});

test("an error is JSON too, where that was asked for", async () => {
  const { code, stdout } = await refusing("error: no stack named 'prod' found").run("env", "prod", "--json");
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toEqual({ stack: "prod", error: expect.stringContaining("no stack named") });
});
