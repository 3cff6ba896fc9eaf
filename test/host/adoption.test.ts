import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { quote } from "../../components/step/script";
import { client, Deployment, Guest, searchExperiments, send, until } from "./harness";

/**
 * Unmanaged servers, made as the tutorial says, with versions of its time: PostgreSQL with the password in the
 * unit, MLflow in a virtual environment in a home directory, nginx with htpasswd. `up` takes them over.
 */
const guest = new Guest("test-adoption");
const deployment = new Deployment(guest, { users: ["ada"], "updates.automatic": false });

const tools = "/home/deploy/mlflow-env/bin";
const asDeploy = (commandLine: string) => guest.run(`runuser -u deploy -- bash -c ${quote(commandLine)}`);
const sql = (statement: string, database = "postgres") =>
  guest.run(
    `cd /tmp; runuser -u postgres -- psql -d ${database} -Atv ON_ERROR_STOP=1 <<'SQL'\n${statement}\nSQL`,
  );

interface Made {
  readonly unit: string;
  readonly unitText: string;
  readonly database: string;
  readonly role: string;
  readonly port: number;
  readonly site: string;
}

/** The tutorial's commands, after the packages and the virtual environment. */
async function makeByHand({ unit, unitText, database, role, port, site }: Made): Promise<void> {
  await sql(`create database ${database}; create user ${role} with encrypted password 'by-hand-4711';
grant all privileges on database ${database} to ${role}`);
  await sql(`grant all on schema public to ${role}`, database);
  await guest.run(`cat >/etc/systemd/system/${unit} <<'UNIT'
${unitText}
UNIT
    systemctl daemon-reload; systemctl enable --now ${unit}
    htpasswd -bc /etc/nginx/.htpasswd team 'by-hand-0815'
    rm -f /etc/nginx/sites-enabled/default
    cat >${site} <<'SITE'
server {
    listen 80;
    server_name _;
    location / {
        proxy_pass http://localhost:${port}/;
        auth_basic "Restricted";
        auth_basic_user_file /etc/nginx/.htpasswd;
    }
}
SITE
    [[ ${site} != */sites-available/* ]] || ln -s ${site} /etc/nginx/sites-enabled/
    systemctl reload nginx`);
  await until(async () => (await oldStatus()) === 200, "the unmanaged server", 120);
  await asDeploy(`MLFLOW_TRACKING_URI=http://127.0.0.1:${port} ${tools}/python -W ignore <<'PYTHON'
import mlflow
client = mlflow.MlflowClient()
mlflow.set_experiment("By hand")
for name in ["one", "two"]:
    with mlflow.start_run(run_name=name) as run:
        mlflow.log_param("depth", 3)
        for step in range(20):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_text("content of " + name, "model/notes.txt")
client.create_registered_model("Kept")
client.create_model_version("Kept", run.info.artifact_uri + "/model", run.info.run_id)
client.copy_model_version("models:/Kept/1", "Copied")
PYTHON`);
}

/** The status that a client of the unmanaged server gets. */
const oldStatus = async () =>
  (
    await send(`http://${guest.address}/api/2.0/mlflow/experiments/search`, {
      user: "team",
      password: "by-hand-0815",
      headers: { "Content-Type": "application/json" },
      body: '{"max_results": 1}',
    })
  ).status;

/** What was logged by hand, as a client of the new server gets it: all of it through the server. */
const logged = () =>
  client(deployment, [
    "-c",
    `
import os
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
import mlflow
client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name("By hand")
for run in sorted(client.search_runs([experiment.experiment_id]), key=lambda run: run.info.run_name):
    losses = [metric.value for metric in client.get_metric_history(run.info.run_id, "loss")]
    print(run.info.run_name, run.data.params, len(losses), min(losses), mlflow.artifacts.load_text(run.info.artifact_uri + "/model/notes.txt"))
print(mlflow.artifacts.load_text("models:/Kept/1/notes.txt"))
print(mlflow.artifacts.load_text("models:/Copied/1/notes.txt"))
with mlflow.start_run(experiment_id=experiment.experiment_id, run_name="after"):
    mlflow.log_text("content of after", "new.txt")
    print(mlflow.artifacts.load_text(mlflow.get_artifact_uri("new.txt")))
mlflow.delete_run(mlflow.last_active_run().info.run_id)`,
  ]);
const allOfIt = `one {'depth': '3'} 20 0.05 content of one
two {'depth': '3'} 20 0.05 content of two
content of two
content of two
content of after
`;

const newAnswers = async () => {
  const { trackingUri, users } = deployment.outputs;
  return (await searchExperiments(trackingUri, "ada", users.ada)).status === 200;
};

/** Seconds from the last answer of the old server to the first one of the new. */
async function takeOver(): Promise<{ output: string; seconds: number }> {
  let [running, lastOld, firstNew] = [true, Date.now(), 0];
  const watching = (async () => {
    while (running) {
      const begun = Date.now();
      lastOld = (await oldStatus().catch(() => 0)) === 200 ? begun : lastOld;
      await new Promise((next) => setTimeout(next, 100));
    }
  })();
  const output = await deployment.up();
  await until(newAnswers, "an answer of the new server");
  firstNew = Date.now();
  running = false;
  await watching;
  return { output, seconds: (firstNew - lastOld) / 1000 };
}

const state = (unit: string) =>
  guest.run(`systemctl show --property ActiveState,UnitFileState --value ${unit} | paste -sd ' '`);

beforeAll(async () => {
  await guest.down();
  await guest.up();
  writeFileSync(
    join(guest.directory, "root/home/deploy/requirements.txt"),
    readFileSync(join(__dirname, "handmade/requirements.txt")),
  );
  await guest.run(
    "apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends install postgresql nginx apache2-utils python3-venv",
  );
  await asDeploy("cd && python3 -m venv mlflow-env && mlflow-env/bin/pip install -q -r requirements.txt");
});
afterAll(() => guest.down());

describe("an unmanaged server, with names of its own and artifacts in a home directory", () => {
  const made: Made = {
    unit: "mlflow-tracking.service",
    unitText: `[Unit]
Description=MLflow tracking server
After=network.target

[Service]
User=deploy
Restart=on-failure
RestartSec=30
ExecStart=/bin/bash -c 'PATH=${tools}:$PATH exec mlflow server --backend-store-uri postgresql://mlflow_user:by-hand-4711@localhost/mlflow_db --default-artifact-root file:///home/deploy/mlruns --host 127.0.0.1 -p 8000'

[Install]
WantedBy=multi-user.target`,
    database: "mlflow_db",
    role: "mlflow_user",
    port: 8000,
    site: "/etc/nginx/sites-available/mlflow",
  };
  /** The very files and the very database, whatever they are called. */
  const identity = async (directory: string, database: string) =>
    `${await guest.run(`find ${directory}/ -name notes.txt -printf '%i %T@\\n' | sort`)}
${await sql(`select oid from pg_database where datname = '${database}'`)}`;
  let before = "";

  beforeAll(async () => {
    await makeByHand(made);
    before = await identity("/home/deploy/mlruns", "mlflow_db");
  });

  /** It serves as before, and nothing of it was changed. */
  async function untouched(): Promise<void> {
    expect(await oldStatus()).toBe(200);
    expect(await state(made.unit)).toBe("active enabled");
    expect(await identity("/home/deploy/mlruns", "mlflow_db")).toBe(before);
    expect(await sql("select datname from pg_database where datname = 'mlflow_vps_rehearsal'")).toBe("");
    expect(await guest.run("ls /etc/mlflow-vps 2>/dev/null || true")).not.toMatch(/adoption/);
  }

  it("is left as it is when its database cannot be migrated", async () => {
    await sql("create table logged_models (id int)", "mlflow_db"); // a migration is about to make it
    expect(await deployment.upFails()).toMatch(
      /adoption: FAILED: rehearsing the migration[\s\S]*logged_models/,
    );
    await sql("drop table logged_models", "mlflow_db");
    await untouched();
  });

  it("is left as it is when somebody's database has the name of the copy, and so is that one", async () => {
    await sql("create database mlflow_vps_rehearsal");
    expect(await deployment.upFails()).toMatch(
      /database mlflow_vps_rehearsal.* was not made by this program\. Nothing was changed/,
    );
    await sql("drop database mlflow_vps_rehearsal"); // still there
    await untouched();
  });

  it("is left as it is when others use its database too", async () => {
    await guest.start("cd /tmp; exec runuser -u postgres -- psql -d mlflow_db -c 'select pg_sleep(600)'");
    const refusal = await deployment.upFails();
    await sql(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'mlflow_db' and usename = 'postgres'",
    );
    expect(refusal).toMatch(
      /database mlflow_db is in use by others than mlflow-tracking\.service: postgres \(psql\)/,
    );
    await until(async () => (await oldStatus()) === 200, "the unmanaged server", 120);
    await untouched();
  });

  it("is left as it is when its database cannot be dumped", async () => {
    await guest.run(
      "rm -rf /var/backups/mlflow-vps; mkdir -p /var/backups; echo in the way >/var/backups/mlflow-vps",
    );
    expect(await deployment.upFails()).toMatch(/the database could not be dumped, so it was not changed/);
    await guest.run("rm /var/backups/mlflow-vps");
    await until(async () => (await oldStatus()) === 200, "the unmanaged server", 120);
    await untouched();
  });

  it("is left as it is when another database has the name that it would get", async () => {
    await sql("create database mlflow");
    await sql("create table theirs (id int)", "mlflow");
    expect(await deployment.upFails()).toMatch(/mlflow_db cannot be renamed to mlflow.*set database\.name/);
    await untouched();
    await sql("drop database mlflow");
  });

  it("is left as it is when its artifacts are on another file system", async () => {
    // A bind mount has the device of the other, and yet nothing can be renamed into it.
    await guest.run("mkdir -p /srv/disk /srv/volume; mount --bind /srv/disk /srv/volume");
    deployment.config = { ...deployment.config, "artifacts.directory": "/srv/volume/artifacts" };
    expect(await deployment.upFails()).toMatch(
      /artifacts in \/home\/deploy\/mlruns are on another file system/,
    );
    deployment.config = { ...deployment.config, "artifacts.directory": undefined };
    await guest.run("umount /srv/volume");
    await untouched();
  });

  it("is left as it is when its site serves other programs too", async () => {
    const other = "location /other/ { proxy_pass http://localhost/; }";
    await guest.run(`sed -i 's|server_name _;|&\\n    ${other}|' ${made.site}`);
    expect(await deployment.upFails()).toMatch(/its site .* serves other programs too/);
    await guest.run(`sed -i '/location .other/d' ${made.site}`);
    await untouched();
  });

  it("is named by the check", async () => {
    expect(await deployment.drift()).toContain(
      "mlflow-tracking.service, an unmanaged MLflow server, is to be adopted",
    );
  });

  it("is adopted, in place: database, artifacts, model registry", async () => {
    const { output, seconds } = await takeOver();
    console.log(
      `adopting an unmanaged server: ${seconds.toFixed(1)} s from its last answer to the first of the new`,
    );
    expect(output).toContain(
      "adopting mlflow-tracking.service: database mlflow_db, artifacts /home/deploy/mlruns",
    );
    expect(output).not.toContain("by-hand-4711");
    expect(await logged()).toBe(allOfIt);
    expect(await identity("/var/lib/mlflow/artifacts", "mlflow")).toBe(before);
    expect(await deployment.drift()).toEqual([]);
  });

  it("is switched off, and its files stay", async () => {
    expect(await state(made.unit)).toBe("inactive disabled");
    expect(await oldStatus()).toBe(308); // to TLS
    await guest.run(
      `cat /etc/systemd/system/${made.unit} ${made.site} /etc/nginx/.htpasswd ${tools}/mlflow; ls /home/deploy/mlruns/`,
    );
    expect(await guest.run("ls /etc/nginx/sites-enabled")).toBe("mlflow-vps");
    expect(
      await guest.run(
        "PGPASSWORD=by-hand-4711 psql -w -h localhost -U mlflow_user -d mlflow -c 'select 1' 2>&1 || true",
      ),
    ).toMatch(/rejects connection|no pg_hba.conf entry/);
  });

  it("is nothing to do any more, also after a reboot", async () => {
    await guest.reboot();
    await until(newAnswers, "an answer after the reboot");
    expect(await deployment.up()).toBe("");
    expect(await logged()).toBe(allOfIt);
  });
});

describe("the way back, as the README says", () => {
  it("brings the unmanaged server back, with the data of before", async () => {
    await deployment.destroy();
    await guest.run(`cd /tmp && runuser -u postgres -- psql -c 'drop database if exists mlflow_db' -c 'create database mlflow_db owner mlflow_user template template0'
      runuser -u postgres -- pg_restore --exit-on-error -d mlflow_db <$(ls /var/backups/mlflow-vps/*-before-adoption.dump)
      rm /home/deploy/mlruns && mv /var/lib/mlflow/artifacts /home/deploy/mlruns && chown -R deploy: /home/deploy/mlruns
      ln -s ../sites-available/mlflow /etc/nginx/sites-enabled/ && systemctl reload nginx
      systemctl enable --now mlflow-tracking`);
    await until(async () => (await oldStatus()) === 200, "the unmanaged server", 120);
    const found = await asDeploy(`MLFLOW_TRACKING_URI=http://127.0.0.1:8000 ${tools}/python -W ignore -c '
import mlflow
for run in sorted(mlflow.search_runs(experiment_names=["By hand"], output_format="list"), key=lambda run: run.info.run_name):
    print(mlflow.artifacts.load_text(run.info.artifact_uri + "/model/notes.txt"))'`);
    expect(found).toBe("content of one\ncontent of two");
  });
});

describe("an unmanaged server, with our names and artifacts that it serves itself", () => {
  const made: Made = {
    unit: "mlflow.service",
    unitText: `[Service]
User=deploy
WorkingDirectory=/home/deploy
EnvironmentFile=/home/deploy/mlflow.env
ExecStart=${tools}/mlflow server \\
  --backend-store-uri \${STORE} \\
  --port=5000

[Install]
WantedBy=multi-user.target`,
    database: "mlflow",
    role: "mlflow",
    port: 5000,
    site: "/etc/nginx/conf.d/mlflow.conf",
  };

  beforeAll(async () => {
    await guest.run(`systemctl disable --now mlflow-tracking; rm -r /home/deploy/mlruns /etc/nginx/sites-enabled/mlflow
      cd /tmp; runuser -u postgres -- psql -c 'drop database mlflow' -c 'drop database mlflow_db' -c 'drop role mlflow'`);
    await asDeploy(
      "umask 077; echo STORE=postgresql://mlflow:by-hand-4711@127.0.0.1:5432/mlflow >/home/deploy/mlflow.env",
    );
    await makeByHand(made);
  });

  it("is adopted by the next up when the first is killed in the middle", async () => {
    const hold = await guest.hold("/usr/bin/ln", "adoption"); // once the artifacts have moved
    const up = deployment.start();
    await hold.reached();
    await up.kill();
    await guest.run("pkill -KILL --full '[b]ash -s apply'; test -d /var/lib/mlflow/artifacts");
    await hold.end();
    expect(await deployment.drift()).toContain("the adoption of mlflow.service was interrupted");
    expect(await deployment.up()).toContain("resuming the adoption of mlflow.service");
    expect(await logged()).toBe(allOfIt);
    expect(await state(made.unit)).toBe("inactive disabled");
    expect(await guest.run("ls /etc/nginx/conf.d; ls /etc/nginx/sites-available/mlflow.conf")).toBe(
      "/etc/nginx/sites-available/mlflow.conf",
    );
    expect(await deployment.drift()).toEqual([]);
  });

  it("that somebody switches on again is named and switched off again", async () => {
    await guest.run(
      "systemctl enable mlflow.service; mv /etc/nginx/sites-available/mlflow.conf /etc/nginx/conf.d/",
    );
    expect(await deployment.drift()).toContain(
      "mlflow.service, an unmanaged MLflow server, is to be adopted",
    );
    await deployment.up();
    expect(await state(made.unit)).toBe("inactive disabled");
    expect(await guest.run("ls /etc/nginx/conf.d")).toBe("");
    expect(await logged()).toBe(allOfIt);
  });

  it("beside ours, with a database of its own, is left alone", async () => {
    await sql("create database other");
    await guest.run(`sed -i 's|^STORE=.*|STORE=postgresql://postgres@127.0.0.1/other|' /home/deploy/mlflow.env
      sed -i 's/5000/9000/' /etc/systemd/system/mlflow.service; systemctl daemon-reload; systemctl enable mlflow.service`);
    // The database step gets out of the way of the other database, once; nobody touches the other server.
    expect(await deployment.drift()).toEqual([
      expect.stringContaining("sets listen_addresses for other databases too (other)"),
    ]);
    expect(await deployment.up()).not.toContain("adoption");
    expect(await deployment.drift()).toEqual([]);
    expect(await state("mlflow.service")).toBe("inactive enabled");
  });
});

describe("an unmanaged server whose data are not in PostgreSQL here", () => {
  beforeAll(async () => {
    await deployment.destroy();
    await sql("drop database mlflow");
  });

  it.each([
    [
      "of another host",
      "postgresql://mlflow:x@db.example.org/mlflow",
      /not in PostgreSQL on port 5432 of this host/,
    ],
    [
      "of another host, named at the end",
      "postgresql:///mlflow?host=db.example.org",
      /not in PostgreSQL on port/,
    ],
    ["that is not there", "postgresql://mlflow:x@localhost/gone", /there is no database gone/],
  ])("but in a database %s is not adopted", async (_, store, cause) => {
    await guest.run(`sed -i 's|^STORE=.*|STORE=${store}|' /home/deploy/mlflow.env`);
    expect(await deployment.upFails()).toMatch(cause);
  });

  it("is not adopted when it serves artifacts of another host", async () => {
    await sql("create database theirs");
    await guest.run(`sed -i 's|^STORE=.*|STORE=postgresql://postgres@localhost/theirs|' /home/deploy/mlflow.env
      echo MLFLOW_ARTIFACTS_DESTINATION=s3://bucket/artifacts >>/home/deploy/mlflow.env`);
    expect(await deployment.upFails()).toMatch(/it serves artifacts that are in s3, not on this host/);
    await guest.run("sed -i /MLFLOW_ARTIFACTS_DESTINATION/d /home/deploy/mlflow.env");
  });

  it("is not adopted, and the refusal says what to do", async () => {
    await guest.run("sed -i 's|^STORE=.*|STORE=sqlite:////home/deploy/mlflow.db|' /home/deploy/mlflow.env");
    const refusal = await deployment.upFails();
    expect(refusal).toMatch(
      /mlflow\.service .*not in PostgreSQL[\s\S]*'sqlite:'[\s\S]*Nothing was changed\. .*'systemctl disable --now mlflow\.service'/,
    );
    await guest.run("systemctl disable --now mlflow.service");
    await deployment.up();
    expect(await deployment.drift()).toEqual([]);
  });
});
