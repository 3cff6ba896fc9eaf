import { type ChildProcess, spawn } from "node:child_process";

/** How a run of bash ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal?: NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts a script as a host does: from the standard input of a bash. */
export function startBashIn(
  directory: string,
  script: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn("bash", ["-s", ...args], { cwd: directory, env: { ...process.env, ...env } });
  const ended = new Promise<Ended>((done, failed) => {
    const texts = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (text: string) => {
        texts[name] += text;
      });
    }
    child.on("error", failed);
    child.on("close", (code, signal) => done({ code, ...texts, ...(signal && { signal }) }));
    child.stdin.on("error", () => undefined); // a bash that gives up does not read on
    child.stdin.end(script);
  });
  return { child, ended };
}
