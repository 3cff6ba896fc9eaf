import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { client, Deployment, Guest, searchExperiments, send, until } from "./harness";
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
    ls /etc/mlflow-vps | grep -E 'rehearsal' || true
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
      "grep -q 3.17.2 /etc/mlflow-vps/mlflow-$(sed -n 's/.*:\\([0-9]*\\);/\\1/p' /etc/mlflow-vps/upstream.conf).env",
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
    set({ "service.workers": 2, "service.jobs": true });
    await unnoticed("a change of workers and of the job runner", () => deployment.up());
    set({ "service.workers": undefined, "service.jobs": undefined });
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
    ["the unit", "sed -i s/RestartSec=2/RestartSec=99/ /etc/systemd/system/mlflow@.service"],
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
    await unnoticed(`healing ${what}`, () => deployment.up());
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
      runuser -u postgres -- pg_restore --no-owner --role mlflow --exit-on-error -d mlflow <$(ls /var/backups/mlflow-vps/*before-3.17.2.dump)`);
    await deployment.up();
    expect(await version()).toBe("3.16.1");
    expect(await data()).toBe(before);
    expect(await deployment.drift()).toEqual([]);
  });
});
