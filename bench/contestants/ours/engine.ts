import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dependencies } from "../../../package.json";
import type { Access, Contestant, Deployment, Settings, Span } from "../../contestant";
import type { Guest } from "../../guests";
import { execute, project } from "../../processes";
import { accessOf, hostOf, stackConfig } from "./config";
import { eventSpans } from "./events";

const stack = "bench";

/** The program as people run it: by the Pulumi CLI on PATH. */
export const engine: Contestant = {
  name: "engine",
  title: "ours",
  ours: true,
  repeatable: true,
  units: "mlflow@*.service",
  async obstacle() {
    return (process.env.PATH ?? "").split(":").some((directory) => existsSync(join(directory, "pulumi")))
      ? undefined
      : "there is no Pulumi CLI on PATH";
  },
  async prepare() {
    for (const plugin of ["command", "random", "tls"] as const) {
      const version = dependencies[`@pulumi/${plugin}`];
      await execute("pulumi", ["plugin", "install", "resource", plugin, version]);
    }
    return { pulumi: (await execute("pulumi", ["version"])).trim().replace(/^v/, "") };
  },
  deploy: (guests, directory) => new Stacks(guests, directory),
};

class Stacks implements Deployment {
  readonly looks = {
    "mlflow-vps drift": () => this.everywhere(join(project, "mlflow-vps"), ["drift"]),
    "pulumi refresh": () =>
      this.everywhere("pulumi", ["refresh", "--preview-only", "--expect-no-changes", "--stack", stack]),
  };

  constructor(
    private readonly guests: readonly Guest[],
    private readonly directory: string,
  ) {}

  async apply(settings: Settings): Promise<void> {
    for (const guest of this.guests) {
      await this.prepare(guest, settings);
    }
    const options = ["--yes", "--skip-preview", "--stack", stack, "--event-log", "events.json"];
    await this.everywhere("pulumi", ["up", ...options]);
  }

  async access(guest: Guest): Promise<Access> {
    const args = ["stack", "output", "--json", "--show-secrets", "--stack", stack];
    return accessOf(JSON.parse(await this.run(guest, "pulumi", args)));
  }

  timeline(): Span[] {
    const file = this.guests[0] && join(this.folder(this.guests[0]), "events.json");
    return file !== undefined && existsSync(file) ? eventSpans(readFileSync(file, "utf8")) : [];
  }

  /** A directory with a stack and its state, below the project, where dynamic resources find node_modules. */
  private async prepare(guest: Guest, settings: Settings): Promise<void> {
    const folder = this.folder(guest);
    const made = existsSync(join(folder, "Pulumi.yaml"));
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (!made) {
      const definition = readFileSync(join(project, "Pulumi.yaml"), "utf8");
      const main = `main: ${join(project, "index.ts")}`;
      writeFileSync(join(folder, "Pulumi.yaml"), definition.replace(/^main: .*/m, main));
      await this.run(guest, "pulumi", ["stack", "init", stack]);
    }
    const config = join(folder, `Pulumi.${stack}.yaml`);
    // The salt of the secrets, which the CLI wrote, stays.
    const [salt = ""] = /^encryptionsalt: .*\n/m.exec(readFileSync(config, "utf8")) ?? [];
    writeFileSync(config, `${salt}${stackConfig(settings, hostOf(guest))}`);
  }

  private async everywhere(file: string, args: readonly string[]): Promise<void> {
    await Promise.all(this.guests.map((guest) => this.run(guest, file, args)));
  }

  private run(guest: Guest, file: string, args: readonly string[]): Promise<string> {
    const directory = this.folder(guest);
    const env = {
      PULUMI_BACKEND_URL: `file://${directory}`,
      PULUMI_CONFIG_PASSPHRASE: "of a server that is gone after the measurement",
      PULUMI_SKIP_UPDATE_CHECK: "true",
    };
    return execute(file, args, { directory, env });
  }

  private folder(guest: Guest): string {
    return join(this.directory, guest.name);
  }
}
