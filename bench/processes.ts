import { spawn } from "node:child_process";
import { resolve } from "node:path";

export const project = resolve(__dirname, "..");

/** No command of a contestant takes longer; one that does has failed. */
const longestSeconds = 1800;

export interface Options {
  /** What the program gets on its standard input; nothing without it. */
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly directory?: string;
  /** Exit codes that are a success. */
  readonly codes?: readonly number[];
}

/** Runs a program of this machine; what it printed. Fails when it fails, and ends it when this process ends. */
export function execute(file: string, args: readonly string[], options: Options = {}): Promise<string> {
  const { input = "", env, directory = project, codes = [0] } = options;
  const child = spawn("setpriv", ["--pdeathsig", "TERM", "--", file, ...args], {
    cwd: directory,
    env: { ...process.env, ...env },
    timeout: longestSeconds * 1000,
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  return new Promise((done, reject) => {
    child.on("error", reject);
    child.stdin.on("error", () => undefined); // it ended before it had read all: its exit code tells
    child.on("close", (code, signal) => {
      if (code !== null && codes.includes(code)) {
        done(stdout);
        return;
      }
      const how = code === null ? `was ended by ${signal}` : `exited ${code}`;
      reject(new Error(`${file} ${args.join(" ")} ${how}:\n${lastLines(stdout)}\n${lastLines(stderr)}`));
    });
    child.stdin.end(input);
  });
}

const lastLines = (text: string) => text.trim().split("\n").slice(-30).join("\n");

/** The seconds that something takes. */
export async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1000;
}
