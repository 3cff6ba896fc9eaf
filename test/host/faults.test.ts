import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { client, Deployment, Guest, send, until } from "./harness";
import { type Interruption, interruptedIn, link, Whole } from "./interruptions";

/**
 * What goes wrong on hosts and on the way to them. Each test ends with a working server, the data of before and a
 * clean check; docs/faults.md tells what is promised.
 */
const guest = new Guest("test-faults");
const deployment = new Deployment(guest, { users: ["ada"], firewall: true });
const whole = new Whole(deployment);
const answers = () => whole.answers();

/** Seconds without an answer of the API while something is done and until it answers again, told as a figure. */
async function outage(what: string, fault: () => Promise<unknown>): Promise<void> {
  let running = true;
  let away = 0;
  const watching = (async () => {
    while (running) {
      const begun = Date.now();
      const fine = await answers().catch(() => false);
      await pause(100);
      away += fine ? 0 : Date.now() - begun;
    }
  })();
  try {
    await fault();
    await until(answers, `an answer after: ${what}`, 120);
  } finally {
    running = false;
    await watching;
  }
  console.log(`${what}: ${(away / 1000).toFixed(1)} s without the service`);
}

const waitingForALock = () =>
  until(
    async () => (await guest.run("pgrep --full '[f]lock --timeout' || true")) !== "",
    "the next one waiting for the lock",
  );

/**
 * The steps that change the host, but for those that install (installing.test.ts), for `adoption` (has a test of its own),
 * `schema` (upgrades.test.ts) and `acme` (is in its).
 */
const steps: Interruption[] = [
  // The timer is stopped, the schedule is the one at the start.
  ["updates", "systemctl stop apt-daily-upgrade.timer", "/usr/bin/touch"],
  // The clients were asked to end their connections.
  ["certificate", "echo x >>/etc/mlflow-vps/server.pem", "/usr/bin/touch", "[[ -e /run/mlflow-vps/drain ]]"],
  // All but the password of the role.
  [
    "database",
    `cd /tmp; runuser -u postgres -- psql -qc "alter role mlflow password 'other'"`,
    "/usr/bin/python3",
  ],
  // The new instance starts.
  [
    "service",
    "echo '# x' >>$(ls /etc/mlflow-vps/mlflow-*.env)",
    "/usr/bin/curl",
    "(($(ls /etc/mlflow-vps/mlflow-*.env | wc -l) == 2))",
  ],
  // The site is written, and nginx not reloaded.
  [
    "proxy",
    "echo '# x' >>/etc/nginx/sites-available/mlflow-vps",
    "/usr/sbin/nginx",
    "! grep -q '^# x' /etc/nginx/sites-available/mlflow-vps",
  ],
  // The table is there, without rules.
  ["firewall-trial", "nft delete table inet mlflow_vps", "/usr/bin/sleep"],
  ["firewall-kept", "rm /etc/mlflow-vps/firewall.nft", "/usr/bin/mktemp"],
];

beforeAll(async () => {
  await deployment.serve();
  await whole.logData();
});
afterAll(() => guest.down());
afterEach(() => whole.expect());

describe("the applying process", () => {
  interruptedIn(deployment, steps);

  it("cut off from the network for a while goes on to its end", async () => {
    await guest.run("echo '# x' >>/etc/nginx/sites-available/mlflow-vps");
    const hold = await guest.hold("/usr/bin/mktemp", "proxy");
    const up = deployment.start();
    await hold.reached();
    link(deployment, "down");
    await hold.end();
    await pause(10_000); // the fault itself
    link(deployment, "up");
    expect(await up.ended).toBe(0);
  });

  it("that runs twice at once waits for itself", async () => {
    await guest.run("echo '# x' >>/etc/nginx/sites-available/mlflow-vps; echo x >>/etc/mlflow-vps/pgpass");
    const hold = await guest.hold("/usr/bin/mktemp", "database");
    const first = deployment.start();
    await hold.reached();
    const second = deployment.up();
    await waitingForALock();
    await hold.end();
    expect(await second).toMatch(/database: another run of this step is in progress on the host/);
    expect(await first.ended).toBe(0);
  });

  it("finds a step of a killed one still running, and waits for it", async () => {
    await guest.run("echo '# x' >>/etc/nginx/sites-available/mlflow-vps");
    const hold = await guest.hold("/usr/bin/mktemp", "proxy");
    const killed = deployment.start();
    await hold.reached();
    await killed.kill();
    const next = deployment.up();
    await waitingForALock();
    await hold.end();
    expect(await next).toMatch(
      /proxy: another run of this step is in progress on the host, waiting for it: process \d+ \(bash\)/,
    );
  });

  it("finds the lock of a run that is gone, and is not blocked by it", async () => {
    await guest.run(
      "echo 999999 >/run/mlflow-vps/proxy.lock; echo '# x' >>/etc/nginx/sites-available/mlflow-vps",
    );
    await deployment.up();
  });
});

describe("the host", () => {
  it("reboots: everything comes back by itself", async () => {
    await outage("reboot", () => guest.reboot());
  });

  it("reboots in the middle of an apply: the next up converges", async () => {
    await guest.run("echo '# x' >>$(ls /etc/mlflow-vps/mlflow-*.env)");
    const hold = await guest.hold(
      "/usr/bin/curl",
      "service",
      "(($(ls /etc/mlflow-vps/mlflow-*.env | wc -l) == 2))",
    );
    const up = deployment.start();
    await hold.reached();
    await outage("reboot in the middle of an apply", () => guest.reboot());
    await up.kill();
    await hold.end();
    await deployment.up();
  });

  it("has PostgreSQL restarted: the service goes on by itself", async () => {
    await outage("PostgreSQL restarted", () => guest.run("systemctl restart postgresql"));
  });

  it("has PostgreSQL stopped for a minute: the check names it, the service comes back by itself", async () => {
    await outage("PostgreSQL stopped for a minute", async () => {
      await guest.run("systemctl stop postgresql");
      const stopped = Date.now();
      expect(await deployment.drift()).toContain("PostgreSQL does not answer on port 5432");
      await pause(60_000 - (Date.now() - stopped)); // the minute is the fault itself
      await guest.run("systemctl start postgresql");
    });
  });

  it("has nginx stopped: named, and started by an up", async () => {
    await guest.run("systemctl stop nginx");
    expect(await deployment.drift()).toContain("nginx is not running");
    await deployment.up();
  });

  it("kills the service: systemd starts it again", async () => {
    await outage("service killed with SIGKILL", () => guest.run("systemctl kill --signal KILL 'mlflow@*'"));
  });

  it("kills one worker, as the kernel does when memory is exhausted: it is started again", async () => {
    await outage("worker killed", () =>
      guest.run("kill -KILL $(pgrep --uid mlflow --full 'mlflow-[0-9]*[.]py server')"),
    );
  });

  it("has no memory to give to the service: requests fail, and it recovers with the memory", async () => {
    // A guest has no memory limit of its own; to the process it is the same that there is no more.
    const dropIn = "/run/systemd/system/mlflow@.service.d/limit.conf";
    await guest.run(`mkdir -p ${dropIn.replace("/limit.conf", "")}; printf '[Service]\\nLimitAS=700M\\n' >${dropIn}
      systemctl daemon-reload; systemctl restart ${await guest.service()}`);
    await until(answers, "an answer with little memory");
    const { trackingUri, users } = deployment.outputs;
    const large = () =>
      send(`${trackingUri}/api/2.0/mlflow/runs/create`, {
        user: "ada",
        password: users.ada ?? "",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ experiment_id: "0", run_name: "x".repeat(60 * 2 ** 20) }),
      }).then(
        ({ status }) => status,
        () => 599,
      );
    await outage("memory exhausted", async () => {
      expect(await large()).toBeGreaterThanOrEqual(500);
    });
    await guest.run(`rm ${dropIn}; systemctl daemon-reload; systemctl restart ${await guest.service()}`);
  });
});

describe("the disk", () => {
  it("is full while an artifact is uploaded: an error for the client, nothing lost, goes on when there is room", async () => {
    const artifacts = "/var/lib/mlflow";
    // The service sees what is mounted before it starts.
    await guest.run(`cp -a ${artifacts} /root/kept; systemctl stop 'mlflow@*'
      mount -t tmpfs -o size=700m tmpfs ${artifacts}; cp -a /root/kept/. ${artifacts}/; chown mlflow:mlflow ${artifacts}; chmod 750 ${artifacts}`);
    await deployment.up();
    const upload = (megabytes: number) =>
      client(deployment, [
        "-c",
        `
import mlflow, os
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
mlflow.set_experiment("Large")
with mlflow.start_run():
    open("/tmp/large.bin", "wb").write(os.urandom(${megabytes} * 2**20))
    mlflow.log_artifact("/tmp/large.bin")
os.remove("/tmp/large.bin")`,
      ]);
    await guest.run(`head -c 650M /dev/zero >${artifacts}/full`);
    await expect(upload(100)).rejects.toThrow(/\b5\d\d\b/);
    expect(await whole.data()).toBe("kept 7, kept content");
    await guest.run(`rm ${artifacts}/full`);
    await upload(5);
    await guest.run(`systemctl stop 'mlflow@*'; umount ${artifacts}; rm -r /root/kept`);
    await deployment.up();
  });
});
