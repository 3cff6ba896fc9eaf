import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { project, Shell, stateOf } from "./commandLine";
import { exit, type SshServer, startSshServer } from "./sshServer";

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

/** Runs the command with a `pulumi` on PATH whose stack has this state. */
function drift(args: readonly string[], state: string, shell = new Shell()) {
  shell.putStack(state);
  return shell.run("drift", ...args);
}

describe("the drift command", () => {
  test("exits 0 when every step is as it should be", async () => {
    const shell = new Shell();
    const state = stateOf(await host({ service: [], proxy: [] }), ["service", "proxy"]);
    const result = await drift(["prod"], state, shell);
    expect(result).toMatchObject({
      code: 0,
      stdout: "prod: all 2 steps are as the last 'up' left them\n",
      stderr: "",
    });
    expect(shell.calls("pulumi")).toContain("--stack prod");
  });

  test("of a stack with two servers names the host of each step", async () => {
    const here = JSON.parse(stateOf(await host({ proxy: ["a is missing"] }), ["proxy"]));
    const { connection } = await host({ proxy: ["b was changed"] });
    const there = JSON.parse(stateOf({ connection: { ...connection, host: "localhost" } }, ["proxy"]));
    here.deployment.resources.push(there.deployment.resources[1]);
    expect(await drift(["prod"], JSON.stringify(here))).toMatchObject({
      code: 2,
      stdout: `127.0.0.1: proxy
  - a is missing
localhost: proxy
  - b was changed
To repair it: pulumi up --refresh --stack prod
`,
    });
  });

  test("exits 2 on drift, and lists it by step, without what is secret", async () => {
    const there = await host({ service: ["a is missing", "b was changed"], proxy: [] });
    const result = await drift(["prod"], stateOf(there, ["service", "proxy"]));
    expect(result).toMatchObject({
      code: 2,
      stdout:
        "service\n  - a is missing\n  - b was changed\nTo repair it: pulumi up --refresh --stack prod\n",
    });
    expect(there.commands.every(({ stdin }) => stdin.includes("THE-SCRIPT-WITH-SECRETS"))).toBe(true);
    expect(result.stdout + result.stderr).not.toMatch(/SECRETS|PRIVATE KEY/);
  });

  test("prints the same as JSON", async () => {
    const there = await host({ service: ["a is missing"], proxy: [] });
    const result = await drift(["prod", "--json"], stateOf(there, ["service", "proxy"]));
    expect(result.code).toBe(2);
    expect(JSON.parse(result.stdout)).toEqual({
      stack: "prod",
      clean: false,
      steps: [
        { host: "127.0.0.1", step: "service", drift: ["a is missing"] },
        { host: "127.0.0.1", step: "proxy", drift: [] },
      ],
    });
  });

  test("exits 1 when it could not look, and says why once", async () => {
    const closed = await host({});
    const exported = stateOf(closed, ["service", "proxy"]);
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
    const result = await drift(["prod"], stateOf(await host({ service: ["a"] }), ["service", "proxy"]));
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toContain("broken");
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
