import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Access, Contestant, Deployment, Settings } from "../../contestant";
import type { Guest } from "../../guests";
import { execute } from "../../processes";
import { installTool, toolDirectory } from "../../tools";
import { Passwords } from "../passwords";

const tool = "ansible";

/** A playbook of community modules, with pipelining. */
export const ansible: Contestant = {
  name: "ansible",
  title: "Ansible",
  ours: false,
  repeatable: true,
  units: "mlflow.service",
  obstacle: async () => undefined,
  prepare: () => installTool(tool, join(__dirname, "requirements.txt"), ["ansible", "ansible-core"]),
  deploy: (guests, directory) => new Playbook(guests, directory),
};

class Playbook implements Deployment {
  readonly looks = { "ansible-playbook --check": () => this.play("--check") };
  private readonly passwords = new Passwords();
  private password = 1;

  constructor(
    guests: readonly Guest[],
    private readonly directory: string,
  ) {
    writeFileSync(this.file("inventory.json"), JSON.stringify(inventory(guests)));
  }

  async apply({ mlflow, workers, password }: Settings): Promise<void> {
    const values = {
      mlflow,
      workers: workers ?? null,
      password: this.passwords.user(password),
      database_password: this.passwords.database,
    };
    writeFileSync(this.file("values.json"), JSON.stringify(values), { mode: 0o600 });
    await this.play();
    this.password = password;
  }

  async access(guest: Guest): Promise<Access> {
    return { uri: `http://${guest.address}`, user: "mlflow", password: this.passwords.user(this.password) };
  }

  private play(...options: string[]): Promise<string> {
    const files = [
      "--inventory",
      this.file("inventory.json"),
      "--extra-vars",
      `@${this.file("values.json")}`,
    ];
    const program = join(toolDirectory(tool), "bin/ansible-playbook");
    return execute(program, [join(__dirname, "playbook.yml"), ...files, ...options], {
      env: {
        ANSIBLE_CONFIG: join(__dirname, "ansible.cfg"),
        ANSIBLE_HOME: this.file("home"),
        LC_ALL: "C.UTF-8",
      },
    });
  }

  private file(name: string): string {
    return join(this.directory, name);
  }
}

/** As Ansible reads it: JSON is YAML too. */
const inventory = (guests: readonly Guest[]) => ({
  all: {
    hosts: Object.fromEntries(
      guests.map((guest) => [
        guest.name,
        {
          ansible_host: guest.address,
          ansible_user: guest.login,
          ansible_ssh_private_key_file: guest.keyFile,
          ansible_ssh_common_args: `-o IdentitiesOnly=yes -o UserKnownHostsFile=${guest.knownHostsFile}`,
        },
      ]),
    ),
  },
});
