/**
 * Looks at the host of a stack, as `pulumi refresh` would, and says what is not as the last `up` left it:
 *
 *     npm run --silent drift -- STACK [--json]
 *
 * Exits 0 when all is as it should be, 2 on drift, 1 when it could not look. Changes neither the host nor the state.
 */
import { execFile } from "node:child_process";
import { parseArgs } from "node:util";
import { observe, type ProbeInputs } from "../components/step/observe";

/** What was found, and the form of `--json`. */
interface Report {
  readonly stack: string;
  readonly clean: boolean;
  /** Each step in the order of the state, with one line for each thing that is not as it should be. */
  readonly steps: readonly { readonly step: string; readonly drift: readonly string[] }[];
}

/** Marks a secret in an exported state; `plaintext` is its JSON. Source: pulumi/pulumi, resource/sig.go. */
const secretKey = "4dabf18193072939515e22adb298388d";

interface Exported {
  readonly deployment: {
    readonly resources?: readonly { readonly type: string; readonly outputs?: Record<string, unknown> }[];
  };
}

/** Standard output of the Pulumi CLI. It stays in this process: the state in it is in plain text. */
function pulumi(args: readonly string[]): Promise<string> {
  return new Promise((done, reject) => {
    execFile("pulumi", [...args], { maxBuffer: 2 ** 30 }, (error, stdout, stderr) => {
      if (error === null) {
        done(stdout);
      } else if ((error as NodeJS.ErrnoException).code === "ENOENT") {
        reject(new Error("there is no Pulumi CLI on PATH: see https://www.pulumi.com/docs/install/"));
      } else {
        reject(new Error(`the stack's state can not be read: ${stderr.trim()}`));
      }
    });
  });
}

function reveal(value: unknown): unknown {
  return typeof value === "object" && value !== null && secretKey in value
    ? JSON.parse((value as unknown as { plaintext: string }).plaintext)
    : value;
}

/** The probes as the last `up` left them. */
async function probesOf(stack: string): Promise<ProbeInputs[]> {
  const exported = await pulumi(["stack", "export", "--show-secrets", "--non-interactive", "--stack", stack]);
  const { resources = [] } = (JSON.parse(exported) as Exported).deployment;
  const probes = resources
    .filter(({ type }) => type === "pulumi-nodejs:dynamic/mlflow:Probe")
    .map(({ outputs = {} }) =>
      Object.fromEntries(Object.entries(outputs).map(([name, value]) => [name, reveal(value)])),
    );
  if (probes.length === 0) {
    throw new Error(`stack ${stack} holds no server yet: run 'pulumi up --stack ${stack}' first`);
  }
  return probes as unknown as ProbeInputs[];
}

async function look(stack: string): Promise<Report> {
  const probes = await probesOf(stack);
  const found = await Promise.allSettled(probes.map(observe));
  const causes = found.flatMap((each) =>
    each.status === "rejected" ? [(each.reason as Error).message] : [],
  );
  if (causes.length > 0) {
    throw new Error([...new Set(causes)].join("\n"));
  }
  const steps = found.map((each, index) => ({
    step: / # (\S+)/.exec(probes[index]?.command ?? "")?.[1] ?? "",
    drift: each.status === "fulfilled" ? each.value : [],
  }));
  return { stack, clean: steps.every(({ drift }) => drift.length === 0), steps };
}

function render({ stack, clean, steps }: Report): string {
  if (clean) {
    return `${stack}: all ${steps.length} steps are as they should be`;
  }
  const lines = steps
    .filter(({ drift }) => drift.length > 0)
    .flatMap(({ step, drift }) => [step, ...drift.map((line) => `  - ${line}`)]);
  return [...lines, `Put it right: pulumi up --refresh --stack ${stack}`].join("\n");
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { json: { type: "boolean", default: false } },
    allowPositionals: true,
  });
  const [stack, ...others] = positionals;
  if (stack === undefined || others.length > 0) {
    throw new Error("usage: npm run drift -- STACK [--json]");
  }
  try {
    const report = await look(stack);
    console.log(values.json ? JSON.stringify(report, null, 2) : render(report));
    return report.clean ? 0 : 2;
  } catch (error) {
    const cause = (error as Error).message;
    if (values.json) {
      console.log(JSON.stringify({ stack, error: cause }, null, 2));
    }
    throw new Error(`could not look at ${stack}: ${cause}`);
  }
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: Error) => {
    console.error(error.message);
    process.exitCode = 1;
  },
);
