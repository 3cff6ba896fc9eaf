/** `./mlflow-vps` as an operator runs it: the real executable, in pipes or at a terminal, with a stand-in for `pulumi`. */
import { execFile, spawn } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { afterEach } from "vitest";
import { quote } from "../../components/step/script";
import type { SshServer } from "./sshServer";

export const project = resolve(__dirname, "../..");
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) {
    rmSync(directory, { recursive: true });
  }
});

/** Where a command is called: a directory of its own, which is the home too, with programs of its own on PATH. */
export class Shell {
  readonly directory = realpathSync(mkdtempSync(join(tmpdir(), "mlflow-vps-")));
  private readonly programs = join(this.directory, "bin");
  env: Record<string, string | undefined> = {};
  cwd = this.directory;
  executable = join(project, "mlflow-vps");

  constructor() {
    directories.push(this.directory);
    mkdirSync(this.programs);
  }

  /** Puts a program on PATH that notes how it was called and in which directory, then does this. */
  put(name: string, script: string): void {
    const file = join(this.programs, name);
    writeFileSync(file, `#!/bin/sh\necho "$PWD: $*" >>${quote(`${file}.calls`)}\n${script}\n`);
    chmodSync(file, 0o755);
  }

  /** Leaves nothing on PATH but what the executable itself needs, and what was put there. */
  hideAllButOwn(): void {
    symlinkSync(process.execPath, join(this.programs, "node"));
    for (const name of ["bash", "dirname", "realpath"]) {
      symlinkSync(join("/usr/bin", name), join(this.programs, name));
    }
    this.env.PATH = this.programs;
  }

  /** How the program was called. */
  calls(name: string): string {
    return readFileSync(join(this.programs, `${name}.calls`), "utf8");
  }

  /** Puts a `pulumi` on PATH whose stack has this state, which it prints after `before` is done. */
  putStack(state: string, before = ":"): void {
    writeFileSync(join(this.directory, "state"), state);
    this.put("pulumi", `${before}; /bin/cat ${quote(join(this.directory, "state"))}`);
  }

  private get environment(): NodeJS.ProcessEnv {
    const path = [this.programs, resolve(process.execPath, ".."), "/usr/bin", "/bin"];
    return { PATH: path.join(delimiter), HOME: this.directory, ...this.env };
  }

  run(...args: string[]): Promise<Ran> {
    return new Promise((done) => {
      execFile(this.executable, args, { cwd: this.cwd, env: this.environment }, (error, stdout, stderr) =>
        done({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      );
    });
  }

  /**
   * The same at a terminal of 300 columns, where somebody waits for each text and then presses these keys; none of
   * them is more than the command waits for.
   *
   * @returns what the terminal showed, without colours and movements of the cursor
   */
  converse(
    args: readonly string[],
    ...steps: (readonly [text: string, keys: string])[]
  ): Promise<Conversation> {
    const command = `stty cols 300 rows 50; exec ${[this.executable, ...args].map(quote).join(" ")}`;
    const terminal = spawn("script", ["--quiet", "--return", "--command", command, "/dev/null"], {
      cwd: this.cwd,
      env: { SHELL: "/bin/sh", TERM: "xterm", ...this.environment },
      timeout: 20_000,
    });
    let raw = "";
    let read = 0;
    const left = [...steps];
    terminal.stdout.setEncoding("utf8").on("data", (text: string) => {
      raw += text;
      const shown = stripVTControlCharacters(raw);
      const [expected, keys] = left[0] ?? ["", ""];
      const at = left.length > 0 ? shown.indexOf(expected, read) : -1;
      if (at >= 0) {
        read = shown.length;
        left.shift();
        terminal.stdin.write(keys);
      }
    });
    return new Promise((done) => {
      terminal.on("close", (code) =>
        done({
          code: code ?? -1,
          raw,
          shown: stripVTControlCharacters(raw),
          unasked: left.map(([text]) => text),
        }),
      );
    });
  }
}

export interface Conversation {
  readonly code: number;
  readonly shown: string;
  readonly raw: string;
  /** Texts that did not come. */
  readonly unasked: readonly string[];
}

export const secret = (value: unknown) => ({
  "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
  plaintext: JSON.stringify(value),
});

export const outputs = {
  trackingUri: "https://203.0.113.7",
  users: secret({ ada: "ADAS-PASSWORD", grace: "GRACES-PASSWORD" }),
  clientEnv: secret(
    [
      "MLFLOW_TRACKING_URI=https://203.0.113.7",
      "MLFLOW_TRACKING_USERNAME=ada",
      "MLFLOW_TRACKING_PASSWORD=ADAS-PASSWORD",
      "MLFLOW_TRACKING_SERVER_CERT_PATH=mlflow-ca.pem",
      "",
    ].join("\n"),
  ),
  caCertificate: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
};

/** A state as `pulumi stack export --show-secrets` prints it. */
export const stateOf = (
  { connection }: Pick<SshServer, "connection">,
  steps: readonly string[],
  changed: object = {},
) =>
  JSON.stringify({
    version: 3,
    deployment: {
      resources: [
        {
          urn: "urn:pulumi:prod::mlflow-vps::pulumi:pulumi:Stack::mlflow-vps-prod",
          type: "pulumi:pulumi:Stack",
          outputs: { ...outputs, ...changed },
        },
        ...steps.map((step) => ({
          urn: `urn:pulumi:prod::mlflow-vps::pulumi-nodejs:dynamic/mlflow:Probe::mlflow-${step}-probe`,
          type: "pulumi-nodejs:dynamic/mlflow:Probe",
          outputs: {
            connection: secret(connection),
            command: `bash -s check # ${step} {"port":5000}`,
            script: secret("THE-SCRIPT-WITH-SECRETS"),
            drift: [],
          },
        })),
      ],
    },
  });
