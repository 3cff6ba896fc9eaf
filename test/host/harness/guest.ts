import { readFileSync } from "node:fs";
import { join } from "node:path";
import { quote } from "../../../components/step/script";
import { project, succeed } from "../processes";
import { until, waiting } from "../waits";

const vpsScript = join(project, "sandbox/vps.sh");

/** A stand-in VPS of the sandbox. */
export class Guest {
  constructor(readonly name: string) {}

  get directory(): string {
    return join(project, ".sandbox", this.name);
  }
  get address(): string {
    return readFileSync(join(this.directory, "address"), "utf8").trim();
  }
  async up(...options: string[]): Promise<void> {
    await this.vps("up", ...options);
  }
  async down(): Promise<void> {
    await this.vps("down");
  }
  async rebuild(...options: string[]): Promise<void> {
    await this.vps("rebuild", ...options);
  }
  async reboot(): Promise<void> {
    await this.vps("stop");
    await this.vps("start");
  }
  private vps(command: string, ...options: string[]): Promise<string> {
    return waiting("guest", () => succeed(vpsScript, [command, this.name, ...options]));
  }
  /** Runs a shell command line as root inside the guest; fails when it fails. */
  async run(commandLine: string): Promise<string> {
    return (
      await succeed(vpsScript, ["run", this.name, "bash", "-c", `set -euo pipefail; ${commandLine}`])
    ).trim();
  }
  /** The unit of the instance that serves, or of all that run when there are more. */
  service(): Promise<string> {
    return this.run("systemctl list-units --plain --no-legend 'mlflow@*.service' | cut -d ' ' -f 1");
  }
  /** Starts a shell command line as root inside the guest and leaves it running. */
  async start(commandLine: string): Promise<void> {
    await this.run(`setsid bash -c ${quote(commandLine)} </dev/null >/dev/null 2>&1 &`);
  }
  /**
   * Makes a program of the guest wait when it is called while a step is being applied.
   *
   * @param when a condition of bash that must hold at that moment
   */
  async hold(program: string, step: string, when = "true"): Promise<Hold> {
    const wrapper = `#!/bin/bash
# Only for the process that holds the step's lock, and those that it started.
step=$(cat /run/mlflow-vps/${step}.lock 2>/dev/null) caller=$PPID
while [[ -e /run/hold && -n $step ]] && ((caller > 1)); do
  if ((caller == step)) && { ${when}; }; then
    : >/run/held
    while [[ -e /run/hold ]]; do read -rt 0.1 <> <(:); done
  fi
  caller=$(sed -n 's/^PPid:\\t//p' /proc/$caller/status)
done
exec ${program}.real "$@"`;
    await this.run(`rm -f /run/held; touch /run/hold; cp -dp ${program} ${program}.real
      printf '%s\\n' ${quote(wrapper)} >/run/wrapper; chmod 755 /run/wrapper; cp -p --remove-destination /run/wrapper ${program}`);
    return {
      reached: () =>
        until(async () => (await this.run("ls /run/held || true")) !== "", `the middle of ${step}`, 120),
      end: async () => {
        // The real one stays for who waits to call it.
        await this.run(`cp -dp --remove-destination ${program}.real ${program}; rm -f /run/hold`);
      },
      kill: async () => {
        await this.run(
          `pkill -KILL --full '[b]ash -s apply'; pkill -KILL --full ${quote(`[b]ash ${program}`)}`,
        );
      },
    };
  }
}

/** A program of the guest that waits in the middle of a step. */
export interface Hold {
  /** Waits until the step has come there. */
  reached(): Promise<void>;
  /** Lets it go on. */
  end(): Promise<void>;
  /** Kills it, and the step. */
  kill(): Promise<void>;
}
