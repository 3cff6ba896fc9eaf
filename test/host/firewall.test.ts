import { existsSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FirewallRules, firewallStep } from "../../components/host/firewall/firewall";
import { sshPorts } from "../../components/host/firewall/render";
import { readScripts, renderScript } from "../../components/step/script";
import { execute, type Finished } from "../../components/step/ssh";
import { Deployment, Guest, hostTool, searchExperiments, until } from "./harness";

/**
 * The firewall of one server, in order: each test begins with what the one before it left. Ports are looked at from
 * outside. Another program listens on 8088; SSH is reached on 2222, by a daemon that does not look like sshd.
 */
const guest = new Guest("test-firewall");
const deployment = new Deployment(guest, { users: ["ada"], "host.port": 2222, "proxy.httpPort": 0 });
const uri = () => deployment.outputs.trackingUri;
const serves = async () => (await searchExperiments(uri(), "ada", deployment.outputs.users.ada)).status;

/** What a client meets on a TCP port: `open`, `refused` or, where packets are dropped, `silent`. */
function meets(port: number, host = guest.address): Promise<string> {
  return new Promise((done) => {
    const socket = connect({ host, port, timeout: 1500 });
    const end = (answer: string) => {
      socket.destroy();
      done(answer);
    };
    socket.on("connect", () => end("open"));
    socket.on("timeout", () => end("silent"));
    socket.on("error", (error: NodeJS.ErrnoException) =>
      end(error.code === "ECONNREFUSED" ? "refused" : `${error.code}`),
    );
  });
}
const meetsAll = async (...ports: number[]) =>
  Object.fromEntries(await Promise.all(ports.map(async (port) => [port, await meets(port)])));

/** Runs one phase by itself, with other rules or another time until they are rolled back. */
async function run(
  action: "apply" | "check",
  rules: FirewallRules,
  payload: Record<string, string> = {},
  host = guest.address,
): Promise<Finished> {
  const step = firewallStep(rules);
  const script = renderScript(
    step.step,
    { stack: "mlflow-vps/sandbox", ...step.settings, ...step.payload, ...payload },
    step.uses,
    readScripts(step),
  );
  const read = (name: string) => readFileSync(join(guest.directory, name), "utf8");
  const connection = {
    host,
    port: 2222,
    user: "deploy",
    privateKey: read("id_ed25519"),
    hostKey: read("host_key.pub").split(" ").slice(0, 2).join(" "),
  };
  return execute(connection, `sudo -n bash -s ${action}`, script, 60);
}

/** Rules as from a mistake: they open no port of SSH. */
const lockOut = {
  rules: firewallStep({ phase: "trial", ports: [443] }).payload.rules.replace(sshPorts, "1"),
};

/** Not every machine has ping. */
const ping = `
import socket, struct, sys
ping = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
ping.settimeout(2)
ping.sendto(struct.pack("!BBHHH", 8, 0, 0xf7ff - 7, 7, 0), (sys.argv[1], 0))
while ping.recv(99)[20:] != struct.pack("!BBHHH", 0, 0, 0xffff - 7, 7, 0): pass
print("echo")`;

const rulesInForce = () => guest.run("nft -a list ruleset"); // with handles, which are new when rules are loaded anew
const rollback = () => guest.run("systemctl is-active mlflow-firewall-rollback.timer || true");

/** A client that has sent to the other program on 8089 since before the firewall. */
let sender: Socket;
const received = async () => Number(await guest.run("stat -c %s /run/received"));
const stillReceives = async () => {
  const before = await received();
  await until(async () => (await received()) > before, "more from the client that was there before", 5);
};

beforeAll(async () => {
  await guest.down();
  await guest.up("--from", "packaged"); // it is reached on another port than a served one, from the first apply
  const unit = (start: string) =>
    `[Service]\\nExecStart=${start}\\n[Install]\\nWantedBy=multi-user.target\\n`;
  await guest.run(`
    cp /usr/sbin/sshd /usr/local/sbin/shelld
    printf '${unit("/usr/local/sbin/shelld -D -p 2222 -o PidFile=none")}' >/etc/systemd/system/shelld.service
    printf '${unit("/usr/bin/python3 -m http.server 8088")}' >/etc/systemd/system/other.service
    systemctl enable --now shelld other 2>/dev/null`);
  await guest.start(
    `exec python3 -c "
import socket
connection, _ = socket.create_server(('', 8089)).accept()
with open('/run/received', 'wb', 0) as file:
    while data := connection.recv(100): file.write(data)"`,
  );
  await until(async () => (await meets(8088)) === "open" && (await meets(2222)) === "open", "the programs");
  await deployment.up();
});
afterAll(async () => {
  sender?.destroy();
  await guest.down();
});

describe("turning the firewall on", () => {
  it("closes what is not SSH or the server, and nothing that is under way", async () => {
    expect(await meetsAll(22, 443, 2222, 8088, 9)).toEqual({
      22: "open",
      443: "open",
      2222: "open",
      8088: "open",
      9: "refused",
    });
    await until(
      async () => {
        sender?.destroy();
        sender = connect(8089, guest.address);
        return new Promise((done) => {
          sender.on("connect", () => done(true)).on("error", () => done(false));
        });
      },
      "a client of 8089",
      10,
    );
    setInterval(() => sender.write("x"), 200).unref();
    deployment.config = { ...deployment.config, firewall: true };
    expect(await deployment.up()).toContain("firewall-kept: done");
    expect(await meetsAll(22, 443, 2222, 8088, 9)).toEqual({
      22: "open",
      443: "open",
      2222: "open",
      8088: "silent",
      9: "silent",
    });
    expect(await serves()).toBe(200);
    await stillReceives();
    expect(hostTool("python3", ["-c", ping, guest.address])).toContain("echo");
    expect(await rollback()).toBe("inactive");
    expect(await deployment.drift()).toEqual([]);
  });

  it("is done: the next apply and the check load nothing", async () => {
    const before = await rulesInForce();
    expect(await deployment.up()).toBe("");
    expect(await deployment.drift()).toEqual([]);
    expect(await rulesInForce()).toBe(before);
  });
});

describe("drift", () => {
  const theRule = (rule: string) =>
    `$(nft -a list table inet mlflow_vps | sed -n 's/.*${rule} # handle //p')`;
  const file = "/etc/mlflow-vps/firewall.nft";
  it.each<[string, string, string[]]>([
    [
      "a rule that was added, and the start at boot",
      "nft add rule inet mlflow_vps input tcp dport 8088 accept; systemctl -q disable mlflow-firewall",
      [
        "the firewall has, but should not: tcp dport 8088 accept",
        "mlflow-firewall.service does not start at boot",
      ],
    ],
    [
      "a rule that was deleted, and the file",
      `nft delete rule inet mlflow_vps input handle ${theRule("tcp dport 443 accept")}; sed -i s/drop/accept/ ${file}`,
      ["the firewall lacks: tcp dport 443 accept", `${file} was changed`],
    ],
    [
      "the table, the file, the unit",
      `systemctl stop mlflow-firewall; rm ${file}; sed -i s/inet/ip/ /etc/systemd/system/mlflow-firewall.service`,
      [
        "the firewall is off: there is no nft table inet mlflow_vps",
        `${file} is missing`,
        "/etc/systemd/system/mlflow-firewall.service was changed",
        "systemd has not loaded the current mlflow-firewall.service",
        "mlflow-firewall.service is not active",
      ],
    ],
  ])("of %s is named and healed", async (_, damage, lines) => {
    await guest.run(damage);
    expect(await deployment.drift()).toEqual(lines);
    await deployment.up();
    expect(await meetsAll(443, 8088)).toEqual({ 443: "open", 8088: "silent" });
    expect(await rollback()).toBe("inactive");
    await stillReceives();
  });

  it("does not come about by nftables.service, which flushes every table when it is restarted or reloaded", async () => {
    const nftables = async (action: string) => {
      await guest.run(`systemctl ${action} nftables`);
      await until(
        async () => (await guest.run("nft list tables")).includes("inet mlflow_vps"),
        "our table",
        5,
      );
    };
    await guest.run("systemctl start nftables; systemctl restart mlflow-firewall");
    await nftables("restart");
    await nftables("reload");
    expect(await deployment.drift()).toEqual([]);
    await guest.run("systemctl stop nftables; systemctl start mlflow-firewall");
  });
});

describe("another port", () => {
  it("of sshd is named as long as it is closed, and opened", async () => {
    await guest.run(
      "printf 'Port 22\\nPort 2022\\n' >/etc/ssh/sshd_config.d/20-ports.conf; systemctl restart ssh",
    );
    expect(await deployment.drift()).toEqual([
      "the firewall lacks: tcp dport { 22, 2022, 2222 } accept",
      "the firewall has, but should not: tcp dport { 22, 2222 } accept",
      "/etc/mlflow-vps/firewall.nft was changed",
    ]);
    expect(await meets(2022)).toBe("silent");
    await deployment.up();
    expect(await meetsAll(22, 2022, 2222)).toEqual({ 22: "open", 2022: "open", 2222: "open" });
  });

  it("of the server is opened and the former closed, and nothing that is under way", async () => {
    deployment.config = { ...deployment.config, "proxy.port": 8443 };
    await deployment.up();
    expect(await meetsAll(443, 8443)).toEqual({ 443: "silent", 8443: "open" });
    expect(await serves()).toBe(200);
    await stillReceives();
    expect(await deployment.drift()).toEqual([]);
  });
});

describe("rules that cut SSH off", () => {
  it("undo themselves: SSH is back, and what was kept before is in force", async () => {
    const before = (await rulesInForce()).replace(/ # handle \d+/g, "");
    const trial = await run("apply", { phase: "trial", ports: [443], rollbackSeconds: 12 }, lockOut);
    expect(trial.stdout).toContain("they are rolled back in 12 s unless the next connection confirms them");
    expect(await meetsAll(22, 443, 2222, 8443)).toEqual({
      22: "silent",
      443: "refused", // let through, and nobody is there
      2222: "silent",
      8443: "silent",
    });
    await until(async () => (await meets(2222)) === "open", "SSH", 30);
    expect((await rulesInForce()).replace(/ # handle \d+/g, "")).toBe(before);
    expect(await meetsAll(8443, 8088)).toEqual({ 8443: "open", 8088: "silent" });
    const kept = await run("apply", { phase: "kept", ports: [443], rollbackSeconds: 12 }, lockOut);
    expect(kept.code).toBe(1);
    expect(kept.stderr).toMatch(
      /no new SSH connection came within 12 s, so they were rolled back .* 'pulumi up --refresh'/,
    );
    expect(await guest.run("journalctl -u mlflow-firewall-rollback -o cat")).toContain(
      "no new SSH connection has confirmed the firewall",
    );
    expect(await deployment.drift()).toEqual([]);
  });

  it.skipIf(!existsSync("/dev/net/tun"))(
    "in the long run, as those do of a VPN's end, are refused",
    async () => {
      const inside = guest.address.replace(/^10\.77/, "10.99");
      await guest.run(`ip tuntap add tun0 mode tun; ip address add ${inside} dev tun0; ip link set tun0 up`);
      hostTool("ip", ["route", "add", inside, "via", guest.address]);
      const before = await rulesInForce();
      const trial = await run("apply", { phase: "trial", ports: [443] }, {}, inside);
      expect(trial.code).toBe(1);
      expect(trial.stderr).toContain("SSH comes through tun0, a tunnel that ends on this host");
      expect(await rulesInForce()).toBe(before);
    },
  );
});

describe("a host that boots", () => {
  it("has the rules before a client reaches anything else", async () => {
    const met = new Set<string>();
    let booting = true;
    const looking = (async () => {
      while (booting) {
        met.add(await meets(8088));
      }
    })();
    await guest.reboot();
    await until(async () => (await guest.run("ss -Hltn 'sport = :8088'")) !== "", "the other program");
    booting = false;
    await looking;
    expect(met).not.toContain("open");
    expect(await meetsAll(22, 2222, 8443, 8088)).toEqual({
      22: "open",
      2222: "open",
      8443: "open",
      8088: "silent",
    });
    await until(async () => (await deployment.drift()).length === 0, "no drift");
  });
});

describe("removing", () => {
  it("opens everything again, leaves nothing behind and says so", async () => {
    expect(await deployment.destroy()).toContain("firewall-trial: mlflow-vps no longer closes any port");
    expect(await meets(8088)).toBe("open");
    expect(await rulesInForce()).toBe("");
    expect(
      await guest.run(
        "ls -d /etc/systemd/system/*/mlflow* /etc/systemd/system/mlflow* /etc/mlflow-vps 2>/dev/null || true",
      ),
    ).toBe("");
    expect(await guest.run("systemctl list-units --all --no-legend 'mlflow*'")).toBe("");
  });

  it("is also what a first trial that cuts SSH off comes back to", async () => {
    await run("apply", { phase: "trial", ports: [443], rollbackSeconds: 12 }, lockOut);
    expect(await meets(2222)).toBe("silent");
    await until(async () => (await meets(2222)) === "open", "SSH", 30);
    expect(await rulesInForce()).toBe("");
  });
});
