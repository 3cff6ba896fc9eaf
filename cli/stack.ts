/**
 * What the last `up` of a stack left in its state, for all commands.
 *
 * Read by one `pulumi stack export`: 0.6 s with a state of 51 resources. Through the Automation API the same took 1.9 s
 * (0.7 s to load it, 0.5 s to select the stack, 0.6 s to export), and its outputs 1.3 s more; a whole drift check
 * takes less.
 */
import { execFile } from "node:child_process";
import type { ProbeInputs } from "../components/step/observe";
import type { Connection } from "../components/step/ssh";
import { pulumiDirectory } from "./paths";
import { withProgress } from "./terminal";

export interface Stack {
  readonly name: string;
  /** @throws where the program does not export it, as `index.ts` does */
  readonly output: <Name extends keyof Outputs>(name: Name) => Outputs[Name];
  /** One for each step, in the order of the state. */
  readonly probes: readonly ProbeInputs[];
  readonly connection: Connection;
}

interface Outputs {
  readonly trackingUri: string;
  readonly users: Readonly<Record<string, string>>;
  readonly clientEnv: string;
  readonly caCertificate: string;
}

interface Resource {
  readonly urn: string;
  readonly type: string;
  readonly outputs?: Readonly<Record<string, unknown>>;
}

interface Exported {
  readonly deployment: { readonly resources?: readonly Resource[] };
}

/** Marks a secret in an exported state; `plaintext` is its JSON. Source: pulumi/pulumi, resource/sig.go. */
const secretKey = "4dabf18193072939515e22adb298388d";

/** @param name nothing for the stack that is selected */
export async function readStack(name: string | undefined): Promise<Stack> {
  const { deployment } = JSON.parse(await withProgress("reading the stack", exportStack(name))) as Exported;
  const { resources = [] } = deployment;
  const ofType = (type: string) => resources.filter((resource) => resource.type === type);
  const probes = ofType("pulumi-nodejs:dynamic/mlflow:Probe").map(outputsOf) as unknown as ProbeInputs[];
  const [root] = ofType("pulumi:pulumi:Stack");
  const [probe] = probes;
  if (root === undefined || probe === undefined) {
    throw new Error(
      name === undefined
        ? "the selected stack holds no server yet: run 'pulumi up' first"
        : `stack ${name} holds no server yet: run 'pulumi up --stack ${name}' first`,
    );
  }
  const stack = name ?? stackOf(root);
  const outputs = outputsOf(root);
  return {
    name: stack,
    // A program that uses the npm package may export others.
    output: (wanted) => {
      if (!(wanted in outputs)) {
        throw new Error(
          `stack ${stack} has no output '${wanted}': export that of the MlflowServer under this name, then run 'pulumi up'`,
        );
      }
      return (outputs as unknown as Outputs)[wanted];
    },
    probes,
    connection: probe.connection,
  };
}

/** 'urn:pulumi:<stack>::<project>::…' */
const stackOf = ({ urn }: Resource) => urn.split(":")[2] ?? "";

const outputsOf = ({ outputs = {} }: Resource) =>
  Object.fromEntries(Object.entries(outputs).map(([name, value]) => [name, reveal(value)]));

function reveal(value: unknown): unknown {
  return typeof value === "object" && value !== null && secretKey in value
    ? JSON.parse((value as unknown as { plaintext: string }).plaintext)
    : value;
}

/** The state as the Pulumi CLI prints it. It stays in this process, for its secrets are in plain text. */
function exportStack(name: string | undefined): Promise<string> {
  const args = ["stack", "export", "--show-secrets", "--non-interactive"];
  return new Promise((done, reject) => {
    execFile(
      "pulumi",
      name === undefined ? args : [...args, "--stack", name],
      { cwd: pulumiDirectory(), maxBuffer: 2 ** 30 },
      (error, stdout, stderr) => {
        if (error === null) {
          done(stdout);
        } else if ((error as NodeJS.ErrnoException).code === "ENOENT") {
          reject(
            new Error("there is no Pulumi CLI on PATH; install it: https://www.pulumi.com/docs/install/"),
          );
        } else {
          const cause = stderr.trim().replace(/^error: /, "") || error.message;
          reject(new Error(explain(name, cause)));
        }
      },
    );
  });
}

/** What the Pulumi CLI says, the way out after it. */
function explain(name: string | undefined, cause: string): string {
  const [, remedy] = remedies.find(([pattern]) => pattern.test(cause)) ?? [];
  const stack = name === undefined ? "the selected stack" : `stack ${name}`;
  return `${stack} cannot be read: ${cause}${remedy === undefined ? "" : `\n${remedy}`}`;
}

const remedies: readonly (readonly [RegExp, string])[] = [
  [
    /no stack named/,
    "'pulumi stack ls' lists the stacks, 'pulumi whoami --verbose' says where they are looked for.",
  ],
  [/no stack selected/, "Name the stack, or choose one for all commands: 'pulumi stack select STACK'."],
  [
    /passphrase must be set/,
    "Put it into the environment: 'export PULUMI_CONFIG_PASSPHRASE=…', or the path of a file that holds it into PULUMI_CONFIG_PASSPHRASE_FILE.",
  ],
  [
    /incorrect passphrase/,
    "It is the passphrase that the stack was made with ('pulumi stack init'): 'export PULUMI_CONFIG_PASSPHRASE=…'.",
  ],
  [
    /PULUMI_ACCESS_TOKEN must be set|not logged in|unable to open bucket/,
    "Log in to where the state is: 'pulumi login file://~' for this machine, 'pulumi login s3://…' for a bucket, 'pulumi login' for Pulumi Cloud.",
  ],
];
