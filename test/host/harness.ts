import { type ExecFileSyncOptions, execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type RequestOptions, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { join } from "node:path";
import { connect, type PeerCertificate } from "node:tls";
import { stringify } from "yaml";
import { quote } from "../../components/step/script";
import { endingWithUs, execute, project, python, type Result, succeed, succeedWarm } from "./processes";
import { waiting } from "./waits";

const vpsScript = join(project, "sandbox/vps.sh");
const start = join(project, "scripts/start.cjs");

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

/** The certificate that a client of a host trusts, and no other: what the last `up` put out. */
const authorities = new Map<string, string>();

export function trust(outputs: Pick<Outputs, "trackingUri" | "caCertificate">): void {
  authorities.set(new URL(outputs.trackingUri).hostname, outputs.caCertificate);
}

/** A request to a server of the tests, as Node makes it, by HTTP or by HTTPS. */
export function open(url: string, options: RequestOptions): ReturnType<typeof requestHttp> {
  const { protocol, hostname } = new URL(url);
  return protocol === "https:"
    ? requestHttps(url, { ca: authorities.get(hostname), ...options })
    : requestHttp(url, options);
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** One HTTP request, as any client sends it. */
export function send(
  url: string,
  options: {
    method?: string;
    headers?: Record<string, string>;
    user?: string;
    password?: string;
    body?: string;
  } = {},
): Promise<Answer> {
  const { method = options.body === undefined ? "GET" : "POST", headers, user, password, body } = options;
  const auth = user === undefined ? undefined : `${user}:${password}`;
  return new Promise((done, reject) => {
    const outgoing = open(url, { method, headers, auth, timeout: 60_000 });
    outgoing.on("response", (incoming) => {
      let text = "";
      incoming.setEncoding("utf8");
      incoming.on("data", (chunk: string) => {
        text += chunk;
      });
      incoming.on("end", () =>
        done({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: text }),
      );
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error(`${url}: no answer in 60 s`)));
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

/** The certificate that a server shows to a client that trusts `ca`. */
export function certificateOf(
  url: string,
  ca = authorities.get(new URL(url).hostname),
): Promise<PeerCertificate> {
  const { hostname, port } = new URL(url);
  return new Promise((done, reject) => {
    const socket = connect({ host: hostname, port: Number(port || 443), ca }, () => {
      done(socket.getPeerCertificate());
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

/** An API request that reads from the database. */
export function searchExperiments(
  uri: string,
  user?: string,
  password?: string,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return send(`${uri}/api/2.0/mlflow/experiments/search`, {
    user,
    password,
    headers: { "Content-Type": "application/json", ...headers },
    body: '{"max_results": 100}',
  });
}

/** The environment of an MLflow client of a deployment, as its first user, set up as the README says. */
function clientEnvironment(deployment: Deployment): NodeJS.ProcessEnv {
  const { clientEnv, caCertificate } = deployment.outputs;
  const { directory } = deployment.guest;
  writeFileSync(join(directory, "mlflow-ca.pem"), caCertificate);
  const variables = Object.fromEntries(
    clientEnv
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of the shell
      .replace("${PWD}", directory)
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.split(/=(.*)/s, 2)),
  );
  return { ...process.env, MLFLOW_DISABLE_TELEMETRY: "true", ...variables };
}

/** Runs Python with the real MLflow client against a deployment: a script (`-c` and its text), or a file. */
export function client(deployment: Deployment, args: readonly string[]): Promise<string> {
  return waiting("client", () => succeedWarm(args, clientEnvironment(deployment)));
}

/** The same from nothing, as a user starts it. */
export function freshClient(deployment: Deployment, args: readonly string[]): Promise<string> {
  return waiting("client", () => succeed(python, args, clientEnvironment(deployment)));
}

/** Everything that an apply that does nothing must leave alone: files of ours by time and content, processes by id. */
export function fingerprint(guest: Guest): Promise<string> {
  const ours = "/etc/mlflow-vps /etc/nginx /etc/postgresql /etc/systemd/system /etc/logrotate.d /opt/mlflow";
  return guest.run(`
    find ${ours} -printf '%p %m %u:%g %T@ %C@ %s\\n' | sort
    find /etc/mlflow-vps /etc/nginx /etc/postgresql -type f -exec sha256sum {} + | sort
    stat -c '%n %a %U:%G %Y' /var/lib/mlflow /var/lib/mlflow/artifacts
    for unit in 'mlflow@*' nginx postgresql@15-main postgresql@17-main; do
      systemctl show --property Id,MainPID,ActiveState,UnitFileState,InvocationID "$unit"
    done
    cat /proc/$(systemctl show --property MainPID --value nginx)/task/*/children
    getent passwd; getent group`);
}

/**
 * Everything on the guest that a look must leave alone: each file by content, time, owner and mode, each unit by state
 * and processes, the firewall, the rows. Left out is what moves by itself: kernel file systems, the journal, logs and
 * temporary files of requests, PostgreSQL's own files (its rows are compared), the login's records, timers' stamps.
 */
export function listing(guest: Guest): Promise<string> {
  const moving = [
    ...["/proc", "/sys", "/dev", "/run", "/tmp", "/var/log", "/var/lib/postgresql", "/var/lib/nginx"],
    ...["/var/lib/mlflow/tmp", "/var/lib/systemd", "/var/lib/private", "/var/lib/lastlog"],
  ];
  return guest.run(`
    find / \\( ${moving.map((path) => `-path ${path}`).join(" -o ")} \\) -prune -o -printf '%p %y %m %u:%g %T@ %l\\n' | sort
    find / \\( ${moving.map((path) => `-path ${path}`).join(" -o ")} \\) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
    ls -l --time-style=full-iso /var/log/mlflow-vps /var/log/nginx/error.log
    systemctl list-units --all --plain --no-legend --type service,timer,socket,mount | awk '{ print $1, $2, $3, $4 }' |
      grep -v -e '^run-' -e '^user' -e '^session' -e '^systemd-' -e '^apt-' -e '^dpkg-' -e '^e2scrub' -e '^fstrim'
    systemctl show --property Id,MainPID,InvocationID,UnitFileState 'mlflow@*' nginx 'postgresql@*' ssh
    nft list ruleset 2>/dev/null || true
    cd /tmp; runuser -u postgres -- pg_dumpall | grep -v -e '^.restrict' -e '^.unrestrict' | sha256sum`);
}

/** Waits until a condition holds; one that throws does not hold yet. */
export async function until(condition: () => Promise<boolean>, what: string, seconds = 60): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  let last = "";
  while (
    !(await condition().catch((error: Error) => {
      last = error.message;
      return false;
    }))
  ) {
    if (Date.now() > deadline) {
      throw new Error(`${what}: not within ${seconds} s ${last}`);
    }
    await new Promise((next) => setTimeout(next, 200));
  }
}

export function hostTool(file: string, args: readonly string[], options: ExecFileSyncOptions = {}): string {
  return String(execFileSync(file, [...args], { cwd: project, ...options }));
}
