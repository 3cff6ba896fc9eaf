import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { outputs, project, Shell, stateOf } from "./commandLine";
import { nowhere } from "./keys";

describe("the env command", () => {
  let shell: Shell;
  beforeEach(() => {
    shell = new Shell();
    shell.putStack(stateOf({ connection: nowhere }, ["service"]));
  });
  const path = (name: string) => join(shell.directory, name);
  const read = (name: string) => readFileSync(path(name), "utf8");
  const mode = (name: string) => (statSync(path(name)).mode & 0o777).toString(8);

  test("writes what the first user's client needs, for nobody else to read", async () => {
    writeFileSync(path(".env"), "MLFLOW_TRACKING_URI=https://before\n", { mode: 0o644 });
    const { code, stdout, stderr } = await shell.run("env", "prod");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain(`Written for ada: ${path("mlflow-ca.pem")}, ${path(".env")}\n`);
    expect(stdout).not.toContain("PASSWORD");
    expect(read(".env")).toBe(JSON.parse(outputs.clientEnv.plaintext));
    expect(read("mlflow-ca.pem")).toBe(outputs.caCertificate);
    expect([mode(".env"), mode("mlflow-ca.pem")]).toEqual(["600", "600"]);
  });

  test("writes what another user's client needs, elsewhere", async () => {
    const { stdout } = await shell.run("env", "--user", "grace", "--out", "for/grace", "--json");
    expect(JSON.parse(stdout)).toEqual({
      stack: "prod",
      user: "grace",
      files: [path("for/grace/mlflow-ca.pem"), path("for/grace/.env")],
    });
    expect(read("for/grace/.env")).toBe(
      JSON.parse(outputs.clientEnv.plaintext).replace("=ada", "=grace").replace("ADAS", "GRACES"),
    );
    expect(existsSync(path(".env"))).toBe(false);
  });

  test("writes no certificate where clients know its authority", async () => {
    shell.putStack(stateOf({ connection: nowhere }, ["service"], { caCertificate: "" }));
    expect((await shell.run("env", "prod")).stdout).toContain(`Written for ada: ${path(".env")}\n`);
    expect(existsSync(path("mlflow-ca.pem"))).toBe(false);
  });

  test("writes to where the user is, also when npm runs it in the project's directory", async () => {
    shell.cwd = project;
    shell.env.INIT_CWD = path("below");
    mkdirSync(path("below"));
    expect((await shell.run("env", "prod")).code).toBe(0);
    expect(read("below/.env")).toContain("MLFLOW_TRACKING_URI=");
  });

  test("says which users there are", async () => {
    const { code, stdout, stderr } = await shell.run("env", "prod", "--user", "eve");
    expect({ code, stdout, stderr }).toEqual({
      code: 1,
      stdout: "",
      stderr: "mlflow-vps env: stack prod has no user 'eve'; it has ada, grace\n",
    });
    expect(existsSync(path(".env"))).toBe(false);
  });

  describe("where a .env holds other settings", () => {
    const foreign = "MLFLOW_TRACKING_URI=https://before\n# mine\nDATABASE_URL=postgres://SECRET\n";
    const question = "holds other settings too";
    beforeEach(() => writeFileSync(path(".env"), foreign));

    test("leaves it alone when nobody can be asked, and says how to go on", async () => {
      const { code, stderr } = await shell.run("env", "prod");
      expect(code).toBe(1);
      expect(stderr).toMatch(/\.env holds other settings too: # mine; give --out DIRECTORY .* or --force/);
      expect(stderr).not.toContain("SECRET");
      expect(read(".env")).toBe(foreign);
      expect(existsSync(path("mlflow-ca.pem"))).toBe(false);
    });

    test("replaces it with --force", async () => {
      expect((await shell.run("env", "prod", "--force")).code).toBe(0);
      expect(read(".env")).toBe(JSON.parse(outputs.clientEnv.plaintext));
    });

    test.each([
      ["\r", 1],
      ["n\r", 1],
      ["\x03", 130],
    ])("leaves it alone when the answer is %j", async (keys, code) => {
      expect(await shell.converse(["env", "prod"], [question, keys])).toMatchObject({ code, unasked: [] });
      expect(read(".env")).toBe(foreign);
    });

    test("replaces it when the answer is yes", async () => {
      expect(await shell.converse(["env", "prod"], [question, "y\r"])).toMatchObject({
        code: 0,
        unasked: [],
      });
      expect(read(".env")).toBe(JSON.parse(outputs.clientEnv.plaintext));
    });
  });
});
