import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { client, Deployment, Guest, hostTool, searchExperiments, send, until } from "./harness";

/**
 * What goes wrong on hosts and on the way to them. Each test ends with a working server, the data of before and a
 * clean check; docs/faults.md tells what is promised.
 */
const guest = new Guest("test-faults");
const deployment = new Deployment(guest, { users: ["ada"], firewall: true });

const answers = async () => {
  const { trackingUri, users } = deployment.outputs;
  return (await searchExperiments(trackingUri, "ada", users.ada)).status === 200;
};
const logData = () =>
  client(deployment, [
    "-c",
    `
import mlflow
mlflow.set_experiment("Kept")
with mlflow.start_run():
    mlflow.log_metric("kept", 7)
    mlflow.log_text("kept content", "kept.txt")`,
  ]);
/** What was logged before the faults, as any client gets it. */
async function data(): Promise<string> {
  const { trackingUri, users } = deployment.outputs;
  const ask = async (path: string, body?: object) =>
    (
      await send(`${trackingUri}/api/2.0/${path}`, {
        user: "ada",
        password: users.ada,
        headers: { "Content-Type": "application/json" },
        body: body && JSON.stringify(body),
      })
    ).body;
  const { runs } = JSON.parse(await ask("mlflow/runs/search", { experiment_ids: ["1"] }));
  const [{ info, data }] = runs;
  const artifact = `mlflow-artifacts/artifacts/${info.artifact_uri.split(":/")[1]}/kept.txt`;
  return `${data.metrics[0].key} ${data.metrics[0].value}, ${await ask(artifact)}`;
}

/** A working server with the data of before, and a check that finds nothing. */
async function whole(): Promise<void> {
  await until(answers, "an answer of the API");
  expect(await data()).toBe("kept 7, kept content");
  expect(await deployment.drift()).toEqual([]);
}

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

/**
 * Every step that changes the host but for two (`adoption` has a test of its own, `acme` is in its): damage by which it
 * has something to do, a program that it calls in the middle, which is made to wait there, and by what that call is known.
 */
const steps: [string, string, string, string?][] = [
  ["packages-python", "dpkg --purge --force-depends python3-venv", "/usr/bin/dpkg-deb"],
  ["packages-servers", "dpkg --purge logrotate", "/usr/bin/dpkg-deb"],
  // The timer is stopped, the schedule is the one at the start.
  ["updates", "systemctl stop apt-daily-upgrade.timer", "/usr/bin/touch"],
  // Installed and imported, but not in its place.
  [
    "runtime",
    "rm /opt/mlflow/releases/*/.contents",
    "/usr/bin/sort",
    "[[ -e $(echo /opt/mlflow/releases/*.new/schema) ]]",
  ],
  // The clients were asked to end their connections.
  ["certificate", "echo x >>/etc/mlflow-vps/server.pem", "/usr/bin/sleep", "[[ -e /run/mlflow-vps/drain ]]"],
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

const waitingForALock = () =>
  until(
    async () => (await guest.run("pgrep --full '[f]lock --timeout' || true")) !== "",
    "the next one waiting for the lock",
  );

const link = (state: "up" | "down") =>
  hostTool("ip", ["link", "set", `mlvps${guest.address.split(".")[2]}`, state]);

beforeAll(async () => {
  await guest.down();
  await guest.up();
  await deployment.up();
  await logData();
});
afterAll(() => guest.down());
afterEach(() => whole());

describe("the applying process", () => {
  it.each(steps)("killed in the middle of %s: the next up converges", async (step, damage, program, when) => {
    await guest.run(damage);
    const hold = await guest.hold(program, step, when);
    const up = deployment.start();
    await hold.reached();
    await up.kill();
    await hold.kill(); // on the host too
    await hold.end();
    await deployment.up();
  });

  it.each(steps)(
    "cut off from the network in the middle of %s, for ever: the next up converges",
    async (step, damage, program, when) => {
      await guest.run(damage);
      const hold = await guest.hold(program, step, when);
      const up = deployment.start();
      await hold.reached();
      link("down"); // so the host does not learn that the process is gone
      await up.kill();
      await hold.end(); // and the step goes on by itself
      link("up");
      await deployment.up();
    },
  );

  it("cut off from the network for a while goes on to its end", async () => {
    await guest.run("echo '# x' >>/etc/nginx/sites-available/mlflow-vps");
    const hold = await guest.hold("/usr/bin/mktemp", "proxy");
    const up = deployment.start();
    await hold.reached();
    link("down");
    await hold.end();
    await pause(10_000); // the fault itself
    link("up");
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
    expect(await deployment.drift()).toContain("nginx does not run");
    await deployment.up();
  });

  it("kills the service: systemd starts it again", async () => {
    await outage("service killed with SIGKILL", () => guest.run("systemctl kill --signal KILL 'mlflow@*'"));
  });

  it("kills one worker, as the kernel does when memory is exhausted: it is started again", async () => {
    await outage("worker killed", () => guest.run("kill -KILL $(pgrep --uid mlflow --full uvicorn)"));
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
    expect(await data()).toBe("kept 7, kept content");
    await guest.run(`rm ${artifacts}/full`);
    await upload(5);
    await guest.run(`systemctl stop 'mlflow@*'; umount ${artifacts}; rm -r /root/kept`);
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
    expect(await deployment.up()).toContain("packages-servers: once more, with fresh package lists");
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
    expect(refusal).toMatch(/presents another key than the pinned one[\s\S]*npm run configure/);
    deployment.config = {
      ...deployment.config,
      "host.hostKeyFile": `${guest.directory}/host_key.pub`,
      "host.hostKey": undefined,
    };
    await deployment.up();
    // The data of before went with the disk.
    await logData();
  });
});
