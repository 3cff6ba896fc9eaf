/** `MlflowServer` as another program uses it: what it takes, and what it refuses. */
import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test, vi } from "vitest";
import type { MlflowServerArgs } from "../../components/args";
import { keys } from "../../components/schema/schema";
import { settle } from "../../components/server/settings";
import { hostKey, loginKey, pinned } from "./keys";
import { commandType, probeType, type Registered, type Run, type RunOptions, runProgram } from "./mocks";

const host = {
  address: "192.0.2.10",
  user: "deploy",
  hostKey: hostKey.public,
  privateKey: loginKey.private,
};

/** Runs a program that makes one server. */
function runServer(args: MlflowServerArgs, options: RunOptions = {}): Promise<Run> {
  const program = async () => {
    const { MlflowServer } = await import("../../components/mlflowServer");
    const { trackingUri, users, caCertificate, artifactsDirectory } = new MlflowServer("lab", args);
    return { trackingUri, users, caCertificate, artifactsDirectory };
  };
  return runProgram({ "host.address": "no one reads me" }, { ...options, program });
}

/** The error of a program that must not run, and the resources that it made before. */
async function refusal(args: MlflowServerArgs) {
  const made: string[] = [];
  const during = async ({ name }: Registered) => {
    made.push(name);
  };
  const error = await runServer(args, { during }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!pulumi.InputPropertiesError.isInstance(error)) {
    throw new Error(`it failed with ${error}`);
  }
  return { error, made };
}

describe("a server", () => {
  test("takes its settings from its arguments, and never from a stack's config", async () => {
    const run = await runServer({
      host: { ...host, port: 2222 },
      users: ["ada"],
      service: { workers: 3 },
      rotation: { users: { ada: 4 } },
    });
    const command = run.find(commandType, "lab-service-command");
    expect(command.inputs.create).toContain('"workers":3');
    expect(command.inputs.connection).toMatchObject({
      host: "192.0.2.10",
      port: 2222,
      hostKey: pinned(hostKey.public),
    });
    expect(run.find("random:index/randomPassword:RandomPassword", "lab-user-ada").inputs.keepers).toEqual({
      rotation: "4",
    });
  });

  test("is refused with all wrong arguments at once, each by its path, and nothing is made", async () => {
    const { error, made } = await refusal({
      host: { ...host, user: "Not a login" },
      users: ["ada"],
      service: { workers: 99 },
      database: { port: 5001 },
      rotation: { users: { bob: 2 } },
      // A program without types may say anything.
      ...({ proxy: { prot: 80 }, tls: { mode: "off" } } as object),
    });
    expect(error.errors).toEqual([
      { propertyPath: "proxy.prot", reason: expect.stringMatching(/^no such key/) },
      { propertyPath: "host.user", reason: expect.stringMatching(/^must be .* \(got "Not a login"\)$/) },
      { propertyPath: "service.workers", reason: expect.stringMatching(/\(got 99\)$/) },
      { propertyPath: "tls.mode", reason: expect.stringMatching(/\(got "off"\)$/) },
      { propertyPath: "rotation.users.bob", reason: expect.stringMatching(/no user 'bob'/) },
      {
        propertyPath: "database.port",
        reason: expect.stringMatching(/another port than service\.port \+ 1/),
      },
    ]);
    expect(error.message).toMatch(/^MlflowServer 'lab' has 6 wrong values, nothing was changed:\n/);
    for (const { propertyPath, reason } of error.errors) {
      expect(error.message).toContain(`  - ${propertyPath}: ${reason}`);
    }
    expect(made).toEqual([]);
  });

  test("needs a host", async () => {
    const { error } = await refusal({} as MlflowServerArgs);
    expect(error.errors.map(({ propertyPath }) => propertyPath)).toEqual([
      "host.address",
      "host.user",
      "host.hostKey",
      "host.privateKey",
    ]);
  });

  test("does not read the files that a stack's config may name", async () => {
    const { error } = await refusal({ host: { ...host, ...({ privateKeyFile: "~/.ssh/id" } as object) } });
    expect(error.errors).toEqual([
      { propertyPath: "host.privateKeyFile", reason: expect.stringMatching(/give host\.privateKey$/) },
    ]);
  });
});

/** Errors in an `apply`: nobody handles the promise, whereupon the SDK's runner prints the error and fails. */
async function failuresOf(program: () => void): Promise<unknown[]> {
  const failures: unknown[] = [];
  const listeners = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection").on("unhandledRejection", (error) => failures.push(error));
  try {
    program();
    await vi.waitFor(() => expect(failures).not.toEqual([]));
    await new Promise(setImmediate); // the same error may have reached others
  } finally {
    process.removeAllListeners("unhandledRejection");
    for (const listener of listeners) {
      process.on("unhandledRejection", listener);
    }
  }
  return failures;
}

describe("arguments that are outputs of other resources", () => {
  const later = <T>(value: T) => pulumi.output(Promise.resolve(value));

  test("are used once they are known", async () => {
    const run = await runServer({
      host: { ...host, address: later("2001:DB8::A"), privateKey: pulumi.secret(loginKey.private) },
      artifacts: { directory: later("/mnt/volume-7/artifacts") },
    });
    expect(run.outputs.trackingUri).toEqual({ value: "https://[2001:db8::a]", secret: false });
    expect(run.outputs.artifactsDirectory).toEqual({ value: "/mnt/volume-7/artifacts", secret: false });
    expect(run.outputs.users?.secret).toBe(true);
    const certificate = run.find(commandType, "lab-certificate-command");
    expect(certificate.inputs.create).toContain('"names":["2001:db8::a"]');
    const service = run.find(commandType, "lab-service-command");
    expect(service.inputs.create).toContain('"artifacts":"/mnt/volume-7/artifacts"');
    expect(service.inputs.stdin).toContain("MLFLOW_ARTIFACTS_DESTINATION=/mnt/volume-7/artifacts");
    for (const { inputs } of run.ofType(probeType)) {
      expect(inputs.connection).toMatchObject({ host: "2001:db8::a" });
    }
  });

  test("are checked once they are known, with the others, and nothing that takes one is made", async () => {
    const went: string[] = [];
    const failures = await failuresOf(() => {
      const { settings } = settle("lab", {
        host: { ...host, address: later("not a host"), port: later(443) },
        artifacts: { directory: "/srv/mlflow" },
      });
      for (const key of keys) {
        const value: unknown = settings[key];
        if (pulumi.Output.isInstance(value)) {
          value.apply(() => went.push(key));
        }
      }
    });
    expect(went).toEqual([]);
    expect(failures.length).toBeGreaterThan(0);
    for (const failure of failures) {
      expect((failure as pulumi.InputPropertiesError).errors).toEqual([
        { propertyPath: "host.address", reason: expect.stringMatching(/\(got "not a host"\)$/) },
        { propertyPath: "host.port", reason: expect.stringMatching(/another port than proxy\.port/) },
      ]);
    }
  });

  test("that turn out wrong are one plain error that lists them all, and no resource is made", async () => {
    const made: string[] = [];
    const failures = new Set<unknown>();
    const program = async () => {
      const { MlflowServer } = await import("../../components/mlflowServer");
      const args = { host: { ...host, address: later("not a host"), port: later(443) } };
      for (const failure of await failuresOf(() => new MlflowServer("lab", args))) {
        failures.add(failure);
      }
      throw new Error("ended");
    };
    const during = async ({ name }: Registered) => {
      made.push(name);
    };
    await expect(runProgram({}, { program, during })).rejects.toThrow("ended");
    // The SDK's runner reports each error once, by identity: its message, where it has no stack.
    const [failure, ...others] = [...failures] as Error[];
    expect(others).toEqual([]);
    expect(failure?.stack).toBe("");
    expect(failure?.message).toMatch(
      /^MlflowServer 'lab' has 2 wrong values, nothing was changed:\n {2}- host\.address: .* \(got "not a host"\)\n {2}- host\.port: .*$/,
    );
    expect(made).toEqual([]);
  });

  test("have their default when they turn out to be nothing", async () => {
    const run = await runServer({ host: { ...host, port: later(undefined) as pulumi.Output<never> } });
    expect(run.find(commandType, "lab-proxy-command").inputs.connection).toMatchObject({ port: 22 });
  });

  test("are refused where they would shape which resources there are", async () => {
    const { error, made } = await refusal({ host, ...({ domain: later("mlflow.example.org") } as object) });
    expect(error.errors).toEqual([
      { propertyPath: "domain", reason: expect.stringMatching(/^must be a plain value, not an output/) },
    ]);
    expect(made).toEqual([]);
  });
});
