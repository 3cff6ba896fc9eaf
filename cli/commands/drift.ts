import type { Command } from "commander";
import { observe } from "../../components/step/observe";
import { readCommandLine } from "../../components/step/script";
import { example, type JsonOption, jsonOption, print, stackArgument } from "../command";
import { exitCodes } from "../exitCodes";
import { readStack, type Stack } from "../stack";
import { paint, withProgress } from "../terminal";

export function define(command: Command): void {
  command
    .description(
      "Checks the host of a stack, as 'pulumi refresh' would, and reports what differs from what the last 'up' left. " +
        "Changes neither the host nor the state. Exits 2 on drift.",
    )
    .argument(...stackArgument)
    .option(...jsonOption)
    .addHelpText(...example("./mlflow-vps drift prod"))
    .action(async (name: string | undefined, options: JsonOption) => {
      const stack = await readStack(name);
      const report = await withProgress(`checking ${hostsOf(stack).join(", ")}`, look(stack));
      print(options, report, render(report));
      process.exitCode = report.clean ? exitCodes.done : exitCodes.findings;
    });
}

/** What was found, and the form of `--json`. */
interface Report {
  readonly stack: string;
  readonly clean: boolean;
  /** Each step in the order of the state, with one line for each difference. */
  readonly steps: readonly {
    readonly host: string;
    readonly step: string;
    readonly drift: readonly string[];
  }[];
}

const hostsOf = ({ probes }: Stack) => [...new Set(probes.map(({ connection }) => connection.host))];

async function look({ name, probes }: Stack): Promise<Report> {
  const found = await Promise.allSettled(probes.map(observe));
  const causes = found.flatMap((each) =>
    each.status === "rejected" ? [(each.reason as Error).message] : [],
  );
  if (causes.length > 0) {
    throw new Error([...new Set(causes)].join("\n"));
  }
  const lines = found.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const steps = probes.map(({ connection, command }, index) => ({
    host: connection.host,
    step: readCommandLine(command).step,
    drift: lines[index] ?? [],
  }));
  return { stack: name, clean: steps.every(({ drift }) => drift.length === 0), steps };
}

function render({ stack, clean, steps }: Report): string {
  if (clean) {
    return paint("green", `${stack}: all ${steps.length} steps are as the last 'up' left them`);
  }
  const several = new Set(steps.map(({ host }) => host)).size > 1;
  const lines = steps
    .filter(({ drift }) => drift.length > 0)
    .flatMap(({ host, step, drift }) => [
      paint("bold", several ? `${host}: ${step}` : step),
      ...drift.map((line) => `  - ${line}`),
    ]);
  return [...lines, `To repair it: pulumi up --refresh --stack ${stack}`].join("\n");
}
