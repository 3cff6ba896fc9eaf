import { type ExecFileSyncOptions, execFile, execFileSync, spawn } from "node:child_process";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

export const project = resolve(__dirname, "../..");

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

// When vitest is killed, nothing that it started stays: its workers end, and with them their children.
process.once("disconnect", () => process.kill(process.pid));

/** Arguments of setpriv, for a program that ends with this process. */
export function endingWithUs(file: string, args: readonly string[]): string[] {
  return ["--pdeathsig", "TERM", "--", file, ...args];
}

export function execute(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<Result> {
  const options = { cwd: project, env, maxBuffer: 64 * 2 ** 20 };
  return new Promise((done) => {
    execFile("setpriv", endingWithUs(file, args), options, (error, stdout, stderr) =>
      done({ code: error ? (typeof error.code === "number" ? error.code : -1) : 0, stdout, stderr }),
    );
  });
}

export async function succeed(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  return outputOf(await execute(file, args, env), file, args);
}

/** What a program printed that must have succeeded. */
function outputOf({ code, stdout, stderr }: Result, file: string, args: readonly string[]): string {
  if (code !== 0) {
    throw new Error(`${file} ${args.join(" ")} exited ${code}:\n${stdout}\n${stderr}`);
  }
  return stdout;
}

/** Runs a program on this machine; what it printed. Fails when it fails. */
export function hostTool(file: string, args: readonly string[], options: ExecFileSyncOptions = {}): string {
  return String(execFileSync(file, [...args], { cwd: project, ...options }));
}

/** The Python of the client's environment. */
export const python = join(project, ".sandbox/client/bin/python");

/** A Python that has MLflow imported, and runs one script after the other, each in a process of its own. */
class WarmPython {
  private readonly child = spawn("setpriv", endingWithUs(python, [join(__dirname, "client.py")]), {
    cwd: project,
    // Some machines keep no bytecode: then each import would compile all of MLflow.
    env: { ...process.env, MLFLOW_DISABLE_TELEMETRY: "true", PYTHONDONTWRITEBYTECODE: "" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  private readonly answers = createInterface(this.child.stdout)[Symbol.asyncIterator]();

  async run(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Result> {
    this.child.stdin.write(`${JSON.stringify({ args, env })}\n`);
    const { value } = await this.answers.next();
    if (value === undefined) {
      throw new Error("test/host/client.py has ended: its error is above");
    }
    return JSON.parse(value);
  }
}

const idle: WarmPython[] = [];

/** Runs Python like `succeed`, without the seconds for importing MLflow. */
export async function succeedWarm(args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const warm = idle.pop() ?? new WarmPython();
  const result = await warm.run(args, env);
  idle.push(warm);
  return outputOf(result, python, args);
}
