import { execFileSync, spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { renderHook } from "../../components/entrance/acme/acme";
import { managed, type Values } from "../../components/step/script";
import type { Ended } from "./bash";
import { runFunctions } from "./stepFunctions";

const domain = "mlflow.example.org";

/** Key and certificate for a name and a number of days, made once for all tests. */
let made: string;
const make = (name: string, host: string, days: number) =>
  execFileSync(
    "openssl",
    [
      [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        String(days),
      ],
      ["-subj", "/CN=test", "-addext", `subjectAltName=DNS:${host}`],
      ["-keyout", join(made, `${name}.key`), "-out", join(made, `${name}.crt`)],
    ].flat(),
    { stdio: "pipe" },
  );
const pem = (name: string) => readFileSync(join(made, name), "utf8");
beforeAll(() => {
  made = mkdtempSync(join(tmpdir(), "mlflow-vps-certificates-"));
  make("right", domain, 90);
  make("other", "other.example.org", 90);
});
afterAll(() => rmSync(made, { recursive: true }));

let directory: string;
let certificateFile: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "mlflow-vps-acme-"));
  mkdirSync(join(directory, "etc/mlflow-vps"), { recursive: true });
  certificateFile = join(directory, "etc/mlflow-vps/server.pem");
});
afterEach(() => rmSync(directory, { recursive: true }));

const anybody = "chown() { :; }\ncheck_access() { :; }\nreload_nginx() { :; }\n";

describe("the certificate that nginx serves with", () => {
  const values = (): Values => ({ names: [domain], daysNeeded: 14, certificateFile, pem: "" });
  const run = (lines: string) => runFunctions("certificate", values(), anybody + lines, directory);

  test("is a placeholder at first, in which nothing is wrong", async () => {
    const { code, stdout } = await run("apply");
    expect([code, stdout]).toEqual([
      0,
      "tiny: a placeholder is served until the certificate authority has issued a certificate\n",
    ]);
    expect(statSync(certificateFile).mode & 0o777).toBe(0o600);
    expect(await run("check_placeholder")).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test.each(["genpkey", "req"])("is not half a placeholder when openssl fails at %s", async (action) => {
    const stub = `openssl() { if [[ $1 == ${action} ]]; then return 1; fi; command openssl "$@"; }\n`;
    expect((await run(`${stub}apply`)).code).not.toBe(0);
    expect(readdirSync(join(directory, "etc/mlflow-vps"))).toEqual([]);
  });

  test.each([
    "x509 -in * -noout",
    "x509 *-checkhost*",
    "x509 *-enddate*",
    "x509 *-pubkey*",
    "pkey *-noout",
    "pkey *-pubout",
  ])("that is right is not replaced, nor said to be wrong, when openssl fails at %s", async (call) => {
    const right = pem("right.key") + pem("right.crt");
    writeFileSync(certificateFile, right);
    const stub = `openssl() { case $* in ${call.replaceAll(" ", "\\ ")}) return 1 ;; esac; command openssl "$@"; }\n`;
    for (const action of ["check", "apply"]) {
      const { code, stdout } = await run(stub + action);
      expect([action, code === 0, stdout]).toEqual([action, false, ""]);
    }
    expect(readFileSync(certificateFile, "utf8")).toBe(right);
  });

  test.each<[string, () => string, string]>([
    ["of another name", () => pem("other.key") + pem("other.crt"), "is not for mlflow.example.org"],
    ["with another's key", () => pem("other.key") + pem("right.crt"), "does not match its certificate"],
    ["without a key", () => pem("right.crt"), "does not match its certificate"],
    ["that is none", () => "nonsense\n", "holds no certificate"],
    [
      "of which half is there",
      () => pem("right.key") + pem("right.crt").slice(0, 300),
      "holds no certificate",
    ],
  ])("%s is named", async (_, content, line) => {
    writeFileSync(certificateFile, content());
    const { code, stdout } = await run("check_placeholder");
    expect(code).toBe(0);
    expect(stdout.trim().split("\n")).toEqual([expect.stringContaining(line)]);
  });

  test("that ends soon is named with its end", async () => {
    writeFileSync(certificateFile, pem("right.key") + pem("right.crt"));
    const { stdout } = await runFunctions(
      "certificate",
      { ...values(), daysNeeded: 91 },
      `${anybody}is_active() { :; }\ncheck`,
      directory,
    );
    expect(stdout).toMatch(/ expires on \w{3} [ \d]\d [\d:]{8} \d{4} GMT, in less than 91 days\n$/);
  });
});

describe("certbot's certificate", () => {
  const live = () => join(directory, "etc/letsencrypt/live/mlflow-vps");
  const values = (): Values => ({
    domain,
    email: "",
    directory: "https://acme.example.org/directory",
    certificateFile,
    challengeDirectory: join(directory, "acme"),
    lineage: "mlflow-vps",
    hookFile: join(directory, "hook"),
    hook: "hook",
  });
  const run = (lines: string) => runFunctions("acme", values(), anybody + lines, directory);
  beforeEach(() => {
    const archive = join(directory, "etc/letsencrypt/archive/mlflow-vps");
    const renewal = join(directory, "etc/letsencrypt/renewal");
    for (const name of [live(), archive, renewal, join(directory, "etc/letsencrypt/keys")]) {
      mkdirSync(name, { recursive: true });
    }
    for (const [name, content] of Object.entries({
      cert: pem("right.crt"),
      chain: "",
      fullchain: pem("right.crt"),
      privkey: pem("right.key"),
    })) {
      writeFileSync(join(archive, `${name}1.pem`), content);
      symlinkSync(join(archive, `${name}1.pem`), join(live(), `${name}.pem`));
    }
    writeFileSync(
      join(renewal, "mlflow-vps.conf"),
      `fullchain = ${live()}/fullchain.pem\nserver = https://acme.example.org/directory\n` +
        `authenticator = webroot\n[[webroot_map]]\n${domain} = ${join(directory, "acme")}\n`,
    );
    writeFileSync(certificateFile, pem("right.key") + pem("right.crt"));
  });

  test("that is right is left alone", async () => {
    expect(await run("is_active() { :; }; check_lineage; check_handed_over")).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
  });

  test.each([
    ["is enough where the authority asked for no proof", "acme,", ""],
    ["is named where it was changed", "elsewhere,", "certbot cannot renew the certificate"],
  ])("whose settings hold only the general place of the proof %s", async (_, place, expected) => {
    const file = join(directory, "etc/letsencrypt/renewal/mlflow-vps.conf");
    const text = readFileSync(file, "utf8").replace(
      /^\[\[[\s\S]*/m,
      `webroot_path = ${join(directory, place)}\n[[webroot_map]]\n`,
    );
    writeFileSync(file, text);
    const { code, stdout } = await run("check_lineage");
    expect(code).toBe(0);
    expect(stdout.slice(0, expected.length || 1)).toBe(expected);
  });

  test("that nginx has not read, for the reload failed, is not handed over yet", async () => {
    const { code, stdout } = await run(
      "is_active() { echo yes; }; nginx_has_read() { :; }; check_handed_over",
    );
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `nginx has not loaded the current ${certificateFile}\n`,
    });
  });

  test.each(["x509 -in * -noout", "x509 *-checkhost*", "x509 *-startdate*", "x509 *-enddate*"])(
    "has no date, name or fault that openssl did not tell, when it fails at %s",
    async (call) => {
      const stub = `openssl() { case $* in ${call.replaceAll(" ", "\\ ")}) return 1 ;; esac; command openssl "$@"; }\n`;
      const { code, stdout } = await run(`${stub}check_lineage`);
      expect(code).not.toBe(0);
      expect(stdout).toBe("");
    },
  );

  test("has no date that openssl left empty: that would be today's", async () => {
    const stub = `openssl() { case $* in *date) echo notAfter= ;; *) command openssl "$@" ;; esac; }\n`;
    const { code, stderr } = await run(`${stub}check_lineage`);
    expect(code).toBe(1);
    expect(stderr).toContain("openssl shows no startdate");
  });

  test("that is broken is got anew", async () => {
    writeFileSync(join(live(), "cert.pem"), "nonsense");
    expect((await run("check_lineage")).stdout).toBe(
      `there is no certificate of https://acme.example.org/directory for ${domain}\n`,
    );
  });

  test("leaves no copy of its key, and every other, and no doubt", async () => {
    const keys = join(directory, "etc/letsencrypt/keys");
    writeFileSync(join(keys, "0000.pem"), pem("right.key"));
    writeFileSync(join(keys, "0001.pem"), pem("other.key"));
    expect((await run("cmp() { return 2; }\nforget_lineage")).code).not.toBe(0);
    expect(existsSync(join(directory, "etc/letsencrypt/archive/mlflow-vps/privkey1.pem"))).toBe(true);
    expect((await run("forget_lineage")).code).toBe(0);
    expect(readdirSync(keys)).toEqual(["0001.pem"]);
    expect(existsSync(live())).toBe(false);
  });

  test("that certbot does not get is said with the remedy", async () => {
    const { code, stderr } = await run("certbot() { echo no such name; return 1; }\nget_certificate");
    expect(code).toBe(1);
    expect(stderr).toContain("no such name");
    expect(stderr).toContain("no new certificate was issued; the server keeps the one it has");
  });
});

describe("certbot's hook", () => {
  const run = () => join(directory, "run/mlflow-vps");
  const flag = () => join(run(), "drain");
  const live = () => join(directory, "etc/letsencrypt/live/mlflow-vps");
  /** What systemctl and sleep do, in place of the host's. */
  const program = (name: string, lines: string) => {
    mkdirSync(join(directory, "bin"), { recursive: true });
    writeFileSync(join(directory, "bin", name), `#!/bin/sh\n${lines}\n`, { mode: 0o755 });
  };
  const start = (renewed = live()) => {
    const hook = join(directory, "hook");
    const lines = renderHook("/etc/mlflow-vps/server.pem")
      .replaceAll(/\/(etc|run|var\/log)\//g, `${directory}$&`)
      .replace("PATH=", `PATH=${join(directory, "bin")}:`)
      .split("\n");
    const call = lines.pop() ?? "";
    const stubs = "chown() { :; }; client_connections() { echo 1; }; nginx_has_read() { echo yes; }";
    const text = [...lines, stubs, call].join("\n");
    writeFileSync(hook, text, { mode: 0o755 });
    const child = spawn(hook, {
      env: { RENEWED_LINEAGE: renewed },
      detached: true,
    });
    let stderr = "";
    child.stderr.on("data", (text) => {
      stderr += text;
    });
    const ended = new Promise<Ended>((done) =>
      child.on("close", (code) => done({ code, stdout: "", stderr })),
    );
    return { child, ended };
  };
  const until = async (condition: () => boolean) => {
    while (!condition()) {
      await new Promise((done) => setTimeout(done, 5));
    }
  };
  beforeEach(() => {
    mkdirSync(live(), { recursive: true });
    mkdirSync(run(), { recursive: true });
    writeFileSync(join(live(), "privkey.pem"), "key\n");
    mkdirSync(join(directory, "etc/nginx/sites-enabled"), { recursive: true });
    writeFileSync(join(directory, "etc/nginx/sites-enabled/mlflow-vps"), "");
    writeFileSync(join(live(), "fullchain.pem"), "chain\n");
    writeFileSync(certificateFile, "old\n");
    program("sleep", "exit 0");
    program("systemctl", `case $* in show*) echo active ;; *) ls ${run()} >${directory}/at-reload ;; esac`);
  });

  test("is a program, says who manages it, and ends without an empty line, which the check could not see", () => {
    const text = renderHook(certificateFile);
    expect(text.split("\n").slice(0, 2)).toEqual(["#!/bin/bash", managed]);
    expect(text).toBe(text.trimEnd());
  });

  test("leaves ours alone after the renewal of another certificate", async () => {
    const other = join(directory, "etc/letsencrypt/live/other");
    cpSync(live(), other, { recursive: true });
    expect(await start(other).ended).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(readFileSync(certificateFile, "utf8")).toBe("old\n");
    expect(readdirSync(run())).toEqual([]);
  });

  test("puts the new certificate in place, and reloads nginx while the flag is there", async () => {
    expect(await start().ended).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(readFileSync(certificateFile, "utf8")).toBe("key\nchain\n");
    expect(statSync(certificateFile).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(directory, "at-reload"), "utf8")).toBe("drain\nreload\n");
    expect(readdirSync(run())).toEqual(["reload"]);
    expect(readdirSync(join(directory, "etc/mlflow-vps"))).toEqual(["server.pem"]);
  });

  test("waits for a step that reloads nginx, and leaves its flag there", async () => {
    // The step holds the lock as reload_nginx does, until the test lets it go.
    const step = spawn("flock", [join(run(), "reload"), "sh", "-c", `echo held; read line; rm ${flag()}`]);
    await new Promise((done) => step.stdout.once("data", done));
    writeFileSync(flag(), "");
    program(
      "flock",
      `: >${directory}/waits\nexec ${execFileSync("which", ["flock"]).toString().trim()} "$@"`,
    );
    const { ended } = start();
    await until(() => existsSync(join(directory, "waits")));
    expect(existsSync(flag())).toBe(true);
    expect(readFileSync(certificateFile, "utf8")).toBe("old\n");
    step.stdin.end("go on\n");
    expect((await ended).code).toBe(0);
    expect(readFileSync(certificateFile, "utf8")).toBe("key\nchain\n");
  });

  test("that gives up waiting leaves the step's flag and the certificate, and says why", async () => {
    writeFileSync(flag(), "");
    program("flock", "exit 1");
    const { code, stderr } = await start().ended;
    expect(code).toBe(1);
    expect(stderr).toContain("run/mlflow-vps/reload within 10 minutes");
    expect(existsSync(flag())).toBe(true);
    expect(readFileSync(certificateFile, "utf8")).toBe("old\n");
  });

  test.each([
    ["whose reload fails", "systemctl", "case $* in show*) echo active ;; *) exit 1 ;; esac"],
    ["that is ended while clients are asked", "sleep", "kill -TERM $PPID"],
  ])("%s takes its flag away", async (_, name, lines) => {
    program(name, lines);
    expect((await start().ended).code).not.toBe(0);
    expect(readFileSync(certificateFile, "utf8")).toBe("key\nchain\n");
    expect(readdirSync(run())).toEqual(["reload"]);
  });

  test("that cannot tell whether nginx runs fails, and does not pass over the reload", async () => {
    program("systemctl", "exit 1");
    expect((await start().ended).code).not.toBe(0);
  });

  test("that was killed leaves no second key behind the next one", async () => {
    program("mv", "kill -KILL 0"); // the hook and all that it has started
    expect((await start().ended).code).not.toBe(0);
    expect(readFileSync(certificateFile, "utf8")).toBe("old\n");
    expect(readdirSync(join(directory, "etc/mlflow-vps"))).toHaveLength(2);
    rmSync(join(directory, "bin/mv"));
    expect((await start().ended).code).toBe(0);
    expect(readdirSync(join(directory, "etc/mlflow-vps"))).toEqual(["server.pem"]);
  });
});
