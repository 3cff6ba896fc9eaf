import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { firewallStep } from "../../components/host/firewall/firewall";
import type { Values } from "../../components/step/script";
import { runFunctions } from "./stepFunctions";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "mlflow-vps-firewall-"));
  for (const name of ["etc/mlflow-vps", "etc/systemd/system", "run"]) {
    mkdirSync(join(directory, name), { recursive: true });
  }
});
afterEach(() => rmSync(directory, { recursive: true }));

const values = (phase: "trial" | "kept"): Values => {
  const { settings, payload } = firewallStep({ phase, ports: [443] });
  return { ...settings, ...payload };
};

/** A host whose sshd listens on 22 and 2022, reached on 2222; each command leaves a line in the trace. */
const host = `
trace() { printf '%s\\n' "$*" >>"${"$"}{trace_file}"; }
trace_file=@/trace
connection() { echo "198.51.100.7 50000 192.0.2.10 2222"; }
parent_of() { if [[ $1 == 20 ]]; then echo 1; else echo 20; fi; }
ss() {
  echo 'LISTEN 0 128 0.0.0.0:22   0.0.0.0:* users:(("sshd",pid=20,fd=3))'
  echo 'LISTEN 0 128 [::]:2022    [::]:*    users:(("sshd",pid=20,fd=4))'
  echo 'LISTEN 0 128 0.0.0.0:9999 0.0.0.0:* users:(("sshd",pid=30,fd=4))'
  echo 'LISTEN 0 128 0.0.0.0:5432 0.0.0.0:* users:(("postgres",pid=40,fd=4))'
}
in_force_file=@/in-force
nft() {
  case $* in
    'list tables') [[ ! -e $in_force_file ]] || echo 'table inet mlflow_vps' ;;
    'list table inet mlflow_vps') cat "$in_force_file" ;;
    '-f -') trace load; cat >"$in_force_file" ;;
    *) trace "nft $*"; : >"$in_force_file" ;;
  esac
}
unshare() { cat; }
sleep() { :; }
chown() { :; }
check_file() { [[ -e $1 ]] || problem "$1 is missing"; }
systemctl() {
  case $* in
    *'ActiveState'*' ssh'*'.socket') echo inactive ;;
    *'ActiveState'*) echo active ;;
    *'UnitFileState'*) echo enabled ;;
    *'NeedDaemonReload'*) echo no ;;
    *) trace "systemctl $*" ;;
  esac
}
systemd-run() { trace arm; }
ip() { [[ $* != *address* ]] || echo '2: eth0    inet 192.0.2.10/24'; }
`;
const run = (phase: "trial" | "kept", lines: string) =>
  runFunctions("firewall", values(phase), `${host.replaceAll("@", directory)}${lines}`, directory);
const read = (name: string) => {
  try {
    return readFileSync(join(directory, name), "utf8");
  } catch {
    return "";
  }
};
const trace = () => read("trace").trim().split("\n");

describe("the ports of SSH", () => {
  test("are those of sshd's main process, of systemd on its behalf, and of this connection", async () => {
    expect(await run("trial", "ports_of_ssh")).toEqual({ code: 0, stdout: "22, 2022, 2222\n", stderr: "" });
    const socket =
      "unit_property() { case $1 in ssh.socket) if [[ $2 == Listen ]]; then echo '[::]:222 (Stream)'; else echo active; fi ;; esac; }\n";
    expect((await run("trial", `${socket}ports_of_ssh`)).stdout).toBe("22, 222, 2022, 2222\n");
  });

  test.each([
    ["ss", "ss() { return 1; }"],
    [
      "ss, after half of its answer",
      "ss() { echo 'LISTEN 0 1 0.0.0.0:22 * users:((\"sshd\",pid=20,fd=3))'; return 1; }",
    ],
    ["the connection", "connection() { return 1; }"],
    ["a process that ended", "parent_of() { return 1; }"],
    ["systemd", "systemctl() { return 1; }"],
    ["sort", "sort() { return 1; }"],
    ["sed", "sed() { return 1; }"],
    ["paste", "paste() { return 1; }"],
  ])("that cannot be told for %s leave the rules as they are, and the check not silent", async (_, stub) => {
    for (const [phase, action] of [
      ["trial", "apply_trial"],
      ["trial", "check"],
      ["kept", "apply_kept"],
      ["kept", "check"],
    ] as const) {
      writeFileSync(join(directory, "in-force"), "before\n");
      writeFileSync(join(directory, "etc/mlflow-vps/firewall.nft"), "kept\n");
      const { code, stderr } = await run(phase, `${stub}\n${action}`);
      expect([action, code]).not.toEqual([action, 0]);
      expect(stderr).toContain("FAILED");
      expect(read("in-force")).toBe("before\n");
      expect(read("etc/mlflow-vps/firewall.nft")).toBe("kept\n");
      expect(read("trace")).not.toContain("load");
    }
  });

  test("that are none end the run", async () => {
    const { code, stderr } = await run(
      "trial",
      "ss() { :; }\nconnection() { :; }\nsystemctl() { echo inactive; }\napply_trial",
    );
    expect(code).toBe(1);
    expect(stderr).toContain("no port found on which this host accepts SSH");
    expect(read("in-force")).toBe("");
  });

  test("are asked of every process up to the one that sshd told", async () => {
    const { stdout } = await runFunctions(
      "firewall",
      values("trial"),
      `parent_of() { echo "$(($1 == $$ ? 7 : 1))"; }
mkdir -p "/proc/$$" /proc/7; : >"/proc/$$/environ"; printf 'A=1\\0SSH_CONNECTION=a 1 b 22\\0' >/proc/7/environ
connection`,
      directory,
    );
    expect(stdout).toBe("a 1 b 22\n");
  });
});

describe("rules", () => {
  const wanted = () => read("in-force");

  test("are put in force on trial only when their rollback is armed", async () => {
    expect((await run("trial", "apply_trial")).code).toBe(0);
    expect(trace().map((line) => line.trim().split(" ", 2).join(" "))).toEqual([
      "systemctl stop",
      "systemctl stop",
      "arm",
      "nft add",
      "add rule",
      "load",
    ]);
    expect(wanted()).toContain("tcp dport { 22, 2022, 2222 } accept");
    expect(wanted()).not.toContain("SSH_PORTS");
  });

  test("are not put in force when it is not", async () => {
    const { code } = await run("trial", "systemd-run() { return 1; }\napply_trial");
    expect(code).not.toBe(0);
    expect(wanted()).toBe("");
  });

  test.each([
    ["ip", "ip() { return 1; }"],
    [
      "ip link",
      "ip() { if [[ $* == *address* ]]; then echo '2: tun0 inet 192.0.2.10/24'; else return 1; fi; }",
    ],
  ])("are not put in force when %s cannot say whether SSH comes through a tunnel", async (_, stub) => {
    expect((await run("trial", `${stub}\napply_trial`)).code).not.toBe(0);
    expect(wanted()).toBe("");
  });

  test.each(["wireguard", "tun type tun"])(
    "that would close the port of a tunnel (%s) are refused",
    async (kind) => {
      const stub = `ip() { if [[ $* == *address* ]]; then echo '2: vpn0 inet 192.0.2.10/24'; else echo '2: vpn0 ${kind} x'; fi; }`;
      const { code, stderr } = await run("trial", `${stub}\napply_trial`);
      expect(code).toBe(1);
      expect(stderr).toContain("SSH comes through vpn0");
      expect(wanted()).toBe("");
    },
  );

  test("are kept whole once they are in force, and what is kept is what was confirmed", async () => {
    await run("trial", "apply_trial");
    expect((await run("kept", "apply_kept")).code).toBe(0);
    expect(read("etc/mlflow-vps/firewall.nft")).toBe(wanted());
    expect(trace().slice(-3)).toEqual([
      "systemctl daemon-reload",
      "systemctl enable mlflow-firewall.service",
      "systemctl start mlflow-firewall.service",
    ]);
  });

  test.each([
    ["nft", "nft() { return 1; }"],
    ["nft, which lists no table", "nft() { [[ $* == 'list tables' ]] && echo 'table inet mlflow_vps'; }"],
    ["unshare", "unshare() { return 1; }"],
    [
      "the timer, which does not stop",
      "systemctl() { case $* in stop*) return 1 ;; *ActiveState*) echo active ;; esac; }",
    ],
  ])("are not kept when %s fails", async (_, stub) => {
    await run("trial", "apply_trial");
    expect((await run("kept", `${stub}\napply_kept`)).code).not.toBe(0);
    expect(read("etc/mlflow-vps/firewall.nft")).toBe("");
  });

  test("that differ are named, and a comparison that fails is no agreement", async () => {
    await run("trial", "apply_trial");
    expect(await run("trial", "check")).toEqual({ code: 0, stdout: "", stderr: "" });
    const rules = wanted();
    writeFileSync(join(directory, "in-force"), rules.replace("tcp dport { 443 }", "tcp dport { 444 }"));
    expect((await run("trial", "check")).stdout).toBe(
      "the firewall lacks: tcp dport { 443 } accept\nthe firewall has, but should not: tcp dport { 444 } accept\n",
    );
    for (const stub of ["diff() { return 2; }", "diff() { return 0; }", "diff() { return 127; }"]) {
      expect((await run("trial", `${stub}\ncheck`)).code).not.toBe(0);
    }
    rmSync(join(directory, "in-force"));
    expect((await run("trial", "check")).stdout).toContain("the firewall is off");
    expect((await run("trial", "nft() { return 1; }\ncheck")).code).not.toBe(0);
  });
});

describe("the rollback", () => {
  const command = async (kept: boolean, nft: string) => {
    if (kept) {
      writeFileSync(join(directory, "etc/mlflow-vps/firewall.nft"), "kept\n");
    }
    const program = join(directory, "nft");
    writeFileSync(program, `#!/bin/sh\necho "nft $*"\n${nft}\n`, { mode: 0o755 });
    // systemd-run's last arguments are what the timer runs.
    const stub = `systemd-run() { local text="\${!#}"; trace "$*"; sh -c "\${text//\\/usr\\/sbin\\/nft/${program.replaceAll("/", "\\/")}}" >@/ran 2>&1; }\n`;
    const { code } = await run(
      "trial",
      `${stub.replaceAll("@", directory)}rules_file=@\narm`.replace("rules_file=@\n", ""),
    );
    return { code, ran: read("ran").trim().split("\n").slice(1) };
  };
  const opening = "nft table inet mlflow_vps; delete table inet mlflow_vps";

  test("puts back what was kept", async () => {
    const { code, ran } = await command(true, "exit 0");
    expect(code).toBe(0);
    expect(ran).toEqual([expect.stringMatching(/^nft -f .*firewall.nft$/)]);
  });

  test("opens everything where nothing was kept, or what was cannot be loaded", async () => {
    expect((await command(false, "exit 0")).ran).toEqual([opening]);
    expect((await command(true, '[ "$1" != -f ]')).ran).toEqual([expect.stringMatching(/^nft -f/), opening]);
  });

  test("fails where it could do neither, and is then tried again", async () => {
    expect((await command(false, "exit 1")).code).not.toBe(0);
    expect(read("trace")).toContain("--property Restart=on-failure");
  });

  test("that cannot be called off is not said to be", async () => {
    expect((await run("trial", "systemctl() { return 5; }\ndisarm")).code).toBe(0); // there is none
    const { code, stderr } = await run("trial", "systemctl() { echo timed out >&2; return 1; }\ndisarm");
    expect(code).toBe(1);
    expect(stderr).toContain("cannot stop mlflow-firewall-rollback.timer: timed out");
  });
});
