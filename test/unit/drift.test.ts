import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { exit, type SshServer, startSshServer } from "./sshServer";

const project = resolve(__dirname, "../..");
const servers: SshServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

/** A host whose checks print these lines, by step; a step that is not named fails. */
async function host(drift: Record<string, string[]>): Promise<SshServer> {
  const server = await startSshServer({
    run: (channel, command) => {
      const lines = drift[/ # (\S+)/.exec(command)?.[1] ?? ""];
      if (lines === undefined) {
        channel.stderr.write("broken\n");
        return exit(channel, 3);
      }
      channel.write(["-- check --", ...lines, ""].join("\n"));
      exit(channel, 0);
    },
  });
  servers.push(server);
  return server;
}

const secret = (value: unknown) => ({
  "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
  plaintext: JSON.stringify(value),
});

/** A state as `pulumi stack export --show-secrets` prints it. */
const state = ({ connection }: SshServer, steps: readonly string[]) =>
  JSON.stringify({
    version: 3,
    deployment: {
      resources: [
        { urn: "urn:pulumi:prod::mlflow-vps::pulumi:pulumi:Stack::x", type: "pulumi:pulumi:Stack" },
        ...steps.map((step) => ({
          type: "pulumi-nodejs:dynamic/mlflow:Probe",
          outputs: {
            connection: secret(connection),
            command: `bash -s check # ${step} {"port":5000}`,
            script: secret("THE-SCRIPT-WITH-SECRETS"),
            drift: [],
          },
        })),
      ],
    },
  });

/** Runs the command with a `pulumi` on PATH that prints this, or fails with this. */
function drift(args: readonly string[], exported: string | undefined, refusal = "") {
  const directory = mkdtempSync(join(tmpdir(), "drift-"));
  if (exported !== undefined) {
    writeFileSync(join(directory, "state"), exported);
    writeFileSync(
      join(directory, "pulumi"),
      `#!/bin/sh\necho "$@" >${directory}/asked\n${refusal === "" ? `cat ${directory}/state` : `echo '${refusal}' >&2; exit 255`}\n`,
    );
    chmodSync(join(directory, "pulumi"), 0o755);
  }
  const node = resolve(process.execPath, "..");
  const path = exported === undefined ? node : [directory, node, "/usr/bin", "/bin"].join(delimiter);
  return new Promise<{ code: number; stdout: string; stderr: string; asked: () => string }>((done) => {
    execFile(
      process.execPath,
      ["scripts/start.cjs", "scripts/drift.ts", ...args],
      { cwd: project, env: { PATH: path, HOME: directory } },
      (error, stdout, stderr) =>
        done({
          code: error ? Number(error.code) : 0,
          stdout,
          stderr,
          asked: () => readFileSync(join(directory, "asked"), "utf8"),
        }),
    );
  });
}

describe("the drift command", () => {
  test("exits 0 when every step is as it should be", async () => {
    const result = await drift(["prod"], state(await host({ service: [], proxy: [] }), ["service", "proxy"]));
    expect(result).toMatchObject({
      code: 0,
      stdout: "prod: all 2 steps are as they should be\n",
      stderr: "",
    });
    expect(result.asked()).toContain("--stack prod");
  });

  test("exits 2 on drift, and lists it by step, without what is secret", async () => {
    const there = await host({ service: ["a is missing", "b was changed"], proxy: [] });
    const result = await drift(["prod"], state(there, ["service", "proxy"]));
    expect(result).toMatchObject({
      code: 2,
      stdout:
        "service\n  - a is missing\n  - b was changed\nPut it right: pulumi up --refresh --stack prod\n",
    });
    expect(there.commands.every(({ stdin }) => stdin.includes("THE-SCRIPT-WITH-SECRETS"))).toBe(true);
    expect(result.stdout + result.stderr).not.toMatch(/SECRETS|PRIVATE KEY/);
  });

  test("prints the same as JSON", async () => {
    const there = await host({ service: ["a is missing"], proxy: [] });
    const result = await drift(["prod", "--json"], state(there, ["service", "proxy"]));
    expect(result.code).toBe(2);
    expect(JSON.parse(result.stdout)).toEqual({
      stack: "prod",
      clean: false,
      steps: [
        { step: "service", drift: ["a is missing"] },
        { step: "proxy", drift: [] },
      ],
    });
  });

  test("exits 1 when it could not look, and says why once", async () => {
    const closed = await host({});
    const exported = state(closed, ["service", "proxy"]);
    await closed.close();
    const result = await drift(["prod", "--json"], exported);
    expect(result.code).toBe(1);
    expect(JSON.parse(result.stdout)).toEqual({
      stack: "prod",
      error: expect.stringContaining("nothing listens there"),
    });
    expect(result.stderr.match(/nothing listens there/g)).toHaveLength(1);
  });

  test("exits 1 when one of the checks fails, drift elsewhere or not", async () => {
    const result = await drift(["prod"], state(await host({ service: ["a"] }), ["service", "proxy"]));
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toContain("broken");
  });

  test.each([
    ["no CLI", ["prod"], undefined, "", /no Pulumi CLI on PATH/],
    ["an unknown stack", ["prod"], "", "error: no stack named prod found", /no stack named prod found/],
    ["a stack that was never applied", ["prod"], '{"deployment":{}}', "", /pulumi up --stack prod/],
    ["no stack named", [], "", "", /usage/],
    ["two stacks", ["a", "b"], "", "", /usage/],
  ])("exits 1 with the remedy: %s", async (_, args, exported, refusal, cause) => {
    const result = await drift(args, exported, refusal);
    expect(result).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(cause) });
  });
});

describe("the example workflow", () => {
  const text = readFileSync(join(project, "examples/drift/drift.yml"), "utf8");
  const { on, jobs } = parse(text);

  test("runs on a schedule, and calls what is there", () => {
    expect(on.schedule[0].cron).toMatch(/^\d+ \d+ \* \* \*$/);
    const runs = jobs.drift.steps.flatMap(({ run }: { run?: string }) => run ?? []);
    expect(runs).toEqual(["npm ci", "npm run --silent drift -- prod"]);
    expect(Object.keys(JSON.parse(readFileSync(join(project, "package.json"), "utf8")).scripts)).toContain(
      "drift",
    );
  });

  test("holds no secret, but names them", () => {
    for (const value of Object.values(jobs.drift.env)) {
      expect(value).toMatch(/^\$\{\{ secrets\.\w+ \}\}$/);
    }
  });
});
