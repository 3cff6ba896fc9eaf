import { readFileSync } from "node:fs";
import { join } from "node:path";
import { quote } from "../../../components/step/script";
import type { Access, Contestant, Deployment, Settings } from "../../contestant";
import type { Guest } from "../../guests";
import { execute } from "../../processes";
import { Passwords } from "../passwords";

/** The tutorial's commands, without the time that a person takes to type them. */
export const byHand: Contestant = {
  name: "byhand",
  title: "by hand",
  ours: false,
  repeatable: false,
  units: "mlflow.service",
  obstacle: async () => undefined,
  prepare: async () => ({}),
  deploy: (guests) => new Commands(guests),
};

class Commands implements Deployment {
  readonly looks = {};
  private readonly passwords = new Passwords();
  private current: Settings | undefined;

  constructor(private readonly guests: readonly Guest[]) {}

  async apply(settings: Settings): Promise<void> {
    for (const script of scripts(this.current, settings)) {
      await Promise.all(this.guests.map((guest) => this.type(script, settings, guest)));
    }
    this.current = settings;
  }

  async access(guest: Guest): Promise<Access> {
    const password = this.passwords.user(this.current?.password ?? 1);
    return { uri: `http://${guest.address}`, user: "mlflow", password };
  }

  private async type(script: string, settings: Settings, guest: Guest): Promise<void> {
    const values = {
      mlflow: settings.mlflow,
      workers: settings.workers ?? "",
      password: this.passwords.user(settings.password),
      database_password: this.passwords.database,
    };
    const lines = Object.entries(values).map(([name, value]) => `${name}=${quote(String(value))}`);
    const commands = readFileSync(join(__dirname, `${script}.sh`), "utf8");
    // A function is read to its end before it runs, so that no command takes the rest of it as its input.
    const input = `${lines.join("\n")}\ntyped() {\n${commands}\n}\ntyped </dev/null\n`;
    await execute("ssh", [...guest.sshArgs, "sudo bash -euo pipefail -s"], { input });
  }
}

/** What a person would have to do to come from one to the other. */
function scripts(current: Settings | undefined, wanted: Settings): string[] {
  if (current === undefined) {
    return ["install"];
  }
  if (current.mlflow !== wanted.mlflow) {
    throw new Error("by hand, the tutorial tells of no upgrade");
  }
  return [
    ...(current.workers === wanted.workers ? [] : ["workers"]),
    ...(current.password === wanted.password ? [] : ["password"]),
  ];
}
