import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { endingWithUs, execute, project, type Result } from "../processes";
import { waiting } from "../waits";
import { trust } from "./client";
import type { Guest } from "./guest";

const start = join(project, "scripts/start.cjs");

/** An `up` in a process of its own. */
export interface RunningUp {
  /** Its exit code; nothing when it was killed. */
  readonly ended: Promise<number | null>;
  /** Kills it with SIGKILL, when it still runs. */
  kill(): Promise<void>;
}

/** Half a day from now, so that no test meets the updates. */
const hourOfUpdates = `${String((new Date().getHours() + 12) % 24).padStart(2, "0")}:00`;

export interface Outputs {
  readonly trackingUri: string;
  readonly users: Readonly<Record<string, string>>;
  readonly clientEnv: string;
  readonly caCertificate: string;
  readonly mlflowVersion: string;
}

/** The program, applied to a guest without an engine. */
export class Deployment {
  constructor(
    readonly guest: Guest,
    /** Config on top of what leads to the guest; a value of undefined takes a key away. */
    public config: Record<string, unknown> = {},
    /** Another name than the usual one: a stack with a state of its own. */
    private readonly stack = "sandbox",
  ) {}

  private get directory(): string {
    return join(this.guest.directory, this.stack === "sandbox" ? "deployment" : this.stack);
  }

  private writeConfig(host: Record<string, unknown>): string {
    mkdirSync(this.directory, { recursive: true });
    const file = join(this.directory, "Pulumi.test.yaml");
    const given = { ...host, "updates.time": hourOfUpdates, ...this.config };
    const entries = Object.entries(given).filter(([, value]) => value !== undefined);
    writeFileSync(
      file,
      stringify({ config: Object.fromEntries(entries.map(([key, value]) => [`mlflow-vps:${key}`, value])) }),
    );
    return file;
  }

  /** Writes the config; the arguments of start.cjs. */
  private command(action: "up" | "check" | "destroy"): string[] {
    const file = this.writeConfig({
      "host.address": this.guest.address,
      "host.user": "deploy",
      "host.hostKeyFile": join(this.guest.directory, "host_key.pub"),
      "host.privateKeyFile": join(this.guest.directory, "id_ed25519"),
    });
    const state = join(this.directory, "state");
    return ["sandbox/engineless/main.ts", action, "--config", file, "--state", state, "--stack", this.stack];
  }

  private run(action: "up" | "check" | "destroy"): Promise<Result> {
    return waiting("apply", () => execute(start, this.command(action)));
  }

  /** Begins to apply the program. */
  start(): RunningUp {
    const child = spawn("setpriv", endingWithUs(start, this.command("up")), {
      cwd: project,
      detached: true,
      stdio: "ignore",
    });
    const ended = waiting("apply", () => new Promise<number | null>((done) => child.on("exit", done)));
    return {
      ended,
      kill: async () => {
        if (child.exitCode === null && child.signalCode === null) {
          process.kill(-(child.pid ?? 0), "SIGKILL");
        }
        await ended;
      },
    };
  }

  /** A new guest that this server runs on already, in place of making a bare one and applying the program to it. */
  async serve(...options: string[]): Promise<void> {
    const version = this.config["mlflow.version"];
    const layer = ["--from", "served", ...(version === undefined ? [] : ["--mlflow", String(version)])];
    await this.guest.down();
    await this.guest.up(...layer, "--config", this.writeConfig({}), ...options);
    trust(this.outputs);
  }

  /** Applies the program; what it printed. Fails when it fails. */
  async up(): Promise<string> {
    const result = await this.run("up");
    if (result.code !== 0) {
      throw new Error(`up exited ${result.code}:\n${result.stdout}\n${result.stderr}`);
    }
    trust(this.outputs);
    return result.stdout;
  }
  /** Applies the program, which must fail; its error. */
  async upFails(): Promise<string> {
    const result = await this.run("up");
    if (result.code === 0) {
      throw new Error(`up was expected to fail:\n${result.stdout}`);
    }
    return result.stderr;
  }
  /** The lines of the drift check. */
  async drift(): Promise<string[]> {
    const result = await this.run("check");
    if (result.code !== 0 && result.code !== 2) {
      throw new Error(`check exited ${result.code}:\n${result.stderr}`);
    }
    const lines = result.stdout.split("\n").filter((line) => line !== "");
    if (lines.length > 0 !== (result.code === 2)) {
      throw new Error(`check exited ${result.code} with ${lines.length} lines`);
    }
    return lines;
  }
  async destroy(): Promise<string> {
    const result = await this.run("destroy");
    if (result.code !== 0) {
      throw new Error(`destroy exited ${result.code}:\n${result.stdout}\n${result.stderr}`);
    }
    return result.stdout;
  }
  /** Forgets something generated, so that the next `up` makes it anew. */
  forget(resource: string): void {
    const file = join(this.directory, "state/generated.json");
    const { [resource]: forgotten, ...kept } = JSON.parse(readFileSync(file, "utf8"));
    if (forgotten === undefined) {
      throw new Error(`there is no ${resource} in ${file}`);
    }
    writeFileSync(file, JSON.stringify(kept));
  }
  /** The script of a step, as the last `up` sent it to the host. */
  script(command: string): string {
    return JSON.parse(readFileSync(join(this.guest.directory, "deployment/state/applied.json"), "utf8"))[
      command
    ].stdin;
  }
  get outputs(): Outputs {
    return JSON.parse(readFileSync(join(this.directory, "state/outputs.json"), "utf8"));
  }
}
