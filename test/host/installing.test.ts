import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Deployment, Guest, hostTool, until } from "./harness";
import { type Interruption, interruptedIn, Whole } from "./interruptions";

/**
 * What goes wrong while packages and a release are installed, and a bare host in the place of the one that was there. Each
 * test ends with a working server, the data of before and a clean check; docs/faults.md tells what is promised.
 */
const guest = new Guest("test-installing");
const deployment = new Deployment(guest, { users: ["ada"], firewall: true });
const whole = new Whole(deployment);

const steps: Interruption[] = [
  ["packages-python", "dpkg --purge --force-depends python3-venv", "/usr/bin/dpkg-deb"],
  ["packages-servers", "dpkg --purge logrotate", "/usr/bin/dpkg-deb"],
  // Installed and imported, but not in its place.
  [
    "runtime",
    "rm /opt/mlflow/releases/*/.contents",
    "/usr/bin/sort",
    "[[ -e $(echo /opt/mlflow/releases/*.new/schema) ]]",
  ],
];

beforeAll(async () => {
  await guest.down();
  await guest.up();
  await deployment.up();
  await whole.logData();
});
afterAll(() => guest.down());
afterEach(() => whole.expect());

describe("the applying process", () => {
  interruptedIn(deployment, steps);
});

describe("the disk", () => {
  it("is full while a release is installed: said, and goes on when there is room", async () => {
    await guest.run(
      "mv /opt/mlflow/releases /opt/mlflow/away; mkdir /opt/mlflow/releases; mount -t tmpfs -o size=100m tmpfs /opt/mlflow/releases",
    );
    expect(await deployment.upFails()).toMatch(
      /runtime: FAILED: installing MLflow[\s\S]*No space left on device/,
    );
    await guest.run(
      "umount /opt/mlflow/releases; rmdir /opt/mlflow/releases; mv /opt/mlflow/away /opt/mlflow/releases",
    );
    await deployment.up();
  });
});

describe("the packages", () => {
  it("are locked by another apt: it is waited for", async () => {
    await guest.run(
      "dpkg --purge logrotate; rm -f /run/locked /run/unlock /var/log/mlflow-vps/packages-servers.log",
    );
    await guest.start(
      `exec python3 -c 'import fcntl, os, time
lock = open("/var/lib/dpkg/lock-frontend", "w"); fcntl.lockf(lock, fcntl.LOCK_EX); open("/run/locked", "w")
while not os.path.exists("/run/unlock"): time.sleep(0.1)'`,
    );
    await until(async () => (await guest.run("ls /run/locked")) !== "", "the lock");
    const up = deployment.up();
    try {
      await until(
        async () =>
          (await guest.run("grep 'Could not get lock' /var/log/mlflow-vps/packages-servers.log")) !== "",
        "apt refused by the lock",
      );
    } finally {
      await guest.run("touch /run/unlock");
    }
    expect(await up).toMatch(
      /packages-servers: waiting for apt: process \d+ \(python3\) holds \/var\/lib\/dpkg\/lock-frontend/,
    );
  });

  it("are out of date in the index: it is fetched anew", async () => {
    await guest.run(`dpkg --purge logrotate; rm -f /var/lib/apt/lists/*InRelease /var/cache/apt/archives/*.deb /var/cache/apt/*.bin
      sed -i '/^Package: logrotate$/,/^$/ s/_[^_]*_amd64.deb/_0-gone_amd64.deb/' /var/lib/apt/lists/*_Packages`);
    expect(await deployment.up()).toContain("packages-servers: retrying with fresh package lists");
  });

  /** Has a mirror with a fault in front of the packages while something is done. */
  async function behind(fault: string, settings: string, work: () => Promise<unknown>): Promise<void> {
    writeFileSync(join(guest.directory, "root/root/mirror.py"), readFileSync(join(__dirname, "mirror.py")));
    await guest.run(`rm -f /run/refused; cp -a /opt/mlflow/releases/*/requirements.txt /root/lock
      [[ ! -e /etc/uv ]] || cp -a /etc/uv /root/uv; mkdir -p /etc/uv; ${settings}`);
    await guest.start(`exec python3 /root/mirror.py 8998 ${fault} /root/lock`);
    await until(async () => (await guest.run("ss -Hltn sport = :8998")) !== "", "the mirror");
    try {
      await work();
    } finally {
      await guest.run(`pkill --full "[m]irror.py"; rm -rf /etc/uv /etc/apt/apt.conf.d/99test
        [[ ! -e /root/uv ]] || mv /root/uv /etc/uv`);
    }
  }
  const refusedOnce = () => guest.run("ls /run/refused");

  it("come from a mirror that fails once: asked again", async () => {
    await guest.run("dpkg --purge logrotate; rm -f /var/cache/apt/archives/*.deb");
    const settings = `echo 'Acquire::http::Proxy "http://127.0.0.1:8998";' >/etc/apt/apt.conf.d/99test`;
    await behind("fails-once", settings, async () => {
      await deployment.up();
      await refusedOnce();
    });
  });

  it("come from a PyPI that fails once: asked again", async () => {
    await guest.run("rm /opt/mlflow/releases/*/.contents");
    await behind("fails-once", `echo 'https-proxy = "http://127.0.0.1:8998"' >>/etc/uv/uv.toml`, async () => {
      await deployment.up();
      await refusedOnce();
    });
  });

  it.each([
    ["truncated", /Failed to extract archive/],
    ["other", /Hash mismatch/],
  ])(
    "come %s from PyPI's mirror: refused before anything of them runs, and the next up goes on",
    async (fault, cause) => {
      await guest.run("rm -f /opt/mlflow/releases/*/.contents");
      await behind(fault, `echo 'index-url = "http://127.0.0.1:8998/simple"' >/etc/uv/uv.toml`, async () => {
        const message = await deployment.upFails();
        expect(message).toMatch(/runtime: FAILED: installing MLflow/);
        expect(message).toMatch(cause);
      });
      await deployment.up();
    },
  );
});

describe("a bare host in its place, with another host key", () => {
  it("is refused with the remedy, and set up again once its key is accepted", async () => {
    const key = hostTool("cat", [`${guest.directory}/host_key.pub`]).trim();
    deployment.config = { ...deployment.config, "host.hostKeyFile": undefined, "host.hostKey": key };
    await deployment.up();
    await guest.rebuild("--new-host-key");
    const refusal = await deployment.drift().catch((error: Error) => error.message);
    expect(refusal).toMatch(/host key does not match the pinned key[\s\S]*mlflow-vps configure/);
    deployment.config = {
      ...deployment.config,
      "host.hostKeyFile": `${guest.directory}/host_key.pub`,
      "host.hostKey": undefined,
    };
    await deployment.up();
    // The data of before went with the disk.
    await whole.logData();
  });
});
