import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach } from "vitest";
import { parts } from "../../components/step/library";
import { type Action, renderScript, type Values } from "../../components/step/script";
import { type Ended, startBashIn } from "./bash";
import { bodyOf } from "./stepScripts";

/** The scripts of the steps as a host runs them, but on this machine, and on nothing but the test's own directory. */

/** Who runs the tests, as `OWNER:GROUP`. */
export const owner = `${userInfo().username}:${String(execFileSync("id", ["-gn"])).trim()}`;

let root: string;
/** A new empty directory for each test. */
export let directory: string;
let count = 0;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "mlflow-vps-script-"));
});
afterAll(() => rmSync(root, { recursive: true }));
beforeEach(() => {
  count += 1;
  directory = join(root, String(count));
  mkdirSync(directory);
});

/** Starts a script in the test's directory. */
export const startBash = (
  script: string,
  args: readonly string[],
  env?: NodeJS.ProcessEnv,
): ReturnType<typeof startBashIn> => startBashIn(directory, script, args, env);

export const bash = (script: string, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Ended> =>
  startBash(script, args, env).ended;

/** Locks, logs and settings go to the test's directory, and what is root's is of whoever runs the test. */
export function atHome(script: string): string {
  let moved = script;
  for (const [from, to] of [
    ["/run/mlflow-vps", `${directory}/run`],
    ["/var/log/mlflow-vps", `${directory}/log`],
    ["/etc/mlflow-vps", `${directory}/state`],
    ['"$owner_file" root:root', `"$owner_file" ${owner}`],
  ] as const) {
    if (!moved.includes(from)) {
      throw new Error(`the library has no ${from} any more: it would touch this machine`);
    }
    moved = moved.replaceAll(from, to);
  }
  return moved;
}

/** The stack that the scripts say they are of. */
export const stack = "mlflow-vps/test";

export const render = (values: Values, body: string): string =>
  atHome(renderScript("tiny", { stack, ...values }, parts, body));

export const run = (action: Action, values: Values, body: string): Promise<Ended> =>
  bash(render(values, body), [action]);

/** Runs a few lines with the functions of the library. */
export const withLibrary = (lines: string, values: Values = {}): Promise<Ended> =>
  run("check", values, `check() {\n${lines}\n}`);

/**
 * Runs an action of a real step.
 *
 * @param stubs functions of bash that stand for programs of the host, or for functions of the step
 */
export const runStep = (step: string, action: Action, values: Values, stubs: string): Promise<Ended> =>
  run(action, values, `${bodyOf(step)}\n${stubs}`);
