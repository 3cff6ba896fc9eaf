import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Access, Contestant, Deployment, Settings } from "../../contestant";
import type { Guest } from "../../guests";
import { execute } from "../../processes";
import { installTool, toolDirectory } from "../../tools";
import { Passwords } from "../passwords";

const tool = "pyinfra";

/** A deploy of pyinfra's own operations. */
export const pyinfra: Contestant = {
  name: "pyinfra",
  title: "pyinfra",
  ours: false,
  repeatable: true,
  units: "mlflow.service",
  obstacle: async () => undefined,
  prepare: () => installTool(tool, join(__dirname, "requirements.txt"), ["pyinfra"]),
  deploy: (guests, directory) => new Deploy(guests, directory),
};

class Deploy implements Deployment {
  readonly looks = { "pyinfra --dry": () => this.run("--dry") };
  private readonly passwords = new Passwords();
  /** Each hash has a salt, so it is made once, as it would be for an inventory. */
  private readonly hashes = new Map<number, string>();
  private password = 1;

  constructor(
    guests: readonly Guest[],
    private readonly directory: string,
  ) {
    const hosts = guests.map(
      (guest) => `    (${JSON.stringify(guest.name)}, ${JSON.stringify(host(guest))}),\n`,
    );
    writeFileSync(this.file("inventory.py"), `hosts = [\n${hosts.join("")}]\n`);
  }

  async apply({ mlflow, workers, password }: Settings): Promise<void> {
    const values = {
      mlflow,
      workers: workers ?? null,
      password_hash: await this.hash(password),
      database_password: this.passwords.database,
    };
    writeFileSync(this.file("values.json"), JSON.stringify(values), { mode: 0o600 });
    await this.run("--yes");
    this.password = password;
  }

  async access(guest: Guest): Promise<Access> {
    return { uri: `http://${guest.address}`, user: "mlflow", password: this.passwords.user(this.password) };
  }

  private async hash(number: number): Promise<string> {
    const input = `${this.passwords.user(number)}\n`;
    const hash =
      this.hashes.get(number) ?? (await execute("openssl", ["passwd", "-apr1", "-stdin"], { input })).trim();
    this.hashes.set(number, hash);
    return hash;
  }

  private run(mode: string): Promise<string> {
    const data = ["--data", `values_file=${this.file("values.json")}`];
    const program = join(toolDirectory(tool), "bin/pyinfra");
    return execute(program, [mode, ...data, this.file("inventory.py"), join(__dirname, "deploy.py")]);
  }

  private file(name: string): string {
    return join(this.directory, name);
  }
}

/** How pyinfra reaches a guest; a dictionary of Python is written like an object of JSON here. */
const host = (guest: Guest) => ({
  ssh_hostname: guest.address,
  ssh_user: guest.login,
  ssh_key: guest.keyFile,
  ssh_known_hosts_file: guest.knownHostsFile,
  ssh_strict_host_key_checking: "yes",
});
