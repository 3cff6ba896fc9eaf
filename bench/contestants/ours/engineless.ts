import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Access, Contestant, Deployment, Settings, Span } from "../../contestant";
import type { Guest } from "../../guests";
import { execute, project } from "../../processes";
import { accessOf, hostOf, stackConfig } from "./config";

const start = join(project, "scripts/start.cjs");
const program = "sandbox/engineless/main.ts";

/** The program without an engine: the same commands, by the SDK's mock monitor. */
export const engineless: Contestant = {
  name: "engineless",
  title: "ours, no engine",
  ours: true,
  repeatable: true,
  units: "mlflow@*.service",
  obstacle: async () => undefined,
  async prepare() {
    // Makes the bundle, which an installed program has already. What it says about its arguments is not wanted.
    await execute(start, [program], { codes: [1] });
    return {};
  },
  deploy: (guests, directory) => new Engineless(guests, directory),
};

class Engineless implements Deployment {
  // A check that found something exits 2.
  readonly looks = { "engineless check": () => this.run("check") };

  constructor(
    private readonly guests: readonly Guest[],
    private readonly directory: string,
  ) {}

  async apply(settings: Settings): Promise<void> {
    for (const guest of this.guests) {
      mkdirSync(this.folder(guest), { recursive: true, mode: 0o700 });
      writeFileSync(join(this.folder(guest), "config.yaml"), stackConfig(settings, hostOf(guest)));
    }
    await this.run("up");
  }

  async access(guest: Guest): Promise<Access> {
    return accessOf(JSON.parse(readFileSync(join(this.folder(guest), "outputs.json"), "utf8")));
  }

  timeline(): Span[] {
    const file = this.guests[0] && join(this.folder(this.guests[0]), "timeline.json");
    return file !== undefined && existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : [];
  }

  private async run(action: "up" | "check"): Promise<void> {
    await Promise.all(
      this.guests.map((guest) => {
        const folder = this.folder(guest);
        const files = ["--config", join(folder, "config.yaml"), "--state", folder];
        const timeline = action === "up" ? ["--timeline", join(folder, "timeline.json")] : [];
        return execute(start, [program, action, ...files, ...timeline]);
      }),
    );
  }

  private folder(guest: Guest): string {
    return join(this.directory, guest.name);
  }
}
