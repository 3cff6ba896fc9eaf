import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { explainSudo } from "../../components/step/login";
import { quote } from "../../components/step/script";
import { renderUnit } from "../../components/tracking/service/render";
import type { Ended } from "./bash";
import { bash, directory, render, runStep } from "./hostScript";
import { runFunctions } from "./stepFunctions";
import { bodyOf } from "./stepScripts";

/** The step on a host that is fit but for what a test says; it finds itself without privileges, and a sudo is there. */
const stubs = `
  check_system() { :; }
  check_sudo() { :; }
  unmanaged_servers() { :; }
  unit_refusal() { :; }
  as_root() { printf 'Avail\\n9999999\\n'; }`;
const freePorts = "find_holders() { :; }";
const values = () => ({
  privileged: false,
  systems: ["debian-12"],
  memoryNeeded: 1,
  roomNeeded: 2500,
  roomRunning: 500,
  release: join(directory, "release"),
  artifacts: join(directory, "artifacts"),
  proxyPort: 443,
  httpPort: 80,
  servicePort: 5000,
  databasePort: 5432,
});
const preflight = (lines = freePorts): Promise<Ended> =>
  runStep("preflight", "check", values(), `${stubs}\n${lines}`);
const fit = { code: 0, stdout: "", stderr: "" };

test("a host that is fit has no lines", async () => {
  expect(await preflight()).toEqual(fit);
});

describe("a port", () => {
  const onPort = (unit: string) => `find_holders() { holders[5000]=${unit}; }`;

  test("that another program has is named with it", async () => {
    expect((await preflight(onPort("grafana.service"))).stdout).toBe(
      "port 5000 is taken by grafana.service; stop that or set service.port to a free port\n",
    );
  });

  test("of ours is free", async () => {
    expect(await preflight(onPort("mlflow@5000.service"))).toEqual(fit);
  });

  test("of a server that is adopted is free, however many others there are", async () => {
    const servers = (first: string) =>
      `${onPort("tracking.service")}\nunmanaged_servers() { echo ${first}; seq -f 'other%g.service' 20000; }`;
    expect(await preflight(servers("tracking.service"))).toEqual(fit);
    expect((await preflight(servers("tracking"))).stdout).toContain("port 5000 is taken");
  });

  test("is not free because other servers cannot be asked for", async () => {
    const { code, stdout } = await preflight(
      `${onPort("tracking.service")}\nunmanaged_servers() { echo tracking.service; return 1; }`,
    );
    expect(code).not.toBe(0);
    expect(stdout).toBe("");
  });

  test.each([
    ["nginx\n0::/system.slice/nginx.service\n", "nginx.service"],
    ["python3\n0::/user.slice/user-0.slice/session-1.scope\n", "python3"],
    ["x\n1:name=systemd:/system.slice/a.service\n0::/system.slice/a.service\n", "a.service"],
    ["python3\n", "python3"],
    ["", "an unknown program"],
  ])("of a process that root sees as %j is taken by %s", async (found, holder) => {
    const { stdout } = await preflight(`
      check_room() { :; }
      listeners() { printf '%s\\n' '1388 77' '0016 78'; }
      as_root() { printf ${quote(`socket 77\\n${found.replaceAll("\n", "\\n")}`)}; }`);
    expect(stdout).toBe(`port 5000 is taken by ${holder}; stop that or set service.port to a free port\n`);
  });

  test("is taken by what listens there, as this machine says it", async () => {
    const server = createServer().listen(0);
    const { port } = server.address() as AddressInfo;
    const { stdout } = await runStep(
      "preflight",
      "check",
      { ...values(), proxyPort: 1, httpPort: port, servicePort: 2, databasePort: 4 },
      `${stubs}\ncheck_room() { :; }\nas_root() { "$@"; }`,
    );
    server.close();
    expect(stdout).toMatch(
      new RegExp(`^port ${port} is taken by .+; stop that or set proxy.httpPort to a free port\n$`),
    );
    expect(stdout).not.toContain("unknown");
  });

  test.each(["listeners", "as_root"])("is not free because %s fails", async (question) => {
    const { code, stdout } = await preflight(`
      check_room() { :; }
      listeners() { echo '1388 77'; }
      ${question}() { return 1; }`);
    expect(code).not.toBe(0);
    expect(stdout).toBe("");
  });
});

describe("the processor", () => {
  const processor = (text: string) => {
    mkdirSync(join(directory, "proc"));
    writeFileSync(join(directory, "proc/cpuinfo"), text);
    return runFunctions("preflight", values(), "check_processor", directory);
  };
  const flags = "fpu pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm";

  test.each([
    ["has all that is needed", `processor\t: 0\nflags\t\t: ${flags}\nbugs\t: x\n`],
    ["is none of x86", "processor\t: 0\nFeatures\t: fp asimd\n"],
  ])("that %s is fit", async (_, text) => {
    expect(await processor(text)).toEqual(fit);
  });

  test("that lacks something is named with the remedy", async () => {
    const { stdout } = await processor("processor\t: 0\nflags\t\t: fpu pni cx16 lahf_lm\n\nprocessor\t: 1\n");
    expect(stdout).toMatch(
      /^the processor lacks popcnt sse4_1 sse4_2 ssse3 \(x86-64-v2\), .* CPU type 'host'/,
    );
  });
});

describe("the sandbox of the service", () => {
  /** systemd refuses a unit with such properties, or every one. */
  const refused = (which: string) =>
    `${freePorts}\nunit_refusal() { if [[ ${which} ]]; then echo 'said by systemd'; fi; }`;

  test("that systemd cannot set up is named with what it says", async () => {
    expect((await preflight(refused("$# -gt 0"))).stdout).toMatch(
      /^services get no mount namespaces here, .*\(systemd says: said by systemd\); use /,
    );
  });

  test("is not blamed where no service can be tried", async () => {
    expect(await preflight(refused("1"))).toEqual(fit);
  });

  test("is not tried again once the server has been set up", async () => {
    mkdirSync(join(directory, "release"));
    expect(await preflight(refused("$# -gt 0"))).toEqual(fit);
  });

  const unnamed = "Failed to connect to bus";
  test.each([
    ["runs", "exit 0", ""],
    ["is refused", "echo 'Running as unit: run-u7.service' >&2; exit 1", "run-u7.service: no namespacing\n"],
    ["is refused without a unit", `echo '${unnamed}' >&2; exit 1`, `${unnamed}\n`],
    ["ends without a word", "exit 1", "nothing\n"],
  ])("is tried with a unit that %s", async (_, systemdRun, refusal) => {
    const bin = join(directory, "bin");
    mkdirSync(bin);
    for (const [name, text] of [
      ["systemd-run", `printf '%s ' "$@" >"${directory}/called"; ${systemdRun}`],
      ["journalctl", `echo Starting; echo "$2: no namespacing"; echo 'at step NAMESPACE'`],
    ]) {
      writeFileSync(join(bin, name ?? ""), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    }
    const { stdout } = await runStep(
      "preflight",
      "check",
      values(),
      `check() { as_root() { PATH=${bin}:$PATH "$@"; }; unit_refusal A=b C=d; }`,
    );
    expect(stdout).toBe(refusal);
    expect(readFileSync(join(directory, "called"), "utf8")).toContain(
      " --property=A=b --property=C=d sh -c [ ! -w /usr ] ",
    );
  });

  test("is tried with lines of the service's unit", () => {
    const [, tried = ""] = /^readonly sandbox=\(([^)]*)\)/m.exec(bodyOf("preflight")) ?? [];
    const unit = renderUnit("mlflow", "/srv").split("\n");
    expect(unit).toEqual(expect.arrayContaining(tried.split(/\s+/)));
  });
});

describe("room", () => {
  test("is measured as root, and a lack of it is named", async () => {
    const { stdout } = await preflight(`${freePorts}\nas_root() { printf 'Avail\\n%s\\n' $((400 * 1024)); }`);
    expect(stdout).toBe(
      "/opt has 400 MB free, the server needs 2500 MB; make room or use a larger disk\n" +
        `${join(directory, "artifacts")} has 400 MB free, the server needs 500 MB; make room or use a larger disk\n`,
    );
  });

  test.each([
    ["sudo", "as_root() { echo 'sudo: a password is required' >&2; return 1; }"],
    ["df", "as_root() { echo 'df: no such device' >&2; return 1; }"],
  ])("is not there because %s fails", async (_, lines) => {
    const { code, stdout, stderr } = await preflight(`${freePorts}\n${lines}`);
    expect(code).not.toBe(0);
    expect(stdout).toBe("");
    expect(stderr).toContain(": ");
  });
});

test.each([
  [
    "a password is required",
    "echo 'sudo: a password is required' >&2; return 1",
    `${explainSudo("deploy", true)} (sudo says: sudo: a password is required)`,
  ],
  ["it is not there", "return 127", explainSudo("deploy", false)],
])(
  "a login that may not use sudo, for %s, is told how, and looks at nothing as root",
  async (_, sudo, line) => {
    const { code, stdout } = await bash(
      render(
        values(),
        `${bodyOf("preflight")}\ncheck_system() { :; }\nid() { echo deploy; }\nsudo() { ${sudo}; }`,
      ).replaceAll("EUID", "LOGIN"),
      ["check"],
      { LOGIN: "1000" },
    );
    expect(code).toBe(0);
    expect(stdout.trimEnd()).toBe(line);
  },
);

test("a host of another stack is named with it, before anything is changed", async () => {
  mkdirSync(join(directory, "state"));
  writeFileSync(join(directory, "state/owner"), "mlflow-vps/production\n");
  const { code, stdout } = await preflight();
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /^this host belongs to the stack mlflow-vps\/production, and this is mlflow-vps\/test; /,
  );
});
