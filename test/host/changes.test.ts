import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { client, Deployment, Guest, open, searchExperiments, send, until } from "./harness";
import { Load, type Report } from "./load";

/**
 * Changes while clients send without a pause: none of their requests fails. The server begins with MLflow 2 and data in
 * it, and is upgraded twice; each stage of an upgrade is made to fail once.
 */
const guest = new Guest("test-changes");
const deployment = new Deployment(guest, { users: ["ada", "grace"], "mlflow.version": "2.22.2" });

const uri = () => deployment.outputs.trackingUri;
const password = (user: string) => deployment.outputs.users[user] ?? "";
const set = (config: Record<string, unknown>) => {
  deployment.config = { ...deployment.config, ...config };
};
const version = async () =>
  (await send(`${uri()}/version`, { user: "grace", password: password("grace") })).body;

/** Names, parameters, metrics and artifacts of everything that the fixture logged, as a client gets them. */
const data = () =>
  client(deployment, [
    "-c",
    `
import mlflow
client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name("Before")
for run in sorted(client.search_runs([experiment.experiment_id], run_view_type=3), key=lambda run: run.info.run_name):
    history = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")]
    texts = [mlflow.artifacts.load_text(run.info.artifact_uri + "/" + f.path) for f in client.list_artifacts(run.info.run_id)]
    print(run.info.run_name, run.info.lifecycle_stage, run.data.params, history, run.data.tags.get("colour"), texts)`,
  ]);

/** No request of clients that send all the time fails during a change, and the check finds nothing afterwards. */
async function unnoticed(what: string, change: () => Promise<unknown>): Promise<void> {
  const load = new Load({ uri: uri(), user: "grace", password: password("grace") });
  await expectNothingLost(what, await load.during(change));
  expect(await deployment.drift()).toEqual([]);
}

/** Every request was answered, and every acknowledged metric is in the database. */
async function expectNothingLost(what: string, report: Report): Promise<void> {
  const { sent, perSecond, failed, runId, logged } = report;
  console.log(
    [`${what}: ${sent} requests sent, ${failed.length} failed, ${perSecond.toFixed()}/s`, ...failed].join(
      "\n",
    ),
  );
  expect(failed).toEqual([]);
  expect(perSecond).toBeGreaterThan(20);
  expect(logged).toBeGreaterThan(0);
  expect(await sql(`select count(*) from metrics where run_uuid = '${runId}'`)).toBe(String(logged));
}

/** Everything that an upgrade makes and must not leave behind when it fails. */
const leftovers = () =>
  guest.run(`
    cd /tmp; runuser -u postgres -- psql -Atc "select datname from pg_database where datname like '%rehearsal%'"
    ls /etc/mlflow-vps /etc/systemd/system | grep rehearsal || true
    ls -d /var/lib/mlflow/tmp/rehearsal 2>/dev/null || true
    ls /var/backups/mlflow-vps/*.partial 2>/dev/null || true
    systemctl list-units --plain --no-legend 'mlflow@*' | tail -n +2`);
const sql = (statement: string) =>
  guest.run(`cd /tmp; runuser -u postgres -- psql -d mlflow -Atv ON_ERROR_STOP=1 <<'SQL'\n${statement}\nSQL`);
const dumps = () => guest.run("find /var/backups/mlflow-vps -name '*.dump' | wc -l");

let before = "";

beforeAll(async () => {
  await guest.down();
  await guest.up();
  await deployment.up();
  await client(deployment, [
    "-c",
    `
import mlflow
mlflow.set_experiment("Before")
for name in ["one", "two", "deleted"]:
    with mlflow.start_run(run_name=name) as run:
        mlflow.log_param("depth", 3)
        mlflow.set_tag("colour", "green")
        for step in range(20):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_text("content of " + name, "notes.txt")
mlflow.delete_run(run.info.run_id)`,
  ]);
  before = await data();
});
afterAll(() => guest.down());

describe("MLflow 2", () => {
  it("serves, with data in it", async () => {
    expect(await version()).toBe("2.22.2");
    expect(before).toMatch(
      /^deleted deleted \{'depth': '3'\} \[\(0, 1\.0\).*green \['content of deleted'\]$/m,
    );
    expect(before.trim().split("\n")).toHaveLength(3);
    expect(await deployment.drift()).toEqual([]);
  });
});

/**
 * Ends with the old release serving, what clients wrote in the meantime, and nothing left behind; `cause` is told. What
 * made it fail is repaired in any case, for the tests that come.
 */
async function failsUnnoticed(cause: RegExp, repair: () => Promise<unknown>): Promise<void> {
  const running = await guest.service();
  const load = new Load({ uri: uri(), user: "grace", password: password("grace") });
  let message = "";
  const report = await load
    .during(async () => {
      message = await deployment.upFails();
    })
    .finally(repair);
  expect(message).toMatch(cause);
  await expectNothingLost(`an upgrade that fails (${cause.source})`, report);
  expect(await guest.service()).toBe(running);
  expect(await version()).toBe("2.22.2");
  expect(await leftovers()).toBe("");
  expect(await data()).toBe(before);
}

describe("an upgrade that fails", () => {
  const schema = () => sql("select version_num from alembic_version");
  let old = "";
  beforeAll(async () => {
    old = await schema();
    set({ "mlflow.version": "3.16.1" });
  });

  it("for the disk has no room for copy and dump, starts nothing", async () => {
    await guest.run(
      "mkdir -p /var/backups/mlflow-vps && mount -t tmpfs -o size=20m tmpfs /var/backups/mlflow-vps",
    );
    await failsUnnoticed(
      /needs a copy and a dump of the database, nothing was changed:\n.*backups.* MB free/,
      () => guest.run("umount /var/backups/mlflow-vps"),
    );
    expect(await schema()).toBe(old);
  });

  it("while the database is copied, leaves the old release serving", async () => {
    await guest.run("mv /usr/bin/pg_restore /usr/bin/pg_restore.away");
    await failsUnnoticed(/FAILED: copying the database/, () =>
      guest.run("mv /usr/bin/pg_restore.away /usr/bin/pg_restore"),
    );
    expect(await schema()).toBe(old);
  });

  it("while the copy is migrated, leaves the old release serving", async () => {
    // A table that a migration is about to make.
    await sql("create table logged_models (id int); alter table logged_models owner to mlflow");
    await failsUnnoticed(/FAILED: rehearsing the migration[\s\S]*logged_models/, () =>
      sql("drop table logged_models"),
    );
    expect(await schema()).toBe(old);
  });

  it("in the smoke test on the copy, leaves the old release serving", async () => {
    // Refuses only what the smoke test writes, and only in the copy.
    await sql(`create function refuse() returns trigger language plpgsql as
      $$ begin if current_database() <> 'mlflow' then raise 'refused for the test'; end if; return new; end $$;
      create trigger refuse before insert on params for each row execute function refuse()`);
    await failsUnnoticed(/FAILED: trying MLflow 3\.16\.1 on the copy/, () =>
      sql("drop trigger refuse on params; drop function refuse()"),
    );
    expect(await schema()).toBe(old);
    expect(await dumps()).toBe("0");
  });

  it("with other settings too, leaves the old ones to the old release, also for its next start", async () => {
    set({ "artifacts.directory": "/srv/mlflow/artifacts" });
    await guest.run("mv /usr/bin/pg_restore /usr/bin/pg_restore.away");
    await failsUnnoticed(/FAILED: copying the database/, () =>
      guest.run("mv /usr/bin/pg_restore.away /usr/bin/pg_restore"),
    );
    await guest.reboot();
    await until(async () => (await version()) === "2.22.2", "the old release after the reboot");
    await client(deployment, [
      "-c",
      "import mlflow; mlflow.set_experiment('Rebooted'); mlflow.log_text('x', 'rebooted.txt')",
    ]);
    expect(await guest.run("find /var/lib/mlflow/artifacts -name rebooted.txt")).not.toBe("");
    set({ "artifacts.directory": undefined });
  });

  it("for the disk is full while dumping, leaves the database as it was", async () => {
    // Room enough at first; filled up while the migration is rehearsed.
    await guest.run("mount -t tmpfs -o size=400m,mode=700 tmpfs /var/backups/mlflow-vps");
    await guest.start(`
      until [[ -e /etc/mlflow-vps/pgpass-rehearsal ]]; do sleep 0.05; done
      cat /dev/zero >/var/backups/mlflow-vps/full`);
    let kept = "";
    await failsUnnoticed(
      /could not be dumped, so it was left as it is: .*No space left on device/s,
      async () => {
        kept = await guest.run("ls /var/backups/mlflow-vps");
        await guest.run("umount /var/backups/mlflow-vps");
      },
    );
    expect(kept).toBe("full");
    expect(await schema()).toBe(old);
  });

  it("while the live database is migrated, leaves it as it was", async () => {
    // Refuses a command of the migration, once the dump is there.
    await guest.start(`cd /tmp
      until ls /var/backups/mlflow-vps/*.dump; do sleep 0.05; done
      runuser -u postgres -- psql -d mlflow <<'SQL'
create function refuse() returns event_trigger language plpgsql as $$ begin raise 'refused for the test'; end $$;
create event trigger refuse on ddl_command_start when tag in ('CREATE TABLE') execute function refuse();
SQL`);
    await failsUnnoticed(/FAILED: migrating the database; it is as it was: .*refused for the test/, () =>
      sql("drop event trigger refuse; drop function refuse()"),
    );
    expect(await schema()).toBe(old);
    expect(await dumps()).toBe("1");
  });

  it("when the new service does not start, leaves the old one serving on the migrated database", async () => {
    await guest.start(`
      until runuser -u postgres -- psql -d mlflow -Atc 'select version_num from alembic_version' | grep -qv ${old}; do sleep 0.05; done
      chmod -x /opt/mlflow/releases/3.16.1-*/bin/mlflow`);
    await failsUnnoticed(/does not answer on 127\.0\.0\.1/, () =>
      guest.run("chmod +x /opt/mlflow/releases/3.16.1-*/bin/mlflow"),
    );
    expect(await schema()).not.toBe(old);
  });
});

/** Has instances that start from now on know a job that takes its time, one at a time, and tells in a file what it does. */
const offerSlowJob = () =>
  guest.run(`mkdir -p /opt/jobs /etc/systemd/system/mlflow@.service.d
    cat >/opt/jobs/slow_job.py <<'PYTHON'
import time
from mlflow.server.jobs import job

@job(name="slow", max_workers=1)
def slow(name, seconds):
    with open("/var/lib/mlflow/jobs.txt", "a", buffering=1) as trace:
        print("begin", name, file=trace)
        time.sleep(seconds)
        print("end", name, file=trace)
PYTHON
    cat >/etc/systemd/system/mlflow@.service.d/jobs.conf <<'UNIT'
[Service]
Environment=PYTHONPATH=/opt/jobs _MLFLOW_SUPPORTED_JOB_FUNCTION_LIST=slow_job.slow _MLFLOW_ALLOWED_JOB_NAME_LIST=slow
UNIT`);
const submit = async (name: string, seconds: number) => {
  const port = (await guest.service()).replace(/\D/g, "");
  await guest.run(`curl -sf -H 'Content-Type: application/json' http://127.0.0.1:${port}/ajax-api/3.0/jobs/ \
    -d '${JSON.stringify({ job_name: "slow", params: { name, seconds } })}'`);
};
const jobTrace = () => guest.run("paste -sd , /var/lib/mlflow/jobs.txt | sed 's/,/, /g'");

describe("no request fails", () => {
  it("when the upgrade goes through at last", async () => {
    await unnoticed("an upgrade of the release alone", () => deployment.up());
    expect(await version()).toBe("3.16.1");
    expect(await data()).toBe(before);
  });

  it.each([
    // The copy is migrated, the new release starts on it.
    ["while it is rehearsed", "/usr/bin/curl", "[[ -e /etc/mlflow-vps/pgpass-rehearsal ]]", "3.16.1"],
    ["when the database was dumped", "/usr/bin/sync", "true", "3.16.1"],
    // nginx is led to the new release already, and the old one answers its last requests.
    [
      "while the old release is drained",
      "/usr/bin/awk",
      "grep -q 3.17.2 /etc/mlflow-vps/mlflow-$(sed -n 's/.*:\\([0-9]*\\) max_fails=0;/\\1/p' /etc/mlflow-vps/upstream.conf).env",
      "3.17.2",
    ],
  ])("during an upgrade that is killed %s", async (what, program, when, served) => {
    set({ "mlflow.version": "3.17.2" });
    const hold = await guest.hold(program, "service", when);
    const load = new Load({ uri: uri(), user: "grace", password: password("grace") });
    const report = await load.during(async () => {
      const up = deployment.start();
      await hold.reached();
      await up.kill();
      await hold.kill();
      await hold.end();
    });
    await expectNothingLost(`an upgrade that is killed ${what}`, report);
    expect(await version()).toBe(served);
    expect(await deployment.drift()).not.toEqual([]);
  });

  it("during an upgrade with its migration, which goes on where it was killed", async () => {
    await unnoticed("an upgrade from 3.16.1 to 3.17.2", () => deployment.up());
    expect(await version()).toBe("3.17.2");
    expect(await data()).toBe(before);
    expect(await guest.run("ls /opt/mlflow/releases | cut -d - -f 1 | paste -sd ' '")).toBe("3.16.1 3.17.2");
    expect(await dumps()).toBe("2");
    expect(await leftovers()).toBe("");
  });

  it("during an up with nothing to do", async () => {
    await unnoticed("an up with nothing to do", async () => expect(await deployment.up()).toBe(""));
  });

  it("during a rotation of the database's password", async () => {
    set({ "rotation.database": 2 });
    await unnoticed("a rotation of the database's password", () => deployment.up());
  });

  it("during a rotation of a user's password, but for that user's own old one", async () => {
    const { ada } = deployment.outputs.users;
    set({ "rotation.users.ada": 2 });
    await unnoticed("a rotation of a user's password", () => deployment.up());
    expect((await searchExperiments(uri(), "ada", ada)).status).toBe(401);
    expect((await searchExperiments(uri(), "ada", password("ada"))).status).toBe(200);
  });

  it("during a change of workers and of the job runner", async () => {
    await offerSlowJob();
    set({ "service.workers": 2, "service.jobs": true });
    await unnoticed("a change of workers and of the job runner", () => deployment.up());
  });

  it("and a job that runs or waits meanwhile runs once", async () => {
    await submit("one", 12);
    await submit("two", 12);
    await until(async () => (await jobTrace()) === "begin one", "the first job");
    set({ "service.workers": undefined });
    await unnoticed("a change of workers with jobs under way", () => deployment.up());
    // By now the job runner that was halted works.
    await submit("three", 0);
    await until(async () => (await jobTrace()).endsWith("end three"), "the last job", 120);
    expect(await jobTrace()).toBe("begin one, end one, begin two, end two, begin three, end three");
    set({ "service.jobs": undefined });
    await unnoticed("and back", () => deployment.up());
  });

  it("during a change of the service's ports", async () => {
    set({ "service.port": 5001 });
    await unnoticed("a change of ports", () => deployment.up());
    set({ "service.port": 6000 });
    await unnoticed("and to others", () => deployment.up());
    expect(await guest.service()).toMatch(/^mlflow@600[01]\.service$/);
  });

  it("during the renewal of the certificate", async () => {
    deployment.forget("mlflow-authority-server-certificate");
    await unnoticed("a renewed certificate", () => deployment.up());
  });

  it.each([
    ["the unit", "sed -i s/RestartSec=2/RestartSec=99/ /etc/systemd/system/mlflow@*.service"],
    ["the environment file", "rm /etc/mlflow-vps/mlflow-*.env"],
    ["the site", "sed -i s/64m/1m/ /etc/nginx/sites-available/mlflow-vps"],
    ["what tells nginx the instance", "echo 'server 127.0.0.1:1;' >/etc/mlflow-vps/upstream.conf"],
    [
      "the release",
      "rm -r /opt/mlflow/releases/3.17.2-*/lib/python3*/site-packages/mlflow/assistant* /opt/mlflow/releases/3.17.2-*/.contents",
    ],
  ])("while %s is healed", async (what, damage) => {
    await guest.run(damage);
    expect(await deployment.drift()).not.toEqual([]);
    const serving = await guest.service();
    await unnoticed(`healing ${what}`, () => deployment.up());
    if (what === "the release") {
      expect(await guest.service()).not.toBe(serving); // the code that runs is that on the disk
    }
  });

  /** A request that comes slowly: its first part is sent, and a piece every few seconds until it is told to end. */
  function slowRequest(method: string, path: string, type: string, body: string) {
    const outgoing = open(`${uri()}${path}`, {
      method,
      auth: `grace:${password("grace")}`,
      headers: { "Content-Type": type, "Content-Length": body.length },
    });
    let sent = 0;
    const more = () => outgoing.write(body.slice(sent++, sent));
    more();
    const timer = setInterval(more, 5000);
    const answer = new Promise<number>((done) => {
      outgoing.on("response", (incoming) => done(incoming.statusCode ?? 0));
      outgoing.on("error", () => done(0));
    });
    return () => {
      clearInterval(timer);
      outgoing.end(body.slice(sent));
      return answer;
    };
  }

  it("that began before a change and ends after it; and a neighbour's does not hold the change up", async () => {
    await guest.run(`mkdir -p /srv/slow; head -c 1M /dev/zero >/srv/slow/file
      printf 'server { listen 8088; root /srv/slow; limit_rate 100; }' >/etc/nginx/sites-enabled/slow; systemctl reload nginx`);
    await guest.start("exec curl --silent --output /dev/null http://127.0.0.1:8088/file");
    const serving = await guest.service();
    // Read whole by nginx before it chooses the instance, which is gone then.
    const request = slowRequest(
      "POST",
      "/api/2.0/mlflow/experiments/search",
      "application/json",
      `{"max_results": 1}${" ".repeat(1000)}`,
    );
    await guest.run("echo '# x' >>$(ls /etc/mlflow-vps/mlflow-*.env)");
    const begun = Date.now();
    await deployment.up();
    expect(Date.now() - begun).toBeLessThan(200_000); // and not 10 minutes
    expect(await guest.service()).not.toBe(serving);
    expect(await request()).toBe(200);
    await guest.run("pkill curl; rm /etc/nginx/sites-enabled/slow; systemctl reload nginx");
  });

  it("that takes longer than a change waits: the instance that answers it stays until then", async () => {
    const path = "/api/2.0/mlflow-artifacts/artifacts/0/slow/artifacts/slow.bin";
    const upload = slowRequest("PUT", path, "application/octet-stream", "slow".repeat(1000));
    const serving = await guest.service();
    await guest.run("echo '# x' >>$(ls /etc/mlflow-vps/mlflow-*.env)");
    writeFileSync(
      join(guest.directory, "root/root/service.sh"),
      deployment.script("mlflow-service-command").replace("drain_seconds=600", "drain_seconds=1"),
    );
    expect(await guest.run("bash /root/service.sh apply")).toContain(
      `${serving} still answers requests (1 open)`,
    );
    expect((await guest.service()).split("\n")).toHaveLength(2);
    expect(await deployment.drift()).toEqual([]);
    expect(await upload()).toBe(200);
    await until(
      async () =>
        (await deployment.drift()).includes(`${serving} runs or starts at boot, but nginx does not use it`),
      "the end of the upload seen by the check",
    );
    await deployment.up();
    expect(await guest.service()).not.toContain(serving);
    expect(await deployment.drift()).toEqual([]);
    const { body } = await send(`${uri()}${path}`, { user: "grace", password: password("grace") });
    expect(body).toBe("slow".repeat(1000));
  });
});

describe("after a reboot", () => {
  it("the right instance starts, alone", async () => {
    const serving = await guest.service();
    await guest.reboot();
    await until(
      async () => (await searchExperiments(uri(), "ada", password("ada"))).status === 200,
      "an answer after the reboot",
    );
    expect(await guest.service()).toBe(serving);
    expect(await deployment.drift()).toEqual([]);
    expect(await data()).toBe(before);
  });
});

describe("a downgrade", () => {
  it("is refused, with the reason and the way back", async () => {
    set({ "mlflow.version": "3.16.1" });
    const message = await deployment.upFails();
    expect(message).toMatch(
      /newer MLflow than 3\.16\.1[\s\S]*Nothing was changed[\s\S]*before-3\.17\.2\.dump/,
    );
    expect(await version()).toBe("3.17.2");
  });

  it("is possible by the dump, as the README says", async () => {
    await guest.run(`
      systemctl stop 'mlflow@*'
      cd /tmp && runuser -u postgres -- psql -c 'drop database mlflow' -c 'create database mlflow owner mlflow template template0 encoding UTF8'
      runuser -u postgres -- pg_restore --exit-on-error -d mlflow <$(ls /var/backups/mlflow-vps/*before-3.17.2.dump)`);
    await deployment.up();
    expect(await version()).toBe("3.16.1");
    expect(await data()).toBe(before);
    expect(await deployment.drift()).toEqual([]);
  });
});
