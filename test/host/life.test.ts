import { rootCertificates } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { quote } from "../../components/step/script";
import { makeCertificate } from "../certificate";
import {
  certificateOf,
  client,
  Deployment,
  fingerprint,
  Guest,
  listing,
  searchExperiments,
  send,
  until,
} from "./harness";
import { Load } from "./load";

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
  await guest.up();
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
    const output = await client(deployment, [
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

describe("drift", () => {
  const release = "/opt/mlflow/releases/3.16.1-*";
  const sql = (statement: string) => `runuser -u postgres -- psql -q -d mlflow -c ${quote(statement)}`;
  /** Rounds of damage, one thing per step where there is one left: [what is damaged, command, lines of the check]. */
  const rounds: [string, string, RegExp[]][][] = [
    [
      [
        "packages-python",
        "dpkg --purge --force-depends python3-venv",
        [/^package python3-venv is not installed$/],
      ],
      [
        "the role's password",
        sql("alter role mlflow password 'other'"),
        [/^role mlflow can not log in with its password: .*password authentication failed/],
      ],
      [
        "a file of the release",
        `echo '# edited' >>${release}/lib/python3*/site-packages/mlflow/version.py`,
        [/was changed: 1 files, first lib\/python3.*\/mlflow\/version\.py$/],
      ],
      [
        "the unit",
        "sed -i 's/RestartSec=2/RestartSec=99/' /etc/systemd/system/mlflow@*.service",
        [/^\/etc\/systemd\/system\/mlflow@\d+\.service was changed$/],
      ],
      [
        "the site",
        "sed -i 's/auth_basic \"MLflow\"/auth_basic off/' /etc/nginx/sites-available/mlflow-vps; systemctl reload nginx",
        [/^\/etc\/nginx\/sites-available\/mlflow-vps was changed$/],
      ],
    ],
    [
      ["packages-servers", "dpkg --purge logrotate", [/^package logrotate is not installed$/]],
      [
        "the owner",
        sql("reassign owned by mlflow to postgres; drop owned by mlflow; drop role mlflow"),
        [/^role mlflow is missing$/, /^database mlflow belongs to postgres, not to mlflow$/],
      ],
      ["the release", `rm -rf ${release}`, [/^release \/opt\/mlflow\/releases\/3\.16\.1-\w+ is missing$/]],
      [
        "the environment",
        "chmod 777 /etc/mlflow-vps/mlflow-*.env; sed -i s/MLFLOW_WORKERS=1/MLFLOW_WORKERS=3/ /etc/mlflow-vps/mlflow-*.env",
        [/mlflow-\d+\.env has mode 777, not 640$/, /mlflow-\d+\.env was changed$/],
      ],
      [
        "the link to the site",
        "rm /etc/nginx/sites-enabled/mlflow-vps; systemctl reload nginx",
        [/^\/etc\/nginx\/sites-enabled\/mlflow-vps does not lead to/],
      ],
    ],
    [
      [
        "a table",
        sql("alter table runs owner to postgres"),
        [/^table runs belongs to postgres, not to mlflow$/],
      ],
      [
        "the role's rights",
        sql("alter role mlflow superuser"),
        [/^role mlflow has other rights than to log in$/],
      ],
      [
        "the password file",
        "chmod 644 /etc/mlflow-vps/pgpass",
        [/^\/etc\/mlflow-vps\/pgpass has mode 644, not 600$/],
      ],
      ["the service", "systemctl stop 'mlflow@*'", [/^mlflow@\d+\.service does not run$/]],
      [
        "the users",
        "sed -i '/^ada:/d' /etc/mlflow-vps/htpasswd; printf 'eve:$apr1$x$9d9Wm0QQhVqUWNuVL8KAp0' >>/etc/mlflow-vps/htpasswd",
        [/^user eve may enter, but is not in the configuration$/, /^user ada is missing$/],
      ],
    ],
    [
      [
        "PostgreSQL's address",
        "sed -i \"s/'localhost'/'*'/\" /etc/postgresql/*/main/conf.d/mlflow-vps.conf; systemctl restart postgresql",
        [/mlflow-vps\.conf was changed$/, /^PostgreSQL listens on more than localhost$/],
      ],
      [
        "PostgreSQL's access rules",
        "sed -i '/role mlflow/d; /scram-sha-256  # mlflow-vps/d; $ a host theirs theirs 10.0.0.0/8 scram-sha-256' /etc/postgresql/*/main/pg_hba.conf",
        [/pg_hba\.conf lacks the lines/],
      ],
      [
        "the start at boot",
        "rm /etc/systemd/system/multi-user.target.wants/mlflow@*; systemctl daemon-reload",
        [/^mlflow@\d+\.service does not start at boot$/],
      ],
      [
        "the artifacts' owner",
        "chown root /var/lib/mlflow/artifacts",
        [/^\/var\/lib\/mlflow\/artifacts is root:mlflow 750, not mlflow:mlflow 750$/],
      ],
      ["nginx", "systemctl stop nginx", [/^nginx does not run$/]],
    ],
    [
      ["PostgreSQL", "systemctl stop postgresql", [/^PostgreSQL does not answer on port 5432$/]],
      [
        "a directory of the service",
        "mv /var/log/mlflow /var/log/away; mkdir /var/log/mlflow",
        [/^\/var\/log\/mlflow is root:root 755/, /^mlflow@\d+\.service can not write to \/var\/log\/mlflow$/],
      ],
    ],
  ];

  it.each(rounds.map((round) => ({ round, what: round.map(([what]) => what).join(", ") })))(
    "of $what is named and healed",
    async ({ round }) => {
      for (const [, command] of round) {
        await guest.run(command);
      }
      const lines = await deployment.drift();
      for (const pattern of round.flatMap(([, , patterns]) => patterns)) {
        expect(lines).toContainEqual(expect.stringMatching(pattern));
      }
      await deployment.up();
      expect(await deployment.drift()).toEqual([]);
      expect(await statusOf("ada", password("ada"))).toBe(200);
      expect(await statusOf()).toBe(401);
    },
  );

  it("in PostgreSQL's access rules was healed without touching the rules of others", async () => {
    const rules = await guest.run("cat /etc/postgresql/*/main/pg_hba.conf");
    expect(rules).toContain("host theirs theirs 10.0.0.0/8 scram-sha-256");
    expect(rules).toMatch(/^local +all +postgres +peer/m);
  });

  it("does not name a secret, and is only looked at", async () => {
    await guest.run("echo x >>/etc/mlflow-vps/pgpass; echo x >>$(ls /etc/mlflow-vps/mlflow-*.env)");
    const before = await listing(guest);
    const lines = (await deployment.drift()).join("\n");
    expect(await listing(guest)).toBe(before);
    expect(lines).toContain("/etc/mlflow-vps/pgpass does not hold the password");
    for (const secret of Object.values(deployment.outputs.users)) {
      expect(lines).not.toContain(secret);
    }
    await deployment.up();
  });
});

describe("the certificate", () => {
  const served = async () => (await certificateOf(uri())).fingerprint256;
  const file = "/etc/mlflow-vps/server.pem";

  it("is for the address, by an authority that the client is told of, and by no other", async () => {
    const certificate = await certificateOf(uri());
    expect(certificate.subjectaltname).toBe(`IP Address:${guest.address}`);
    expect(deployment.outputs.clientEnv).toMatch(/^MLFLOW_TRACKING_SERVER_CERT_PATH=/m);
    await expect(certificateOf(uri(), rootCertificates.join("\n"))).rejects.toThrow(/unable to verify/);
  });

  it("is the way in: plain HTTP is sent on to it", async () => {
    const { status, headers } = await send(`http://${guest.address}/api/2.0/mlflow/x?y=z`);
    expect([status, headers.location]).toEqual([308, `${uri()}/api/2.0/mlflow/x?y=z`]);
    expect(headers["strict-transport-security"]).toBeUndefined(); // browsers know no authority of ours
  });

  it("is healed when it was changed, and its key is for root only", async () => {
    const before = await served();
    expect(await guest.run(`stat -c '%U:%G %a' ${file}`)).toBe("root:root 600");
    await guest.run(`openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=evil -keyout /root/k -out /root/c 2>/dev/null
      cat /root/k /root/c >${file}; chmod 644 ${file}; systemctl reload nginx`);
    const lines = await deployment.drift();
    expect(lines).toContain(`${file} has mode 644, not 600`);
    expect(lines).toContain(`${file} was changed`);
    await deployment.up();
    expect(await deployment.drift()).toEqual([]);
    expect(await served()).toBe(before);
  });

  it("is renewed without a failed request, and so is the authority's place taken by a provided one", async () => {
    const before = await served();
    const provided = makeCertificate(`IP:${guest.address}`, 30, true);
    const load = new Load({
      uri: uri(),
      user: "ada",
      password: password("ada"),
      options: { ca: [deployment.outputs.caCertificate, provided.certificate] },
    });
    await load.start();
    // The stand-in for the engine makes anew what it does not have, as the engine does near the end of a certificate.
    deployment.forget("mlflow-authority-server-certificate");
    await deployment.up();
    const renewed = await served();
    expect(renewed).not.toBe(before);

    deployment.config = {
      ...deployment.config,
      "tls.mode": "provided",
      "tls.certificate": provided.certificate,
      "tls.privateKey": provided.key,
    };
    await deployment.up();
    expect(await served()).not.toBe(renewed);
    expect(await deployment.drift()).toEqual([]);

    deployment.config = { ...deployment.config, "tls.mode": undefined };
    await deployment.up();
    expect(await served()).toBe(renewed);
    const { perSecond, failed } = await load.stop();
    expect(failed).toEqual([]);
    expect(perSecond).toBeGreaterThan(20);
    expect(await deployment.drift()).toEqual([]);
  });

  it("is for a domain too, when there is one, and clients that know the authority go on", async () => {
    const { caCertificate } = deployment.outputs;
    deployment.config = { ...deployment.config, domain: "mlflow.test" };
    await deployment.up();
    expect(deployment.outputs.trackingUri).toBe("https://mlflow.test");
    expect(deployment.outputs.caCertificate).toBe(caCertificate);
    expect((await certificateOf(`https://${guest.address}`)).subjectaltname).toBe(
      `DNS:mlflow.test, IP Address:${guest.address}`,
    );
    deployment.config = { ...deployment.config, domain: undefined };
    await deployment.up();
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

describe("rotation", () => {
  const processes = () =>
    guest.run(
      "systemctl show --property MainPID --value 'mlflow@*' nginx postgresql@15-main | paste -sd ' '",
    );
  const login = (secret: string) =>
    guest
      .run(`PGPASSWORD=${quote(secret)} psql -w -h 127.0.0.1 -U mlflow -d mlflow -Atc 'select 1'`)
      .catch((error: Error) => error.message);
  const storedPassword = async () => (await guest.run("cat /etc/mlflow-vps/pgpass")).split(":").at(-1) ?? "";

  it("of the database gives a new password, ends the old one and changes nothing else", async () => {
    const [users, running, old] = [deployment.outputs.users, await processes(), await storedPassword()];
    expect(await login(old)).toBe("1");
    deployment.config = { ...deployment.config, "rotation.database": 2 };
    await deployment.up();
    expect(await storedPassword()).not.toBe(old);
    expect(await login(old)).toContain("password authentication failed");
    expect(await login(await storedPassword())).toBe("1");
    expect(deployment.outputs.users).toEqual(users);
    expect(await processes()).toBe(running);
    expect(await statusOf("ada", password("ada"))).toBe(200);
    expect(await deployment.drift()).toEqual([]);
  });

  it("of a user gives a new password, ends the old one and leaves the other user alone", async () => {
    const { ada, grace } = deployment.outputs.users;
    const running = await processes();
    deployment.config = { ...deployment.config, "rotation.users.ada": 2 };
    await deployment.up();
    expect(await statusOf("ada", ada)).toBe(401);
    expect(await statusOf("ada", password("ada"))).toBe(200);
    expect(password("grace")).toBe(grace);
    expect(await statusOf("grace", grace)).toBe(200);
    expect(await processes()).toBe(running);
  });

  it("adds a user, and removes one, by the config", async () => {
    const { grace } = deployment.outputs.users;
    deployment.config = { ...deployment.config, users: ["ada", "alan"] };
    await deployment.up();
    expect(await statusOf("alan", password("alan"))).toBe(200);
    expect(await statusOf("ada", password("ada"))).toBe(200);
    expect(await statusOf("grace", grace)).toBe(401);
    expect(Object.keys(deployment.outputs.users)).toEqual(["ada", "alan"]);
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
    await guest.rebuild();
    deployment.config = { ...deployment.config, "data.deleteOnDestroy": undefined };
    expect(await deployment.drift()).toContain("package postgresql is not installed");
    await deployment.up();
    expect(await statusOf("ada", password("ada"))).toBe(200);
    expect(await deployment.drift()).toEqual([]);
  });
});
