import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { credentials } from "@grpc/grpc-js";
import { ResourceProviderClient } from "@pulumi/pulumi/proto/provider_grpc_pb";
import {
  CreateRequest,
  type CreateResponse,
  ReadRequest,
  type ReadResponse,
} from "@pulumi/pulumi/proto/provider_pb";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { observe, type ProbeInputs } from "../../components/step/observe";
import { assertNoProblems, provider } from "../../components/step/probe";
import type { Connection, Finished } from "../../components/step/ssh";
import { hostKey, loginKey, pinned } from "./keys";
import { exit, startSshServer } from "./sshServer";

/** The host, as far as a probe sees it; ssh.test.ts has the real connection. */
const host = vi.hoisted(() => ({
  /** What its check does; an error stands for a host that cannot be reached. */
  check: {} as Partial<Finished> | Error,
  /** What stands before what the check prints. */
  before: "-- check --\n",
  calls: [] as { connection: unknown; command: string; stdin: string; seconds: number }[],
}));
vi.mock("../../components/step/sharedLogin", async (original) => ({
  ...(await original<object>()),
  executeShared: async (
    connection: Connection,
    command: string,
    stdin: string,
    seconds: number,
  ): Promise<Finished> => {
    host.calls.push({ connection, command, stdin, seconds });
    if (host.check instanceof Error) {
      throw host.check;
    }
    const { code = 0, stdout = "", stderr = "" } = host.check;
    return { code, stdout: host.before + stdout, stderr };
  },
}));
beforeEach(() => {
  host.check = {};
  host.before = "-- check --\n";
  host.calls.length = 0;
});

const inputs: ProbeInputs = {
  connection: {
    host: "192.0.2.10",
    port: 22,
    user: "deploy",
    privateKey: loginKey.private,
    hostKey: pinned(hostKey.public),
  },
  command: `sudo -n bash -s check # step {"port":80}`,
  script: "script\n",
  demand: false,
};
const unreachable = new Error("deploy@192.0.2.10 (port 22): no answer.");

type Call<Request, Response> = (
  request: Request,
  done: (error: Error | null, response: Response) => void,
) => void;

const demanding = (): ProbeInputs => ({ ...inputs, demand: true });
const drift = "port 80 is taken\nthe clock is 500 s slow\n";

describe("looking at a host", () => {
  test("gives one line for each thing that is not as it should be", async () => {
    host.check = { stdout: "/etc/a is missing\n\n/etc/b was changed" };
    expect(await observe(inputs)).toEqual(["/etc/a is missing", "/etc/b was changed"]);
  });

  test("gives nothing where all is as it should be", async () => {
    expect(await observe(inputs)).toEqual([]);
  });

  test("sends the script, and before it the time here and a mark for where its lines begin", async () => {
    const before = Math.floor(Date.now() / 1000);
    await observe(inputs);
    const after = Math.floor(Date.now() / 1000);
    expect(host.calls).toMatchObject([{ connection: inputs.connection, command: inputs.command }]);
    const [mark, clock = "", rest] = (host.calls[0]?.stdin ?? "").split(/(?<=\n)/);
    expect(mark).toBe("echo '-- check --'\n");
    const time = Number(/^declare -r client_time=(\d+)\n$/.exec(clock)?.[1]);
    expect(time).toBeGreaterThanOrEqual(before);
    expect(time).toBeLessThanOrEqual(after);
    expect(rest).toBe("script\n");
  });

  test("takes nothing that a login script prints for a line of the check", async () => {
    host.before = "Welcome!\n-- check --\n";
    host.check = { stdout: "/etc/a is missing\n" };
    expect(await observe(inputs)).toEqual(["/etc/a is missing"]);
  });

  test("has a time limit", async () => {
    await observe(inputs);
    expect(host.calls[0]?.seconds).toBeGreaterThanOrEqual(60); // a host that is slow
    expect(host.calls[0]?.seconds).toBeLessThanOrEqual(300); // a host that hangs
  });

  test("that fails is an error with the host, the command and the last lines, not a host without drift", async () => {
    host.check = { code: 2, stdout: "/etc/a is missing\n", stderr: "1\n2\n3\n4\n5\n6\nlast\n" };
    await expect(observe(inputs)).rejects.toThrow(
      /^192\.0\.2\.10: 'sudo -n bash -s check' exited 2: 3\n4\n5\n6\nlast$/,
    );
  });

  test.each([0, 142])(
    "that the host runs something else for, with exit code %i, is an error that shows what the host says",
    async (code) => {
      host.before = "";
      host.check = { code, stdout: "Please login as the user deploy\u001b[2J\r\n", stderr: "bye\n" };
      const why =
        "(the host ran something else for deploy: a forced command of the key or of sshd, or a login shell that takes no commands)";
      const message = `192.0.2.10: 'sudo -n bash -s check' exited ${code} ${why}: Please login as the user deploy?[2J\n\nbye`;
      await expect(observe(inputs)).rejects.toThrow(message);
      await expect(assertNoProblems(inputs)).rejects.toThrow(message);
      host.check = { code };
      await expect(observe(inputs)).rejects.toThrow(`${why}: the host said nothing`);
    },
  );

  test("that finds no bash shows what the host says", async () => {
    host.before = "";
    host.check = { code: 127, stderr: "sh: 1: bash: not found\n" };
    await expect(observe(inputs)).rejects.toThrow(
      "'sudo -n bash -s check' exited 127: sh: 1: bash: not found",
    );
  });

  test("that fails because of sudo says what the login needs", async () => {
    host.check = { code: 1, stderr: "sudo: a password is required\n" };
    await expect(observe(inputs)).rejects.toThrow(
      "exited 1 (deploy may not use sudo without a password; as root: echo 'deploy ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/deploy): sudo: a password",
    );
    host.check = { code: 1, stderr: "something else\n" };
    await expect(observe(inputs)).rejects.toThrow("exited 1: something else");
  });

  test("that cannot log in is an error", async () => {
    host.check = unreachable;
    await expect(observe(inputs)).rejects.toThrow("no answer");
  });
});

describe("a probe that demands a fit host", () => {
  test("refuses an unfit one with all its problems at once", async () => {
    host.check = { stdout: drift };
    await expect(assertNoProblems(demanding())).rejects.toThrow(
      /^192\.0\.2\.10 cannot take the server yet; nothing was changed on it:\n {2}- port 80 is taken\n {2}- the clock is 500 s slow$/,
    );
  });

  test("lets a fit one pass", async () => {
    await assertNoProblems(demanding());
    expect(host.calls).toHaveLength(1);
  });

  test("is the only kind that looks at creation; any other makes sure that its command can be run", async () => {
    await assertNoProblems(inputs);
    expect(host.calls).toMatchObject([
      { command: inputs.command, stdin: expect.stringMatching(/\nexit\n$/) },
    ]);
    host.check = { code: 1, stderr: "sudo: a password is required\n" };
    await expect(assertNoProblems(inputs)).rejects.toThrow("deploy may not use sudo without a password");
  });
});

describe("the probe's life in the engine", () => {
  type State = Parameters<NonNullable<typeof provider.diff>>[1];
  const created = async (from = inputs): Promise<State> => (await provider.create(from)).outs as State;
  const refreshed = async (state: State): Promise<State> =>
    (await provider.read?.("probe", state))?.props as State;
  const differs = async (state: State, next = inputs) =>
    (await provider.diff?.("probe", state, next))?.changes;
  const updated = async (state: State, next = inputs): Promise<State> =>
    (await provider.update?.("probe", state, next))?.outs as State;

  test("begins without drift, in generation 1", async () => {
    expect(await created()).toEqual({
      ...inputs,
      drift: [],
      generation: 1,
      providerVersion: expect.any(Number),
    });
  });

  test("begins on a fit host only, where it demands one", async () => {
    host.check = { stdout: drift };
    await expect(provider.create(demanding())).rejects.toThrow("port 80 is taken");
  });

  test("has nothing to do where nothing was changed, and opens no connection to know it", async () => {
    const state = await created();
    host.calls.length = 0;
    expect(await differs(state)).toBe(false);
    expect(host.calls).toEqual([]);
  });

  test("sees drift on a refresh, changes nothing then, and keeps its identity", async () => {
    const state = await created();
    host.check = { stdout: drift };
    const { id, props } = (await provider.read?.("probe", state)) ?? {};
    expect(id).toBe("probe");
    expect(props).toEqual({ ...state, drift: ["port 80 is taken", "the clock is 500 s slow"] });
  });

  test("is due for an update while there is drift, and the update raises the generation by one", async () => {
    host.check = { stdout: drift };
    const drifted = await refreshed(await created());
    expect(await differs(drifted)).toBe(true);
    const healed = await updated(drifted);
    expect(healed).toMatchObject({ drift: [], generation: 2 });
    expect(await differs(healed)).toBe(false);
  });

  test("sees by itself when the drift is gone", async () => {
    host.check = { stdout: drift };
    const drifted = await refreshed(await created());
    host.check = {};
    const fine = await refreshed(drifted);
    expect(fine).toMatchObject({ drift: [], generation: 1 });
    expect(await differs(fine)).toBe(false);
  });

  test("takes a host that cannot be reached for an error, not for one that is gone or without drift", async () => {
    const state = await created();
    host.check = unreachable;
    await expect(provider.read?.("probe", state)).rejects.toThrow("no answer");
  });

  test("cannot be imported", async () => {
    await expect(provider.read?.("probe", undefined)).rejects.toThrow("cannot be imported");
  });

  test("takes another script, and runs the command again for it", async () => {
    const next = { ...inputs, script: "another script\n" };
    const state = await created();
    expect(await differs(state, next)).toBe(true);
    expect(await updated(state, next)).toMatchObject({ script: next.script, generation: 2 });
  });

  test.each([
    ["connection", () => ({ ...inputs, connection: { ...inputs.connection, host: "localhost" } })],
    ["command", () => ({ ...inputs, command: "bash -s check # step" })],
  ])("takes another %s for its next look, in the same generation", async (_, change) => {
    const state = await created();
    expect(await differs(state, change())).toBe(true);
    expect(await updated(state, change())).toEqual({ ...state, ...change() });
  });

  test("takes new provider code, in the same generation", async () => {
    const old = { ...(await created()), providerVersion: 0 };
    expect(await differs(old)).toBe(true);
    const state = await updated(old);
    expect(state).toMatchObject({ generation: 1 });
    expect(await differs(state)).toBe(false);
  });

  test("does not clear the drift of a host that is still unfit, where it demands a fit one", async () => {
    const state = await created(demanding());
    host.check = { stdout: drift };
    const drifted = await refreshed(state);
    await expect(provider.update?.("probe", drifted, demanding())).rejects.toThrow("port 80 is taken");
  });

  test("has no deletion: it leaves nothing on the host", () => {
    expect(provider.delete).toBeUndefined();
  });
});

describe("the probe's code", () => {
  const project = join(__dirname, "../..");
  let code = "";
  beforeAll(async () => {
    // As a real 'up' loads and stores it: from a file, for code that Node evaluates has its modules as globals.
    const directory = mkdtempSync(join(tmpdir(), "mlflow-vps-"));
    const program = join(directory, "program.cjs");
    writeFileSync(
      program,
      `const load = require("node:module").createRequire(${JSON.stringify(__filename)});
      const { provider } = load("../../components/step/probe.ts");
      load("@pulumi/pulumi").runtime.serializeFunction(() => provider).then(({ text }) => process.stdout.write(text));`,
    );
    const run = promisify(execFile)("node", ["--import", "tsx", program], { cwd: project });
    code = (await run).stdout;
    rmSync(directory, { recursive: true });
  });

  test("can be stored in the state, from where a refresh runs it with Node's modules and ssh2 alone", () => {
    const modules = [...code.matchAll(/require\("([^"]+)"\)/g)].map(([, name]) => name);
    for (const name of modules) {
      expect(name).toMatch(/^(ssh2\/.*|[a-z]+)$/);
    }
    expect(modules.join()).toContain("ssh2");
    const stored: { handler?: () => object } = {};
    new Function("exports", "require", code)(stored, createRequire(__filename));
    expect(Object.keys(stored.handler?.() ?? {}).sort()).toEqual(["create", "diff", "read", "update"]);
  });

  describe("in the engine's program for it", () => {
    let engine: ChildProcess;
    let client: ResourceProviderClient;
    beforeAll(async () => {
      const program = join(project, "node_modules/@pulumi/pulumi/cmd/dynamic-provider/index.js");
      engine = spawn("node", [program, "127.0.0.1:1"], { stdio: ["ignore", "pipe", "inherit"] });
      const [port] = await once(engine.stdout as Readable, "data");
      client = new ResourceProviderClient(`127.0.0.1:${Number(port)}`, credentials.createInsecure());
    });
    afterAll(() => {
      client.close();
      engine.kill();
    });
    const properties = (probe: ProbeInputs) =>
      Struct.fromJavaScript({ ...probe, drift: [], generation: 1, providerVersion: 1, __provider: code });
    const read = async (probe: ProbeInputs): Promise<string[]> => {
      const request = new ReadRequest();
      request.setId("probe");
      request.setProperties(properties(probe));
      const response = await promisify(client.read.bind(client) as Call<ReadRequest, ReadResponse>)(request);
      return response.getProperties()?.toJavaScript().drift as unknown as string[];
    };
    const create = (probe: ProbeInputs) => {
      const request = new CreateRequest();
      request.setProperties(properties(probe));
      return promisify(client.create.bind(client) as Call<CreateRequest, CreateResponse>)(request);
    };

    test("has one login for all steps, whether it looks at several at once or at one after the other", async () => {
      const server = await startSshServer({
        run: (channel, command) => {
          channel.write(`-- check --\n${command} was changed\n`);
          exit(channel, 0);
        },
      });
      const { connection } = server;
      const steps = Array.from({ length: 12 }, (_, index) => `step ${index}`);
      await Promise.all(steps.map((command) => create({ ...inputs, connection, command })));
      const drift = await Promise.all(steps.map((command) => read({ ...inputs, connection, command })));
      for (const command of steps) {
        drift.push(await read({ ...inputs, connection, command }));
      }
      expect(drift).toEqual([...steps, ...steps].map((step) => [`${step} was changed`]));
      expect([server.met(), server.commands.length]).toEqual([1, 36]);
      await server.close();
    });

    test("says why it cannot log in", async () => {
      const connection = { ...inputs.connection, host: "127.0.0.1", port: 1 };
      await expect(create({ ...inputs, connection })).rejects.toThrow(
        "deploy@127.0.0.1 (port 1): nothing listens there",
      );
    });
  });
});
