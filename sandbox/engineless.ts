/**
 * The engineless apply: applies the program to a host where there is no Pulumi CLI. The SDK's mock monitor carries out
 * each command over SSH and waits for it, so order and values are those of a real `up`. It is a test instrument: no
 * preview, and no state but what was generated (passwords, keys, certificates), and how to remove each step that the
 * last `up` applied.
 *
 *     scripts/start.cjs sandbox/engineless.ts up|check|destroy --config FILE --state DIRECTORY [--stack NAME]
 *         [--guest DIRECTORY] [--only STEP,...] [--base DIRECTORY]
 *
 * `up` writes the stack's outputs to DIRECTORY/outputs.json; `check` prints the drift and exits 2 when there is any.
 *
 * `--guest` takes what leads to the host from the folder of a guest of vps.sh, where the config does not say it;
 * `--only` carries out the commands of these steps and of no other; `--base` is the state of the layer that the guest
 * stands on: as with an engine, a command that was applied there as it is now does not run again.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import { observe, type ProbeInputs } from "../components/step/observe";
import { assertNoProblems } from "../components/step/probe";
import { type Connection, execute, executeShared } from "../components/step/ssh";
import { unwrap } from "./unwrap";

const applySeconds = 1800;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    config: { type: "string" },
    state: { type: "string" },
    stack: { type: "string" },
    guest: { type: "string" },
    only: { type: "string" },
    base: { type: "string" },
  },
});

interface CommandInputs {
  readonly connection: Connection;
  readonly create: string;
  readonly delete: string;
  readonly stdin: string;
}

/** What was generated, by resource name, with the inputs it belongs to; mode 0600. */
class Generated {
  private readonly known: Record<string, { inputs: unknown; result: Record<string, string> }>;

  constructor(private readonly file: string) {
    this.known = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
  }

  get(name: string, inputs: unknown, generate: () => Record<string, string>): Record<string, string> {
    const known = this.known[name];
    if (known !== undefined && JSON.stringify(known.inputs) === JSON.stringify(inputs)) {
      return known.result;
    }
    const result = generate();
    this.known[name] = { inputs, result };
    writeFileSync(this.file, JSON.stringify(this.known), { mode: 0o600 });
    return result;
  }
}

function randomPassword(length: number): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  // 62 * 4 = 248: bytes above are left out, so that every character is equally likely.
  const bytes = [...randomBytes(length * 4)].filter((byte) => byte < 248).slice(0, length);
  return bytes.map((byte) => alphabet[byte % 62]).join("");
}

/** What the tls provider's resources generate, made by openssl with the inputs that the program uses. */
function generateTls(kind: string, inputs: Record<string, unknown>): Record<string, string> {
  const directory = mkdtempSync(join(tmpdir(), "mlflow-vps-"));
  const put = (name: string, content: string) => {
    const file = join(directory, name);
    writeFileSync(file, content, { mode: 0o600 });
    return file;
  };
  const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: ["ignore", "pipe", "pipe"] });
  const list = (name: string) => (inputs[name] ?? []) as string[];
  const subject = () => `/CN=${(inputs.subject as { commonName: string }).commonName}`;
  const days = String(Number(inputs.validityPeriodHours) / 24);
  try {
    switch (kind) {
      case "privateKey:PrivateKey": {
        const key = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256");
        return { privateKeyPem: String(key) };
      }
      case "selfSignedCert:SelfSignedCert": {
        const key = put("key", String(inputs.privateKeyPem));
        const extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"];
        const added = extensions.flatMap((extension) => ["-addext", extension]);
        return {
          certPem: String(
            openssl("req", "-x509", "-new", "-key", key, "-subj", subject(), "-days", days, ...added),
          ),
        };
      }
      case "certRequest:CertRequest": {
        const key = put("key", String(inputs.privateKeyPem));
        const names = [
          ...list("dnsNames").map((name) => `DNS:${name}`),
          ...list("ipAddresses").map((address) => `IP:${address}`),
        ];
        const added = ["-addext", `subjectAltName=${names.join(",")}`];
        return {
          certRequestPem: String(openssl("req", "-new", "-key", key, "-subj", subject(), ...added)),
        };
      }
      case "locallySignedCert:LocallySignedCert": {
        const files = ["-in", put("request", String(inputs.certRequestPem))];
        files.push("-CA", put("ca", String(inputs.caCertPem)));
        files.push("-CAkey", put("key", String(inputs.caPrivateKeyPem)), "-CAcreateserial");
        return {
          certPem: String(openssl("x509", "-req", ...files, "-days", days, "-copy_extensions", "copy")),
        };
      }
      default:
        throw new Error(`the program has a resource of tls:index/${kind}, which only an engine can make`);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The commands that were applied, by resource name in the order of their end; mode 0600, for their stdin holds secrets. */
class Applied {
  private readonly known: Record<string, CommandInputs>;

  constructor(private readonly file: string) {
    this.known = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
  }

  put(name: string, command?: CommandInputs): void {
    delete this.known[name];
    if (command !== undefined) {
      this.known[name] = command;
    }
    writeFileSync(this.file, JSON.stringify(this.known), { mode: 0o600 });
  }

  /** Whether a command was applied as it is now, to whatever host. */
  has(name: string, { create, stdin }: CommandInputs): boolean {
    const known = this.known[name];
    return known?.create === create && known.stdin === stdin;
  }

  /** Those that the program no longer has, the last one first, as an engine removes them after all else is applied. */
  without(commands: ReadonlyMap<string, CommandInputs>): [string, CommandInputs][] {
    return Object.entries(this.known)
      .filter(([name]) => !commands.has(name))
      .reverse();
  }
}

let saidSomething = false;

// An engine logs in for each command. For a test that is most of its time, and only the firewall shows a difference.
const stepsThatNeedLogins = /^mlflow-firewall-/;

async function run(name: string, command: CommandInputs, action: "create" | "delete"): Promise<void> {
  const { connection, stdin } = command;
  const show = (text: string) => {
    saidSomething = true;
    process.stdout.write(text.replace(/^(?=.)/gm, "  "));
  };
  const finished = stepsThatNeedLogins.test(name)
    ? await execute(connection, command[action], stdin, applySeconds, show)
    : await executeShared(connection, command[action], stdin, applySeconds, show, 500);
  if (finished.code !== 0) {
    throw new Error(finished.stderr.trim() || `'${command[action]}' exited ${finished.code}`);
  }
}

/** What leads to a guest of vps.sh. */
function hostOf(guest: string): Record<string, string> {
  return {
    "mlflow-vps:host.address": readFileSync(join(guest, "address"), "utf8").trim(),
    "mlflow-vps:host.user": "deploy",
    "mlflow-vps:host.hostKeyFile": join(guest, "host_key.pub"),
    "mlflow-vps:host.privateKeyFile": join(guest, "id_ed25519"),
  };
}

/** Reads the stack's config file as the engine does: lists and objects reach the program as JSON. */
function stackConfig(file: string): Record<string, string> {
  const given: Record<string, unknown> = parse(readFileSync(file, "utf8")).config;
  const config = { ...(options.guest ? hostOf(options.guest) : {}), ...given };
  return Object.fromEntries(
    Object.entries(config).map(([key, value]) => [
      key,
      typeof value === "object" ? JSON.stringify(value) : String(value),
    ]),
  );
}

function settled<T>(value: pulumi.Input<T>): Promise<pulumi.Unwrap<T>> {
  return new Promise((done) => {
    pulumi.output(value).apply(done);
  });
}

async function main(): Promise<number> {
  const { config, state } = options;
  const action = positionals[0];
  if (!config || !state || !action || !["up", "check", "destroy"].includes(action)) {
    throw new Error(
      "usage: engineless.ts up|check|destroy --config FILE --state DIRECTORY [--stack NAME] " +
        "[--guest DIRECTORY] [--only STEP,...] [--base DIRECTORY]",
    );
  }
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const generated = new Generated(join(state, "generated.json"));
  const applied = new Applied(join(state, "applied.json"));
  const base = options.base === undefined ? undefined : new Applied(join(options.base, "applied.json"));
  const only = options.only?.split(",").map((step) => `mlflow-${step}-command`);
  const commands = new Map<string, CommandInputs>();
  const probes: ProbeInputs[] = [];

  // Like an engine: after a failure nothing new starts, and what is under way comes to its end.
  const underWay = new Set<Promise<void>>();
  const carryOut = async (work: Promise<void>) => {
    underWay.add(work);
    try {
      await work;
    } catch (error) {
      process.stderr.write(`${(error as Error).message}\n`);
      await Promise.allSettled(underWay);
      process.exit(1);
    }
  };

  const newResource = async ({
    type,
    name,
    inputs: wrapped,
  }: {
    type: string;
    name: string;
    // biome-ignore lint/suspicious/noExplicitAny: the SDK's mock interface is untyped
    inputs: any;
  }) => {
    // biome-ignore lint/suspicious/noExplicitAny: each branch knows what it gets
    const inputs = unwrap(wrapped) as any;
    switch (type) {
      case "random:index/randomPassword:RandomPassword":
        return {
          id: name,
          state: {
            ...inputs,
            ...generated.get(name, inputs.keepers, () => ({ result: randomPassword(inputs.length) })),
          },
        };
      case "pulumi-nodejs:dynamic/mlflow:Probe":
        // The others only make sure that a login is possible: here a command says itself why it is not.
        if (action === "up" && inputs.demand) {
          await carryOut(assertNoProblems(inputs));
        }
        probes.push(inputs);
        return { id: name, state: { ...inputs, drift: [], generation: 1 } };
      case "command:remote:Command":
        if (only !== undefined && !only.includes(name)) {
          return { id: name, state: inputs };
        }
        commands.set(name, inputs);
        if (action === "up") {
          if (!base?.has(name, inputs)) {
            await carryOut(run(name, inputs, "create"));
          }
          applied.put(name, inputs);
        }
        return { id: name, state: inputs };
      default:
        if (type.startsWith("mlflow:")) {
          return { id: name, state: inputs };
        }
        if (type.startsWith("tls:index/")) {
          const kind = type.slice("tls:index/".length);
          return {
            id: name,
            state: { ...inputs, ...generated.get(name, inputs, () => generateTls(kind, inputs)) },
          };
        }
        throw new Error(`the program has a resource of type ${type}, which only an engine can make`);
    }
  };
  await pulumi.runtime.setMocks(
    {
      newResource,
      call: () => {
        throw new Error("the program calls a provider function, which only an engine can do");
      },
    },
    "mlflow-vps",
    options.stack ?? "sandbox",
    false,
  );
  pulumi.runtime.setAllConfig(stackConfig(config));

  const outputs = await settled(await import("../index"));
  await pulumi.runtime.disconnect();

  if (action === "up") {
    for (const [name, command] of applied.without(commands)) {
      await run(name, command, "delete");
      applied.put(name);
    }
    process.stderr.write(saidSomething ? "" : "  nothing to do, the host is as it should be\n");
    writeFileSync(join(state, "outputs.json"), JSON.stringify(outputs, undefined, 2), { mode: 0o600 });
  }
  if (action === "check") {
    const drift = (await Promise.all(probes.map(observe))).flat();
    process.stdout.write(drift.map((line) => `${line}\n`).join(""));
    return drift.length > 0 ? 2 : 0;
  }
  if (action === "destroy") {
    for (const [name, command] of [...commands].reverse()) {
      await run(name, command, "delete");
      applied.put(name);
    }
  }
  return 0;
}

main().then(
  (code) => process.exit(code),
  (error) => {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.exit(1);
  },
);
