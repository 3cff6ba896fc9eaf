import { spawn } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Duplex } from "node:stream";
import type { Action } from "../../../components/step/script";
import { fullConfig, probeType, runProgram } from "../mocks";
import { canBranch, goOn, stopsOf } from "./branches/branches";

/** Every external command that a step may use: a stub of that name, or the real one. Others fail the test. */
const realCommands =
  "awk base64 basename cat chmod cmp comm cp cut diff find flock grep head ln ls md5sum mkdir paste readlink " +
  "mkfifo realpath rmdir sed sort tail tee test touch tr uniq wc env xargs sh bash setpriv unshare";

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The calls of external commands, each once: phase, command and arguments. */
  readonly calls: readonly string[];
  /** The statement of the main shell in which a call first came; empty unless the run was to note it. */
  readonly statements: ReadonlyMap<string, number>;
}

/** A call that fails, before it does its work or after it. */
export interface Failure {
  readonly call: string;
  readonly when: "before" | "after";
}

/** What a host is at a moment: by path, one line on kind, mode, owner and content. */
export type State = ReadonlyMap<string, string>;

/** A run that has started. */
interface Run {
  /** Its descriptor 3. */
  readonly channel: Duplex;
  /** The files of its standard output and errors. */
  readonly outputs: readonly string[];
  readonly ended: Promise<Ended>;
  /** Ends it when it takes too long from now on. */
  readonly watch: () => void;
  /** Lets it take its time. */
  readonly rest: () => void;
}

/**
 * A host as a directory tree: scripts run on it with their absolute paths moved into it, and with stubs in place of what
 * only a real host has.
 */
export class World {
  private readonly directory = mkdtempSync(
    join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "mlflow-vps-world-"),
  );
  readonly root = join(this.directory, "root");
  private readonly shims = join(this.directory, "bin");
  private readonly stubs = join(__dirname, "stubs");
  readonly canBranch = canBranch(this.directory);
  private readonly branches = {
    BRANCHES: join(__dirname, "branches/branches.sh"),
    BRANCH_BUILTIN: join(this.directory, "branch.so"),
  };

  constructor() {
    mkdirSync(this.shims);
    for (const file of readdirSync(this.stubs)) {
      if (file.endsWith(".sh")) {
        symlinkSync(join(this.stubs, "shim"), join(this.shims, file.slice(0, -3)));
      }
    }
    for (const command of realCommands.split(" ")) {
      symlinkSync(join(this.stubs, "shim"), join(this.shims, command));
    }
    mkdirSync(this.root);
  }

  delete(): void {
    rmSync(this.directory, { recursive: true });
  }

  path(path: string): string {
    return join(this.root, path);
  }

  write(path: string, content: string, mode = 0o644): void {
    mkdirSync(dirname(this.path(path)), { recursive: true });
    writeFileSync(this.path(path), this.moved(content));
    chmodSync(this.path(path), mode);
  }

  /** What a file holds; nothing when it is not there. */
  read(path: string): string {
    const file = this.path(path);
    return existsSync(file) ? readFileSync(file, "utf8").replaceAll(this.root, "") : "";
  }

  /** Absolute paths of a host, moved into this world. */
  private moved(text: string): string {
    return text.replace(
      /(?<![\w.$}\]*])\/(?:etc|var|opt|run|proc|sys|srv|home|usr\/lib|usr\/share)(?![\w-])/g,
      (path) => this.root + path,
    );
  }

  /** Runs lines of a shell with the stubs. */
  async shell(lines: string): Promise<void> {
    const file = join(this.directory, "lines");
    writeFileSync(file, `set -e\n${this.moved(lines)}`);
    const { code, stderr } = await this.start(file, []).ended;
    if (code !== 0) {
      throw new Error(`preparing the world: exit code ${code}: ${stderr}`);
    }
  }

  /**
   * Brings the world back to what was kept under the name (or leaves it as it is), and runs a step's rendered script there.
   *
   * @param failure the call that fails
   * @param leaveOut checks of an apply that need not run, to save time: the first is taken for one that found something,
   *   the last for one that found nothing
   * @param note whether to note the statements, for 'failEach'
   */
  runStep(
    script: string,
    action: Action,
    {
      host,
      failure,
      leaveOut,
      note = false,
    }: { host?: string; failure?: Failure; leaveOut?: "first" | "last"; note?: boolean } = {},
  ): Promise<Ended> {
    return this.start(this.adapted(script, leaveOut), [action], {
      host,
      env: {
        ...(failure ? { FAILING: failure.call, WHEN: failure.when } : {}),
        ...(note && this.canBranch ? { ...this.branches, BRANCH_AT: "" } : {}),
      },
    }).ended;
  }

  /**
   * Runs a step's script on the kept world once for each failure. What comes before a failure, they share.
   *
   * @param whole the run without a failure, with its statements
   * @returns each failure when its run has ended, and the world is as that has left it
   */
  async *failEach(
    script: string,
    action: Action,
    whole: Ended,
    failures: readonly Failure[],
    { host, leaveOut }: { host: string; leaveOut?: "first" },
  ): AsyncGenerator<{ failure: Failure; ended: Ended }> {
    const left = new Set(failures);
    const at = new Set(failures.flatMap(({ call }) => whole.statements.get(call) ?? []));
    if (at.size > 0) {
      const run = this.start(this.adapted(script, leaveOut), [action], {
        host,
        output: "branches",
        env: { ...this.branches, BRANCH_AT: [...at].join(" ") },
      });
      let lengths: readonly number[] = [];
      let here: Failure[] = [];
      let failure: Failure | undefined;
      for await (const { statement, code } of stopsOf(run.channel)) {
        run.rest();
        if (code === undefined) {
          lengths = run.outputs.map((file) => statSync(file).size);
          here = failures.filter(({ call }) => whole.statements.get(call) === statement);
        } else if (failure && this.hasFailed()) {
          left.delete(failure);
          yield { failure, ended: this.endedAs(code, run.outputs) };
        }
        run.outputs.forEach((file, index) => {
          truncateSync(file, lengths[index]);
        });
        failure = here.shift();
        run.watch();
        goOn(run.channel, failure);
      }
      const { code, stderr } = await run.ended;
      if (code !== null && code !== whole.code) {
        throw new Error(`with branches, the run without a failure ends with ${code}: ${stderr}`);
      }
    }
    // Those that did not come again, or hang, have a run of their own to show it.
    for (const failure of left) {
      yield { failure, ended: await this.runStep(script, action, { host, failure, leaveOut }) };
    }
  }

  private readonly known = new Map<string, string>();

  private adapted(script: string, leaveOut?: "first" | "last"): string {
    const known = this.known.get(`${leaveOut} ${script}`);
    if (known !== undefined) {
      return known;
    }
    const replaceAll = (text: string, from: string, to: string) => {
      if (!text.includes(from)) {
        throw new Error(`the library has no '${from}' any more`);
      }
      return text.replaceAll(from, to);
    };
    let text = replaceAll(
      script,
      "PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin",
      `PATH=${this.shims}`,
    );
    text = replaceAll(text, "LC_ALL=C.UTF-8", "LC_ALL=C"); // programs start faster
    text = text.replace(/EUID ([!=])= 0/g, "0 $1= 0");
    text = text.replaceAll("process=$$ ", "process=100 "); // the process that sshd has started for this run
    const first = leaveOut === "first" ? "left=known" : "left=$(export PHASE=before && check)";
    const last = leaveOut === "last" ? "left=" : "left=$(export PHASE=after && check)";
    text = replaceAll(text, "left=$(check)\n      [[ -n", `${first}\n      [[ -n`);
    text = replaceAll(
      text,
      "      lock\n      claim_host\n",
      "      export PHASE=claim\n      lock\n      claim_host\n",
    );
    text = replaceAll(text, "      apply\n", "      export PHASE=apply\n      apply\n");
    text = replaceAll(text, "left=$(check)\n      [[ -z", `${last}\n      [[ -z`);
    const file = join(this.directory, `script-${this.known.size}`);
    writeFileSync(
      file,
      `export PHASE=
[ -z "\${BRANCHES-}" ] || . "$BRANCHES"
# Time passes with each look of a loop, faster than it does.
sleep() { SECONDS=$((SECONDS + 1)) && command sleep "$@"; }
export -f sleep # certbot's hook is a process of its own
command_not_found_handle() { printf 'unknown command %s\\0' "$*" >>"$WORLD/.calls"; return 127; }
${this.moved(text).replaceAll(`${this.root}/proc/$1 ]]`, "/proc/$1 ]]") /* one that the run itself has started */}`,
    );
    this.known.set(`${leaveOut} ${script}`, file);
    return file;
  }

  private start(
    file: string,
    args: readonly string[],
    { host, output = "run", env = {} }: { host?: string; output?: string; env?: NodeJS.ProcessEnv } = {},
  ): Run {
    const restore =
      host === undefined
        ? "/bin/rm -f root/.calls root/.failed"
        : '/bin/rm -rf root root.before && /bin/cp -a "$host" root';
    const outputs = ["stdout", "stderr"].map((name) => join(this.directory, `${output}.${name}`));
    for (const each of outputs) {
      writeFileSync(each, "");
    }
    const descriptors = outputs.map((each) => openSync(each, "a"));
    const child = spawn("/bin/sh", ["-c", `${restore} && exec /bin/bash -s "$@" <"$0"`, file, ...args], {
      cwd: this.directory,
      env: {
        ...(host === undefined ? {} : { host: this.template(host) }),
        WORLD: this.root,
        STUBS: this.stubs,
        SHIMS: this.shims,
        OUTPUT: join(this.directory, output),
        PATH: this.shims,
        PHASE: "",
        ...env,
      },
      stdio: ["ignore", ...descriptors, "pipe"],
      detached: true, // a group of processes of its own
    });
    for (const descriptor of descriptors) {
      closeSync(descriptor);
    }
    // One that hangs ends with what it has started, as if by a signal.
    let hangs: NodeJS.Timeout;
    const watch = () => {
      hangs = setTimeout(() => process.kill(-Number(child.pid), "SIGKILL"), patience);
    };
    const rest = () => clearTimeout(hangs);
    watch();
    const channel = child.stdio[3] as Duplex;
    const ended = new Promise<Ended>((done, failed) => {
      child.on("error", failed);
      child.on("exit", (code) => {
        rest();
        try {
          done(this.endedAs(code, outputs));
        } catch (error) {
          failed(error);
        }
      });
    });
    return { channel, outputs, ended, watch, rest };
  }

  private endedAs(code: number | null, outputs: readonly string[]): Ended {
    const [stdout = "", stderr = ""] = outputs.map((file) => readFileSync(file, "utf8"));
    const noted = existsSync(this.path(".calls")) ? readFileSync(this.path(".calls"), "utf8") : "";
    const unknown = /unknown command [^\0]*/.exec(noted);
    if (unknown) {
      throw new Error(`a step uses an ${unknown[0]}, which the stubs do not know`);
    }
    if (stderr.includes("the stub does not know")) {
      throw new Error(stderr);
    }
    const calls = new Set<string>();
    const statements = new Map<string, number>();
    let statement: number | undefined;
    for (const note of noted.split("\0").slice(0, -1)) {
      const [, number] = /^# (\d+)$/.exec(note) ?? [];
      if (number !== undefined) {
        statement = Number(number);
      } else if (!calls.has(note)) {
        calls.add(note);
        if (statement !== undefined) {
          statements.set(note, statement);
        }
      }
    }
    return { code, stdout, stderr, calls: [...calls], statements };
  }

  /** Whether the call that was to fail did come. */
  hasFailed(): boolean {
    return existsSync(this.path(".failed"));
  }

  /** Keeps the world as it is now under a name. */
  async keep(name: string): Promise<void> {
    rmSync(this.path(".calls"), { force: true });
    await this.plain("cp", "-a", this.root, this.template(name));
  }

  has(name: string): boolean {
    return existsSync(this.template(name));
  }

  /** Brings the world back to what was kept under the name. */
  async restore(name: string): Promise<void> {
    await this.plain("sh", "-c", `rm -rf "$1" && cp -a "$2" "$1"`, "sh", this.root, this.template(name));
  }

  private template(name: string): string {
    return join(this.directory, `kept-${name}`);
  }

  private plain(command: string, ...args: string[]): Promise<void> {
    return new Promise((done, failed) => {
      spawn(command, args, { stdio: "inherit" })
        .on("error", failed)
        .on("close", (code) =>
          code === 0 ? done() : failed(new Error(`${command} ${args.join(" ")}: exit code ${code}`)),
        );
    });
  }

  /** What the world is now, but for what differs from run to run. */
  state(): State {
    const state = new Map<string, string>();
    const owners = new Map(
      readdirSync(this.path(".owners")).map((name) => [
        name.replaceAll("%", "/"),
        this.read(`.owners/${name}`).trim(),
      ]),
    );
    const visit = (path: string) => {
      for (const name of readdirSync(this.path(path)).sort()) {
        const inner = `${path}/${name}`;
        if (volatile.test(inner)) {
          continue;
        }
        const stat = lstatSync(this.path(inner));
        const access = `${owners.get(inner) ?? "root:root"} ${(stat.mode & 0o7777).toString(8)}`;
        if (stat.isSymbolicLink()) {
          state.set(inner, `link to ${readlinkSync(this.path(inner)).replaceAll(this.root, "")}`);
        } else if (stat.isDirectory()) {
          state.set(inner, `directory ${access}`);
          visit(inner);
        } else if (!stat.isFile()) {
          state.set(inner, `neither file nor directory ${access}`);
        } else {
          state.set(inner, `file ${access}\n${this.read(inner)}`);
        }
      }
    };
    visit("");
    for (const [process, file] of this.unread()) {
      state.set(`${file} as ${process} knows it`, "is older than the file");
    }
    return state;
  }

  /** The processes that started before one of their files was written, with the file; see stubs/processes.sh. */
  private unread(): [string, string][] {
    const built = Number(this.read("/.state/built"));
    return ["201", "5001", "5002"].flatMap((process) => {
      const started = (Number(this.read(`/proc/${process}/stat`).split(" ")[21]) - 100_000_000) / 100;
      const files =
        process === "201"
          ? [
              "/etc/nginx/sites-available/mlflow-vps",
              "/etc/mlflow-vps/upstream.conf",
              "/etc/mlflow-vps/server.pem",
            ]
          : [`/etc/systemd/system/mlflow@${process}.service`, `/etc/mlflow-vps/mlflow-${process}.env`];
      return files
        .filter((file) => existsSync(this.path(file)))
        .filter((file) => lstatSync(this.path(file)).mtimeMs / 1000 - built + 900_000 > started)
        .map((file): [string, string] => [process, file]);
    });
  }
}

/** Milliseconds after which a run hangs; one takes a few hundred, and a machine may be busy. */
const patience = 30_000;

/** Locks and what else is for one run, logs, processes and the stubs' own notes. */
const volatile =
  /^\/(\.calls|\.failed|\.owners|\.dates|\.state\/(hour|built|network\.\d+|pg\/loads)|proc|run\/mlflow-vps\/(?!drain$).*|var\/log\/mlflow-vps)$|\/\.contents$/;

/** The rendered scripts of all steps, by their names. */
export async function scriptsOfTheProgram(
  config: Readonly<Record<string, string>> = {},
): Promise<ReadonlyMap<string, string>> {
  const program = await runProgram({ ...fullConfig, "tls.mode": "acme", ...config });
  return new Map(
    program
      .ofType(probeType)
      .map(({ name, inputs }) => [name.replace(/^mlflow-(.*)-probe$/, "$1"), String(inputs.script)]),
  );
}
