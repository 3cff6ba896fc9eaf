import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { client, Deployment, Guest, searchExperiments, until } from "./harness";

/**
 * Security updates on one guest, in order: each test begins with what the one before it left. The guest is made of the
 * packages of Debian's release, so there are real security updates for it.
 */
const guest = new Guest("test-updates");
const deployment = new Deployment(guest, { users: ["ada"], "updates.time": undefined });

/** The hour after the first test. It has just passed, so no run comes while the tests go on. */
let hour = "";
const timer = "apt-daily-upgrade.timer";
const schedule = `/etc/systemd/system/${timer}.d/zz-mlflow-vps.conf`;
const status = async () => {
  const { trackingUri, users } = deployment.outputs;
  return (await searchExperiments(trackingUri, "ada", users.ada)).status;
};
const property = (unit: string, name: string) => `systemctl show --property ${name} --value ${unit}`;
const show = (unit: string, name: string) => guest.run(property(unit, name));
const mainProcess = () => show("'mlflow@*'", "MainPID");
/** The time of the day of the next run. */
const nextRun = () =>
  guest.run(`
    next=$(date -d "$(${property(timer, "NextElapseUSecRealtime")})" +%s)
    ((next > $(date +%s))) || echo "has passed: "
    date -d @$next +%H:%M:%S`);
/** When the last run began; empty before the first one. */
const lastRun = () => show("apt-daily-upgrade.service", "ExecMainStartTimestamp");
/** Packages for which the lists hold a security update. */
const waiting = async () =>
  (await guest.run("apt list --upgradable 2>/dev/null | sed -n 's|/.*-security .*||p'"))
    .split("\n")
    .filter((name) => name !== "");

const finished = () =>
  until(
    async () => (await show("apt-daily-upgrade.service", "ActiveState")) === "inactive",
    "the end of the run",
    120,
  );

beforeAll(async () => {
  await guest.down();
  // Versions of its packages are named below.
  await guest.up("--suite", "bookworm", "--from", "packaged");
});
afterAll(() => guest.down());

describe("security updates", () => {
  it("are installed at the default hour, and not when they are set up", async () => {
    await deployment.up();
    expect(await nextRun()).toBe("04:00:00");
    expect(await lastRun()).toBe("");
    expect(await deployment.drift()).toEqual([]);
  });

  it("move to another hour; one that has passed today is skipped", async () => {
    // An hour since when the timer has been running, which systemd would make up for: the minute that has just begun.
    const started = await guest.run(`date -d "$(${property(timer, "ActiveEnterTimestamp")})" +%s`);
    hour = await guest.run(`
      until (($(date +%s) / 60 > ${started} / 60)); do sleep 0.5; done
      date +%H:%M`);
    deployment.config = { ...deployment.config, "updates.time": hour };
    await deployment.up();
    expect(await nextRun()).toBe(`${hour}:00`);
    expect(await lastRun()).toBe("");
    expect(await deployment.drift()).toEqual([]);
  });

  it("are those that the distribution allows", async () => {
    const output = await guest.run("unattended-upgrade --dry-run --debug 2>&1");
    expect(output).toMatch(/^Allowed origins are: .*codename=bookworm-security,label=Debian-Security/m);
    expect(await guest.run("dpkg --verify unattended-upgrades")).toBe("");
  });

  it("may restart PostgreSQL: the client does not notice, and the service is not restarted", async () => {
    const before = await mainProcess();
    expect(await status()).toBe(200);
    await guest.run("systemctl restart postgresql");
    expect(await status()).toBe(200);
    const logging = client(deployment, [
      "-c",
      `
import mlflow, time
mlflow.set_experiment("while PostgreSQL restarts")
with mlflow.start_run():
    for step in range(60):
        mlflow.log_metric("step", step, step=step)
        time.sleep(0.05)
print(mlflow.search_runs()["metrics.step"][0])`,
    ]);
    await until(
      async () =>
        (await guest.run("runuser -u postgres -- psql -d mlflow -Atc 'table latest_metrics'")) !== "",
      "a first metric",
    );
    await guest.run("for i in 1 2; do systemctl restart postgresql; done");
    expect((await logging).trim()).toMatch(/^59\.0$/m);
    expect(await mainProcess()).toBe(before);
  });

  it("do not restart the service, not even where needrestart restarts others; the drift check says so", async () => {
    await guest.run(`
      DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends needrestart >/dev/null 2>&1
      echo '$nrconf{restart} = "a";' >/etc/needrestart/conf.d/test.conf`); // as on Ubuntu 24.04
    const [before, nginx] = [await mainProcess(), await show("nginx", "MainPID")];
    expect(await waiting()).toContain("libssl3");
    // needrestart executes systemd anew, so nothing can wait for an answer of it.
    await guest.run("systemctl start --no-block apt-daily-upgrade.service");
    await finished();
    expect(await waiting()).toEqual([]);
    expect(await guest.run("cat /var/log/unattended-upgrades/unattended-upgrades.log")).toContain(
      "All upgrades installed",
    );
    expect(await show("nginx", "MainPID")).not.toBe(nginx);
    expect(await mainProcess()).toBe(before);
    expect(await status()).toBe(200);
    expect(await deployment.drift()).toEqual([
      expect.stringMatching(
        /^mlflow@\d+\.service runs with libraries that an update has replaced since \(.*\blibssl\.so\.3\b.*\)$/,
      ),
    ]);
  });

  it("that are under way only delay an apply, and a restart by it takes the new libraries", async () => {
    const before = await mainProcess();
    await guest.run(`
      dpkg --purge logrotate 2>/dev/null
      apt-get install --yes --allow-downgrades tzdata/bookworm >/dev/null 2>&1
      touch /run/slow
      echo 'DPkg::Pre-Invoke { "test ! -e /run/slow || { rm /run/slow; while test ! -e /run/go; do sleep 0.1; done; }"; };' >/etc/apt/apt.conf.d/slow
      systemctl start --no-block apt-daily-upgrade.service`);
    await until(async () => (await guest.run("ls /run/slow || true")) === "", "a run that holds the lock");
    await guest.run("rm -f /var/log/mlflow-vps/packages-servers.log");
    const up = deployment.up();
    await until(
      async () =>
        (await guest.run("grep 'Could not get lock' /var/log/mlflow-vps/packages-servers.log")) !== "",
      "apt refused by the lock",
    ).finally(() => guest.run("touch /run/go"));
    const output = await up;
    expect(output).toMatch(
      /waiting for apt: process \d+ \(unattended-upgr\) holds \/var\/lib\/dpkg\/lock-frontend/,
    );
    await finished();
    expect(await waiting()).toEqual([]);
    expect(await mainProcess()).not.toBe(before);
    expect(await status()).toBe(200);
    expect(await deployment.drift()).toEqual([]);
  });
});

describe("drift", () => {
  /** Replaces a file by itself, as an update does. */
  const replace = (file: string) => `f=$(readlink -f ${file}); cp -a $f $f.new; mv $f.new $f`;
  /** What is damaged, and the lines of the check. */
  const damage = (service: string): [string, string[]][] => [
    [
      `systemctl stop ${timer}; systemctl disable --now apt-daily.timer`,
      [`${timer} is not running`, "apt-daily.timer is not running", "apt-daily.timer is disabled"],
    ],
    [
      `sed -i s/Persistent=false/Persistent=true/ ${schedule}; systemctl daemon-reload`,
      [
        `${schedule} was changed`,
        `${timer} is not scheduled for ${hour} alone ('systemctl cat ${timer}' shows why)`,
      ],
    ],
    ["systemctl mask apt-daily-upgrade.service", ["apt-daily-upgrade.service is masked"]],
    [
      'sed -i \'s/Automatic-Reboot "false"/Automatic-Reboot "true"/\' /etc/apt/apt.conf.d/zz-mlflow-vps',
      ["/etc/apt/apt.conf.d/zz-mlflow-vps was changed"],
    ],
    ["rm -r /etc/needrestart", ["/etc/needrestart/conf.d/mlflow-vps.conf is missing"]],
    [
      `${replace("/usr/bin/python3")}; ${replace("/lib/x86_64-linux-gnu/libssl.so.3")}`,
      [`${service} runs with libraries that an update has replaced since (libssl.so.3, python3.11)`],
    ],
  ];

  it("is named and healed, and upgrades nothing before the hour", async () => {
    const before = await lastRun();
    const damaged = damage(await guest.service());
    for (const [command] of damaged) {
      await guest.run(`${command} 2>/dev/null`);
    }
    expect((await deployment.drift()).sort()).toEqual(damaged.flatMap(([, lines]) => lines).sort());
    await deployment.up();
    expect(await deployment.drift()).toEqual([]);
    expect(await nextRun()).toBe(`${hour}:00`);
    expect(await lastRun()).toBe(before);
    expect(await status()).toBe(200);
  });

  it("by another file that apt reads later is named, with what apt does not go by", async () => {
    await guest.run("echo 'APT::Periodic::Enable \"0\";' >/etc/apt/apt.conf.d/zzz");
    expect(await deployment.drift()).toEqual([
      `apt does not apply 'APT::Periodic::Enable "1";' ('apt-config dump' shows what it applies)`,
    ]);
    await guest.run("rm /etc/apt/apt.conf.d/zzz");
  });
});

describe("removing", () => {
  const ours = () =>
    guest.run(
      "find /etc/apt /etc/systemd/system /etc/needrestart \\( -name '*mlflow-vps*' -o -name 'apt-daily*.d' \\) 2>/dev/null || true",
    );

  it("brings the distribution's hours back, and starts nothing", async () => {
    const before = await lastRun();
    await guest.run(`touch -d '2 days ago' /var/lib/systemd/timers/stamp-${timer}`);
    await deployment.destroy();
    expect(await ours()).toBe("");
    expect(await show(timer, "RandomizedDelayUSec")).toBe("1h");
    expect(await nextRun()).toMatch(/^0[67]:/);
    expect(await show(timer, "NeedDaemonReload")).toBe("no");
    expect(await lastRun()).toBe(before);
  });

  it("by the config is the same, and switching on again is too", async () => {
    deployment.config = { ...deployment.config, "updates.automatic": false };
    await deployment.up();
    expect(await ours()).toBe("/etc/needrestart/conf.d/mlflow-vps.conf"); // the service step's
    expect(await deployment.drift()).toEqual([]);
    deployment.config = { ...deployment.config, "updates.automatic": true };
    await deployment.up();
    expect(await nextRun()).toBe(`${hour}:00`);
    expect(await deployment.drift()).toEqual([]);
  });
});
