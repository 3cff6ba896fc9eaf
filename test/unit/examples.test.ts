/** The programs in examples/ that use `MlflowServer`. */
import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";
import { hostKey, loginKey, otherHostKey, pinned } from "./keys";
import { commandType, probeType, type Registered, type Run, runProgram } from "./mocks";

const serverType = "mlflow:index:MlflowServer";
const hostsOf = (run: Run, server: string) =>
  new Set(
    run
      .ofType(probeType)
      .filter(({ name }) => name.startsWith(`${server}-`))
      .map(({ inputs }) => (inputs.connection as { host: string }).host),
  );

describe("two servers from the package", () => {
  const program = () => import("../../examples/library/index");
  const config = {
    privateKey: loginKey.private,
    teamAddress: "192.0.2.10",
    teamHostKey: hostKey.public,
    trialAddress: "192.0.2.11",
    trialHostKey: otherHostKey.public,
  };

  test("are each on a host of their own, with passwords and an authority of their own", async () => {
    const run = await runProgram(config, { program });
    expect(run.ofType(serverType).map(({ name }) => name)).toEqual(["team", "trial"]);
    expect(hostsOf(run, "team")).toEqual(new Set(["192.0.2.10"]));
    expect(hostsOf(run, "trial")).toEqual(new Set(["192.0.2.11"]));
    expect(run.find(probeType, "trial-preflight-probe").inputs.connection).toMatchObject({
      hostKey: pinned(otherHostKey.public),
    });
    const { team, trial } = (run.outputs.passwords?.value ?? {}) as Record<string, Record<string, string>>;
    expect(Object.keys(team ?? {})).toEqual(["ada", "grace"]);
    expect(team?.ada).not.toBe(trial?.ada);
    expect(run.outputs.trackingUris).toEqual({
      value: { team: "https://192.0.2.10", trial: "https://192.0.2.11" },
      secret: false,
    });
    const { team: one, trial: other } = (run.outputs.caCertificates?.value ?? {}) as Record<string, string>;
    expect(one).not.toBe(other);
  });

  test("have no resource of the same type and name", async () => {
    const { resources } = await runProgram(config, { program });
    const identities = resources.map(({ type, name }) => `${type} ${name}`);
    expect(new Set(identities).size).toBe(identities.length);
  });
});

describe("a VPS and the server on it, in one up", () => {
  const program = () => import("../../examples/hetzner/index");
  const address = "198.51.100.7";
  const outputsOfOthers = ({ type, name }: Registered) => {
    switch (type) {
      case "tls:index/privateKey:PrivateKey":
        return name === "host-key" || name === "login"
          ? {
              privateKeyOpenssh: pulumi.secret(loginKey.private),
              publicKeyOpenssh: `${hostKey.public}\n`,
              privateKeyPem: pulumi.secret("PRIVATE KEY"),
            }
          : undefined;
      case "hcloud:index/server:Server":
        return { ipv4Address: address };
      case "hcloud:index/sshKey:SshKey":
        return {};
      default:
        return undefined;
    }
  };

  test("waits with every step until the VPS has booted, and knows its host key before", async () => {
    const run = await runProgram({}, { program, outputsOfOthers });
    const booted = run.find(commandType, "booted");
    expect(booted.inputs.connection).toMatchObject({ host: address, hostKey: pinned(hostKey.public) });
    const begun = run.events.filter((event) => /-(probe|command)$/.test(event));
    expect(run.events.indexOf("end booted")).toBeLessThan(run.events.indexOf(begun[0] ?? ""));
    expect(begun.length).toBeGreaterThan(20);
    expect(hostsOf(run, "mlflow")).toEqual(new Set([address]));
    expect(run.outputs.trackingUri).toEqual({ value: `https://${address}`, secret: false });
  });

  test("gives the VPS the host key that the logins expect, as a secret", async () => {
    const run = await runProgram({}, { program, outputsOfOthers });
    const { inputs, secrets } = run.find("hcloud:index/server:Server", "mlflow");
    const [first, settings = ""] = String(inputs.userData).split(/\n(.*)/s);
    expect(first).toBe("#cloud-config");
    expect(JSON.parse(settings)).toMatchObject({ ssh_keys: { ed25519_private: loginKey.private } });
    expect(secrets).toContain("userData");
  });

  test("can be previewed while there is no VPS yet", async () => {
    const notYet = (resource: Registered) =>
      resource.type === "hcloud:index/server:Server" ? {} : outputsOfOthers(resource);
    const run = await runProgram({}, { program, outputsOfOthers: notYet, preview: true });
    expect(run.ofType(serverType)).toHaveLength(1);
    expect(run.ofType(commandType).length).toBeGreaterThan(10);
  });
});
