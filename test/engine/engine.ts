/** What all tests with the real Pulumi engine need: the engine, and a stack with a state of its own. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type EngineEvent, LocalWorkspace, type Stack } from "@pulumi/pulumi/automation";
import { describe } from "vitest";
import { dependencies } from "../../package.json";

/** Why the real engine cannot run here, or nothing. */
function obstacle(): string | undefined {
  try {
    execFileSync("pulumi", ["version"], { stdio: "ignore" });
  } catch {
    return "there is no Pulumi CLI on PATH";
  }
  for (const plugin of ["command", "random", "tls"] as const) {
    const version = dependencies[`@pulumi/${plugin}`];
    try {
      // Does nothing when the plugin is there.
      execFileSync("pulumi", ["plugin", "install", "resource", plugin, version], {
        stdio: "ignore",
        timeout: 120_000,
      });
    } catch {
      return `the plugin ${plugin} ${version} is not there and cannot be downloaded`;
    }
  }
  return undefined;
}

const reason = obstacle();
if (reason !== undefined) {
  console.log(`test:engine is skipped: ${reason}`);
}

/** Tests that are skipped where there is no engine. */
export const describeWithEngine = describe.skipIf(reason !== undefined);

/** The variables that lead to the state, which is kept beside the program. */
export const environmentOf = (directory: string) => ({
  PULUMI_BACKEND_URL: `file://${join(directory, "state")}`,
  PULUMI_CONFIG_PASSPHRASE: "only for this test",
  PULUMI_SKIP_UPDATE_CHECK: "true",
});

/** A new stack of the program in this directory. */
export async function createStack(directory: string): Promise<Stack> {
  mkdirSync(join(directory, "state"), { recursive: true });
  return LocalWorkspace.createStack(
    { workDir: directory, stackName: "test" },
    { envVars: environmentOf(directory) },
  );
}

/** What a preview would do: kinds of changes with their numbers. */
export async function changes(
  stack: Stack,
  options: { readonly refresh?: boolean; readonly onOutput?: (text: string) => void } = {},
): Promise<string[]> {
  const { changeSummary } = await stack.preview({ onOutput: () => undefined, ...options });
  return Object.entries(changeSummary)
    .filter(([operation]) => operation !== "same")
    .map(([operation, count]) => `${operation} ${count}`);
}

/** The resource that an event of the engine updates in place, by its name. */
export function updated({ resourcePreEvent }: EngineEvent): string[] {
  const { op, urn = "" } = resourcePreEvent?.metadata ?? {};
  return op === "update" ? [urn.split("::").slice(3).join("::")] : [];
}
