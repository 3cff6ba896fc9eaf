import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { client, Deployment, Guest, hostTool, searchExperiments, send, until } from "./harness";

/**
 * What goes wrong on hosts and on the way to them. Each test ends with a working server, the data of before and a
 * clean check; docs/faults.md tells what is promised.
 */
const guest = new Guest("test-faults");
const deployment = new Deployment(guest, { users: ["ada"], "updates.automatic": false });

const answers = async () => {
  const { trackingUri, users } = deployment.outputs;
  return (await searchExperiments(trackingUri, "ada", users.ada)).status === 200;
};
const data = () =>
  client(deployment, [
    "-c",
    `
import mlflow
[run] = mlflow.search_runs(experiment_names=["Kept"], output_format="list")
print(run.data.metrics, mlflow.artifacts.load_text(run.info.artifact_uri + "/kept.txt"))`,
  ]);

/** A working server with the data of before, and a check that finds nothing. */
async function whole(): Promise<void> {
  await until(answers, "an answer of the API");
  expect((await data()).trim()).toBe("{'kept': 7.0} kept content");
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
 * What a step does when its apply is stopped in the middle: damage, by which it has something to do, and a program
 * that it then calls, which is made to wait there.
 */
const steps: [string, string, string][] = [
  ["packages-servers", "dpkg --purge logrotate", "/usr/bin/apt-get"],
  ["runtime", "rm /opt/mlflow/releases/*/.contents", "/usr/bin/python3"],
  ["certificate", "echo x >>/etc/mlflow-vps/server.pem", "/usr/bin/mktemp"],
  ["database", "echo x >>/etc/mlflow-vps/pgpass", "/usr/bin/mktemp"],
  ["service", "echo '# x' >>$(ls /etc/mlflow-vps/mlflow-*.env)", "/usr/bin/mktemp"],
  ["proxy", "echo '# x' >>/etc/nginx/sites-available/mlflow-vps", "/usr/bin/mktemp"],
];

/** Makes a program of the guest wait, once it is called by a step, until `release` is called. */
const hold = (program: string) =>
  guest.run(`
    mv ${program} ${program}.real
    printf '%s\\n' '#!/bin/bash' 'if [[ -e /run/hold && -n $(find /run/mlflow-vps -name "*.lock" ! -name ".*") ]]; then touch /run/held; while [[ -e /run/hold ]]; do read -rt 0.1 <> <(:); done; fi' 'exec ${program}.real "$@"' >${program}
    chmod 755 ${program}; rm -f /run/held; touch /run/hold`);
const letGo = (program: string) => guest.run(`rm -f /run/hold; mv ${program}.real ${program}`);
const held = () =>
  until(async () => (await guest.run("ls /run/held 2>/dev/null || true")) !== "", "the middle of the step");

/** An `up` in a process of its own, which can be killed. */
function startUp(): ChildProcess & { readonly ended: Promise<number | null> } {
  const directory = join(guest.directory, "deployment");
  const child = spawn(
    join(__dirname, "../../node_modules/.bin/tsx"),
    [
      "sandbox/withoutEngine.ts",
      "up",
      "--config",
      join(directory, "Pulumi.test.yaml"),
      "--state",
      join(directory, "state"),
    ],
    { cwd: join(__dirname, "../.."), detached: true, stdio: "ignore" },
  );
  return Object.assign(child, { ended: new Promise<number | null>((done) => child.on("exit", done)) });
}
const kill = (child: ChildProcess) => {
  if (child.exitCode === null && child.signalCode === null) {
    process.kill(-(child.pid ?? 0), "SIGKILL");
  }
};
const link = (state: "up" | "down") =>
  hostTool("ip", ["link", "set", `mlvps${guest.address.split(".")[2]}`, state]);

beforeAll(async () => {
  await guest.down();
  await guest.up();
  await deployment.up();
  await client(deployment, [
    "-c",
    `
import mlflow
mlflow.set_experiment("Kept")
with mlflow.start_run():
    mlflow.log_metric("kept", 7)
    mlflow.log_text("kept content", "kept.txt")`,
  ]);
});
afterAll(() => guest.down());
afterEach(() => whole());

describe("the applying process", () => {
  it.each(steps)("killed in the middle of %s: the next up converges", async (step, damage, program) => {
    await guest.run(damage);
    await hold(program);
    const up = startUp();
    await held();
    kill(up);
    await up.ended;
    // What it began goes on by itself, or is gone; either way the next one converges.
    await letGo(program);
    expect(await guest.run(`cat /run/mlflow-vps/${step}.lock`)).toMatch(/^\d+$/);
    await deployment.up();
  });

  it.each(steps)(
    "cut off from the network in the middle of %s: the next up converges",
    async (_, damage, program) => {
      await guest.run(damage);
      await hold(program);
      const up = startUp();
      await held();
      link("down");
      kill(up);
      await up.ended;
      await letGo(program);
      link("up");
      await deployment.up();
    },
  );

  it("that runs twice at once waits for itself", async () => {
    await guest.run("echo '# x' >>/etc/nginx/sites-available/mlflow-vps; echo x >>/etc/mlflow-vps/pgpass");
    const other = startUp();
    await deployment.up();
    expect(await other.ended).toBe(0);
  });

  it("finds a step of a killed one still running, and waits for it", async () => {
    await guest.run("echo '# x' >>/etc/nginx/sites-available/mlflow-vps");
    await hold("/usr/bin/mktemp");
    const killed = startUp();
    await held();
    kill(killed);
    const next = startUp();
    await until(
      async () => (await guest.run("pgrep --full 'flock --timeout' || true")) !== "",
      "the next one waiting for the lock",
    );
    await letGo("/usr/bin/mktemp");
    expect(await next.ended).toBe(0);
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
    await hold("/usr/bin/mktemp");
    const up = startUp();
    await held();
    await guest.run("mv /usr/bin/mktemp.real /usr/bin/mktemp");
    await outage("reboot in the middle of an apply", () => guest.reboot());
    kill(up);
    await up.ended;
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
    expect((await data()).trim()).toBe("{'kept': 7.0} kept content");
    await guest.run(`rm ${artifacts}/full`);
    await upload(5);
    await guest.run(`systemctl stop 'mlflow@*'; umount ${artifacts}; rm -r /root/kept`);
    await deployment.up();
  });
});

describe("the packages", () => {
  it("are locked by another apt: it is waited for", async () => {
    await guest.run("dpkg --purge logrotate");
    await guest.start(
      `exec python3 -c 'import fcntl, os, time
lock = open("/var/lib/dpkg/lock-frontend", "w"); fcntl.lockf(lock, fcntl.LOCK_EX); open("/run/locked", "w")
while not os.path.exists("/run/unlock"): time.sleep(0.1)'`,
    );
    await until(async () => (await guest.run("ls /run/locked")) !== "", "the lock");
    const up = startUp();
    await until(
      async () => (await guest.run("pgrep apt-get || true")) !== "",
      "apt-get waiting for the lock",
    );
    await guest.run("touch /run/unlock");
    expect(await up.ended).toBe(0);
  });

  it("are out of date in the index: it is fetched anew", async () => {
    await guest.run(
      "dpkg --purge logrotate; sed -i '/^Package: logrotate$/,/^$/ s/_[^_]*_amd64.deb/_0-gone_amd64.deb/' /var/lib/apt/lists/*_Packages 2>/dev/null || true; rm -f /var/lib/apt/lists/*InRelease /var/cache/apt/archives/*.deb /var/cache/apt/*.bin",
    );
    await deployment.up();
  });

  /** A mirror in the guest that refuses the first request and passes on all others. */
  const mirror = async () => {
    await guest.run(`cat >/root/mirror.py <<'PYTHON'
import http.server, os, urllib.request
class Mirror(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if not os.path.exists("/run/refused"):
            open("/run/refused", "w").close()
            return self.send_error(503)
        url = self.path if self.path.startswith("http") else self.path
        headers = {"Accept": self.headers.get("Accept", "*/*"), "User-Agent": "mirror"}
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            body = answer.read()
            self.send_response(200)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", 8998), Mirror).serve_forever()
PYTHON
rm -f /run/refused`);
    await guest.start("exec python3 /root/mirror.py");
    await until(async () => (await guest.run("ss -Hltn sport = :8998")) !== "", "the mirror");
  };
  const refused = async () => {
    expect(await guest.run("ls /run/refused; pkill --full mirror.py")).toBe("/run/refused");
  };

  it("come from a mirror that fails once: asked again", async () => {
    await mirror();
    await guest.run(`echo 'Acquire::http::Proxy "http://127.0.0.1:8998";' >/etc/apt/apt.conf.d/99test
      dpkg --purge logrotate; rm -f /var/cache/apt/archives/*.deb`);
    await deployment.up();
    await refused();
    await guest.run("rm /etc/apt/apt.conf.d/99test");
  });

  it("come from a PyPI that fails once: asked again", async () => {
    await mirror();
    await guest.run(`cp -a /etc/uv /root/uv 2>/dev/null || mkdir -p /etc/uv
      printf 'index-url = "http://127.0.0.1:8998/simple"\\n' >>/etc/uv/uv.toml; rm /opt/mlflow/releases/*/.contents`);
    await deployment.up();
    await refused();
    await guest.run("rm -r /etc/uv; [[ ! -d /root/uv ]] || mv /root/uv /etc/uv");
  });

  it("come truncated from PyPI's mirror: the hashes catch it, and the next up goes on", async () => {
    await guest.run(
      "mv /opt/mlflow/releases /opt/mlflow/away; cp -a /etc/uv /root/uv 2>/dev/null || mkdir -p /etc/uv",
    );
    await guest.start(
      `exec python3 -c 'import http.server
class Mirror(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.strip("/").split("/")[-1]
        self.send_response(200)
        if self.path.endswith(".whl"):
            self.end_headers(); self.wfile.write(b"PK truncated"); return
        self.send_header("Content-Type", "text/html"); self.end_headers()
        import re
        lock = open("/root/lock").read()
        version = re.search("(?m)^" + name + "==(\\\\S+)", lock).group(1)
        file = name.replace("-", "_") + "-" + version + "-py3-none-any.whl"
        self.wfile.write(("<a href=\\"/files/" + file + "\\">" + file + "</a>").encode())
http.server.HTTPServer(("127.0.0.1", 8999), Mirror).serve_forever()'`,
    );
    await guest.run(
      "cp /opt/mlflow/away/*/requirements.txt /root/lock; printf 'index-url = \"http://127.0.0.1:8999/simple\"\\n' >/etc/uv/uv.toml",
    );
    expect(await deployment.upFails()).toMatch(/runtime: FAILED: installing MLflow/);
    await guest.run(
      "rm -r /etc/uv; [[ ! -d /root/uv ]] || mv /root/uv /etc/uv; pkill --full '[8]999'; rm -rf /opt/mlflow/releases; mv /opt/mlflow/away /opt/mlflow/releases",
    );
    await deployment.up();
  });
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
    await client(deployment, [
      "-c",
      `
import mlflow
mlflow.set_experiment("Kept")
with mlflow.start_run():
    mlflow.log_metric("kept", 7)
    mlflow.log_text("kept content", "kept.txt")`,
    ]);
  });
});
