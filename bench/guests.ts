import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execute, project } from "./processes";

const vps = join(project, "sandbox/vps.sh");

/** What a guest looks like to the contestants: a VPS of the 3 EUR class. */
export const memoryMb = 2048;

/** A stand-in VPS of the sandbox. */
export class Guest {
  constructor(readonly name: string) {}

  readonly login = "deploy";

  get directory(): string {
    return join(process.env.MLFLOW_VPS_SANDBOX ?? join(project, ".sandbox"), this.name);
  }
  get address(): string {
    return readFileSync(join(this.directory, "address"), "utf8").trim();
  }
  get keyFile(): string {
    return join(this.directory, "id_ed25519");
  }
  /** The file in which OpenSSH looks for the host's key; made here. */
  get knownHostsFile(): string {
    const file = join(this.directory, "known_hosts");
    writeFileSync(file, `${this.address} ${readFileSync(join(this.directory, "host_key.pub"), "utf8")}`);
    return file;
  }
  /** Where its network is, for a program of this machine that is to run beside its services. */
  get networkNamespace(): string {
    return `/run/netns/mlflow-vps-${this.address.split(".")[2]}`;
  }

  /** Makes it anew, bare. */
  async make(): Promise<void> {
    const made = existsSync(join(this.directory, "address"));
    await execute(vps, [made ? "rebuild" : "up", this.name, "--memory-mb", String(memoryMb)]);
  }
  async down(): Promise<void> {
    await execute(vps, ["down", this.name]);
  }
  /** Runs a script of bash as root inside the guest; what it printed. */
  async run(script: string): Promise<string> {
    const command = ["run", this.name, "bash", "-euo", "pipefail", "-s"];
    return (await execute(vps, command, { input: script })).trim();
  }

  /** Arguments of ssh that lead to it. */
  get sshArgs(): string[] {
    const options = ["BatchMode=yes", "IdentitiesOnly=yes", `UserKnownHostsFile=${this.knownHostsFile}`];
    return [
      "-i",
      this.keyFile,
      ...options.flatMap((option) => ["-o", option]),
      `${this.login}@${this.address}`,
    ];
  }
}
