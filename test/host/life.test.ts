import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { quote } from "../../components/step/script";
import {
  client,
  Deployment,
  fingerprint,
  freshClient,
  Guest,
  listing,
  searchExperiments,
  send,
  until,
} from "./harness";

/**
 * The life of one server on one guest, in order: each test begins with what the one before it left. Every claim is
 * checked through the public address, as a client outside sees it.
 */
const guest = new Guest("test-life");
const deployment = new Deployment(guest, { users: ["ada", "grace"], "mlflow.version": "3.16.1" });

const password = (user: string) => deployment.outputs.users[user] ?? "";
const uri = () => deployment.outputs.trackingUri;
const statusOf = async (user?: string, secret?: string) =>
  (await searchExperiments(uri(), user, secret)).status;

beforeAll(async () => {
  await guest.down();
  await guest.up("--mirrors", "real"); // Debian 13 by those: sideBySide
});
afterAll(() => guest.down());

describe("a bare VPS", () => {
  it("becomes a tracking server that answers its users and nobody else", async () => {
    const output = await deployment.up();
    expect(output).toContain("installing MLflow 3.16.1");
    expect(uri()).toBe(`https://${guest.address}`);
    expect(await statusOf("ada", password("ada"))).toBe(200);
    expect(await statusOf("grace", password("grace"))).toBe(200);
    expect(await statusOf()).toBe(401);
    expect(await statusOf("ada", password("grace"))).toBe(401);
    expect(await statusOf("nobody", "")).toBe(401);
    expect((await send(`${uri()}/version`, { user: "ada", password: password("ada") })).body).toBe("3.16.1");
    expect(await deployment.drift()).toEqual([]);
  });

  it("takes workers and job runner from its 2 GB of memory", async () => {
    const settings = await guest.run("cat /etc/mlflow-vps/mlflow-*.env");
    expect(settings).toContain("MLFLOW_WORKERS=1");
    expect(settings).toContain("MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false");
  });

  it("listens on SSH and the proxy's port only, as seen from outside", async () => {
    const listening = await guest.run(
      "ss -Hltn | awk '{ print $4 }' | grep -Ev '^(127\\.|\\[::1\\])' | sed 's/.*://' | sort -un | paste -sd ' '",
    );
    expect(listening).toBe("22 80 443");
  });

  it("logs to the journal and to a file", async () => {
    await until(
      async () =>
        (await guest.run("journalctl -u 'mlflow@*' --no-pager -o cat")).includes("experiments/search") &&
        (await guest.run("cat /var/log/mlflow/server.log")).includes("experiments/search"),
      "a request in both logs",
    );
    await guest.run("logrotate --debug /etc/logrotate.d/mlflow");
  });
});

describe("a second apply", () => {
  it("changes and restarts nothing, and says nothing", async () => {
    const before = await fingerprint(guest);
    expect(await deployment.up()).toBe("");
    expect(await fingerprint(guest)).toBe(before);
  });

  it("and the drift check, which finds nothing, change nothing on the host", async () => {
    const before = await listing(guest);
    expect(await deployment.drift()).toEqual([]);
    expect(await listing(guest)).toBe(before);
  });
});

describe("the client", () => {
  it("logs the iris experiment with models and a plot", async () => {
    // By a Python of its own, as a user starts it; all other calls are forked from one that has MLflow imported.
    const output = await freshClient(deployment, [
      "examples/iris/iris.py",
      "--trees",
      "3",
      "--plot",
      `${guest.directory}/accuracy.png`,
    ]);
    expect(output).toMatch(/^ +1 +0\.\d+/m);
    expect(output).toMatch(/^ +3 +0\.\d+/m);
    const runs = await client(deployment, [
      "-c",
      "import mlflow; print(len(mlflow.search_runs(experiment_names=['RF Tree Numbers'])))",
    ]);
    expect(Number(runs)).toBe(4);
  });

  it("gets a model back that predicts, and the plot", async () => {
    const output = await client(deployment, [
      "-c",
      `
import mlflow, mlflow.sklearn
runs = mlflow.search_runs(experiment_names=["RF Tree Numbers"], output_format="list")
experiment = mlflow.get_experiment_by_name("RF Tree Numbers").experiment_id
models = mlflow.search_logged_models([experiment], output_format="list")
print(mlflow.sklearn.load_model(models[0].model_uri).predict([[5.1, 3.5, 1.4, 0.2]])[0])
print([f.path for r in runs for f in mlflow.MlflowClient().list_artifacts(r.info.run_id)])`,
    ]);
    expect(output).toMatch(/^0$/m);
    expect(output).toContain("accuracy.png");
  });
});

describe("the service", () => {
  /** Runs a command as root with the file systems as the service sees them. */
  const inside = (command: string) =>
    guest.run(
      `nsenter --mount --target $(systemctl show --property MainPID --value 'mlflow@*') bash -c ${quote(command)}`,
    );

  it("is well shut in, as systemd counts it", async () => {
    const report = await guest.run(`systemd-analyze security --no-pager ${await guest.service()}`);
    const exposure = /Overall exposure level for mlflow@\d+\.service: (\d+\.\d+)/.exec(report)?.[1];
    expect(Number(exposure)).toBeLessThanOrEqual(2);
    expect(await guest.run(`systemd-analyze verify ${await guest.service()} 2>&1`)).toBe("");
  });

  it("runs every process of its own without privileges, and with system calls taken away", async () => {
    const fields = "(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):";
    const states = await guest.run(
      `for pid in $(cat /sys/fs/cgroup$(systemctl show --property ControlGroup --value 'mlflow@*')/cgroup.procs); do
        grep -E '^${fields}' /proc/$pid/status | awk '{ printf "%s%s ", $1, $2 }'; echo
      done | sort -u`,
    );
    const none = "0000000000000000";
    expect(states).toBe(
      `CapInh:${none} CapPrm:${none} CapEff:${none} CapBnd:${none} CapAmb:${none} NoNewPrivs:1 Seccomp:2`,
    );
  });

  it("could not write outside its own directories even as root", async () => {
    const outside =
      "/ /etc /etc/mlflow-vps /opt /opt/mlflow /usr /usr/bin /boot /var/lib /srv /root /run /run/lock";
    const own = "/var/lib/mlflow/artifacts /var/lib/mlflow/tmp /var/log/mlflow /tmp";
    const tried = await inside(
      `for directory in ${outside} ${own}; do
        touch $directory/probe 2>/dev/null && rm $directory/probe && echo $directory
      done || true`,
    );
    expect(tried.split("\n")).toEqual(own.split(" "));
    expect(await inside("ls -d /proc/sys /proc/kallsyms 2>/dev/null || true")).toBe("");
  });

  it("takes a file of 100 MB through the proxy and gives the same back", async () => {
    const output = await client(deployment, [
      "-c",
      `
import mlflow, os, tempfile
content = os.urandom(100 * 2**20)
with tempfile.TemporaryDirectory() as folder:
    sent = os.path.join(folder, "large.bin")
    open(sent, "wb").write(content)
    mlflow.set_experiment("Large file")
    with mlflow.start_run() as run:
        mlflow.log_artifact(sent)
    back = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="large.bin", dst_path=folder + "/back")
    print("same:", open(back, "rb").read() == content)`,
    ]);
    expect(output).toMatch(/^same: True$/m);
  });

  it("whose directory is missing does not start, and says which one", async () => {
    const service = await guest.service();
    await guest.run("mv /var/log/mlflow /var/log/away");
    expect(await guest.run(`systemctl restart ${service} 2>&1 || true`)).toContain("Assertion failed");
    expect(await guest.run(`systemctl status ${service} || true`)).toContain(
      "AssertPathIsDirectory=/var/log/mlflow was not met",
    );
    await guest.run("mv /var/log/away /var/log/mlflow");
    await deployment.up();
    expect(await deployment.drift()).toEqual([]);
  });
});

describe("the web interface", () => {
  const asAda = (headers: Record<string, string>) =>
    searchExperiments(uri(), "ada", password("ada"), headers);

  it("is served", async () => {
    const page = await send(`${uri()}/`, { user: "ada", password: password("ada") });
    expect(page.status).toBe(200);
    expect(page.body).toContain("<title>MLflow</title>");
  });

  it("may send requests of its own, a page from elsewhere may not", async () => {
    expect((await asAda({ Origin: uri() })).status).toBe(200);
    expect((await asAda({ Origin: "https://evil.example" })).status).toBe(403);
  });

  it("closes the assistant and the metrics, however the path is written", async () => {
    for (const path of [
      "/metrics",
      "//metrics",
      "/ajax-api/3.0/mlflow/assistant/config",
      "/api/3.0/mlflow/assistant/config",
      "/ajax-api/3.0/mlflow/%61ssistant/config",
      "/x/../ajax-api/3.0/mlflow/assistant/config",
    ]) {
      const answer = await send(`${uri()}${path}`, { user: "ada", password: password("ada") });
      expect([path, answer.status]).toEqual([path, 404]);
    }
  });
});

describe("another site on the same nginx", () => {
  it("stays as it is", async () => {
    await guest.run(
      "mkdir -p /srv/other; echo theirs >/srv/other/index.html; " +
        "printf 'server { listen 8088; root /srv/other; }\\n' >/etc/nginx/sites-enabled/other; systemctl reload nginx",
    );
    await deployment.up();
    expect((await send(`http://${guest.address}:8088/`)).body).toBe("theirs\n");
  });

  it("with an error is not made worse: the apply says what nginx refuses, and nginx keeps serving", async () => {
    await guest.run(
      "echo 'nonsense;' >/etc/nginx/sites-enabled/broken; sed -i s/1h/2h/ /etc/nginx/sites-available/mlflow-vps",
    );
    const error = await deployment.upFails();
    expect(error).toContain('unknown directive "nonsense"');
    expect(await statusOf("ada", password("ada"))).toBe(200);
    await guest.run("rm /etc/nginx/sites-enabled/broken");
    await deployment.up();
    expect(await deployment.drift()).toEqual([]);
  });
});

describe("settings", () => {
  it("reach the running service", async () => {
    deployment.config = {
      ...deployment.config,
      "service.workers": 2,
      "proxy.port": 8443,
      "artifacts.directory": "/srv/mlflow/artifacts",
    };
    await deployment.up();
    expect(uri()).toBe(`https://${guest.address}:8443`);
    expect(await statusOf("ada", password("ada"))).toBe(200);
    expect((await searchExperiments(uri(), "ada", password("ada"), { Origin: uri() })).status).toBe(200);
    await expect(send(`http://${guest.address}:5000/`)).rejects.toThrow("ECONNREFUSED");
    const pid = await guest.run("systemctl show --property MainPID --value 'mlflow@*'");
    expect(await guest.run(`tr '\\0' '\\n' </proc/${pid}/environ`)).toContain("MLFLOW_WORKERS=2");
    await client(deployment, [
      "-c",
      "import mlflow; mlflow.set_experiment('Elsewhere'); mlflow.log_text('x', 'elsewhere.txt')",
    ]);
    expect(await guest.run("find /srv/mlflow/artifacts -name elsewhere.txt")).toContain("elsewhere.txt");
    deployment.config = {
      ...deployment.config,
      "service.workers": undefined,
      "proxy.port": undefined,
      "artifacts.directory": undefined,
    };
    await deployment.up();
    expect(await deployment.drift()).toEqual([]);
  });

  it("choose another version of MLflow, which serves the same runs", async () => {
    deployment.config = { ...deployment.config, "mlflow.version": "3.17.2" };
    await deployment.up();
    expect((await send(`${uri()}/version`, { user: "ada", password: password("ada") })).body).toBe("3.17.2");
    const runs = await client(deployment, [
      "-c",
      "import mlflow; print(len(mlflow.search_runs(experiment_names=['RF Tree Numbers'])))",
    ]);
    expect(Number(runs)).toBe(4);
    expect(await deployment.drift()).toEqual([]);
  });
});

describe("removing", () => {
  it("takes the server away, keeps the data and says where it is", async () => {
    const output = await deployment.destroy();
    expect(output).toContain("kept: artifacts in /var/lib/mlflow/artifacts");
    expect(output).toContain("kept: database mlflow in PostgreSQL on port 5432");
    const left = await guest.run(
      "ls -d /etc/systemd/system/mlflow* /etc/nginx/sites-*/mlflow-vps /etc/mlflow-vps /opt/mlflow /etc/logrotate.d/mlflow " +
        "/etc/postgresql/*/main/conf.d/mlflow* 2>/dev/null || true; grep -l mlflow /etc/postgresql/*/main/pg_hba.conf || true",
    );
    expect(left).toBe("");
    expect(await guest.service()).toBe("");
    expect((await send(`http://${guest.address}:8088/`)).body).toBe("theirs\n");
  });

  it("and applying again adopts the data", async () => {
    await deployment.up();
    const output = await client(deployment, [
      "-c",
      `
import mlflow, mlflow.sklearn
print(len(mlflow.search_runs(experiment_names=["RF Tree Numbers"])))
experiment = mlflow.get_experiment_by_name("RF Tree Numbers").experiment_id
models = mlflow.search_logged_models([experiment], output_format="list")
print(mlflow.sklearn.load_model(models[0].model_uri).predict([[5.1, 3.5, 1.4, 0.2]])[0])`,
    ]);
    expect(output.trim().split("\n")).toEqual(["4", "0"]);
    expect(await deployment.drift()).toEqual([]);
  });

  it("deletes the data where the config says so, also on a volume", async () => {
    await guest.run(`cd /var/lib/mlflow; systemctl stop 'mlflow@*'; mv artifacts kept
      mkdir artifacts; mount -t tmpfs tmpfs artifacts; cp -a kept/. artifacts/; rm -r kept
      chown mlflow:mlflow artifacts; chmod 750 artifacts`);
    deployment.config = { ...deployment.config, "data.deleteOnDestroy": true };
    await deployment.up();
    expect(await guest.run("ls -A /var/lib/mlflow/artifacts")).not.toBe("");
    const output = await deployment.destroy();
    expect(output).toContain("deleted database mlflow");
    expect(
      await guest.run("runuser -u postgres -- psql -Atc 'select datname from pg_database'"),
    ).not.toContain("mlflow");
    expect(output).toContain("/var/lib/mlflow/artifacts is a mount point: it was emptied, and stays");
    expect(await guest.run("find /var/lib/mlflow -mindepth 1")).toBe("/var/lib/mlflow/artifacts");
  });
});

describe("a host that was rebuilt from scratch", () => {
  it("is named as such and set up again", async () => {
    await guest.rebuild("--mirrors", "cached");
    deployment.config = { ...deployment.config, "data.deleteOnDestroy": undefined };
    expect(await deployment.drift()).toContain("package postgresql is not installed");
    await deployment.up();
    expect(await statusOf("ada", password("ada"))).toBe(200);
    expect(await deployment.drift()).toEqual([]);
  });
});
