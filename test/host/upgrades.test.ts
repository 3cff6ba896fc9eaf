import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { client, Deployment, Guest, send, until } from "./harness";
import { runServer, withLauncher } from "./launcher";
import { UnderLoad } from "./underLoad";

/**
 * Upgrades while clients send without a pause: none of their requests fails. The server begins with MLflow 2 and data in
 * it, and is upgraded twice; each stage of an upgrade is made to fail once.
 */
const guest = new Guest("test-upgrades");
const deployment = new Deployment(guest, { users: ["grace"], "mlflow.version": "2.22.2" });

const uri = () => deployment.outputs.trackingUri;
const set = (config: Record<string, unknown>) => {
  deployment.config = { ...deployment.config, ...config };
};
const version = async () =>
  (await send(`${uri()}/version`, { user: "grace", password: deployment.outputs.users.grace })).body;

/** Everything that an upgrade makes and must not leave behind when it fails. */
const leftovers = () =>
  guest.run(`
    cd /tmp; runuser -u postgres -- psql -Atc "select datname from pg_database where datname like '%rehearsal%'"
    ls /etc/mlflow-vps /etc/systemd/system | grep rehearsal || true
    ls -d /var/lib/mlflow/tmp/rehearsal 2>/dev/null || true
    ls /var/backups/mlflow-vps/*.partial 2>/dev/null || true
    systemctl list-units --plain --no-legend 'mlflow@*' | tail -n +2`);
const dumps = () => guest.run("find /var/backups/mlflow-vps -name '*.dump' | wc -l");

const load = new UnderLoad(deployment);
let before = "";

beforeAll(async () => {
  await deployment.serve();
  before = await load.logData();
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
  let message = "";
  const report = await load
    .during(async () => {
      message = await deployment.upFails();
    })
    .finally(repair);
  expect(message).toMatch(cause);
  await load.expectNothingLost(`an upgrade that fails (${cause.source})`, report);
  expect(await guest.service()).toBe(running);
  expect(await version()).toBe("2.22.2");
  expect(await leftovers()).toBe("");
  expect(await load.data()).toBe(before);
}

describe("an upgrade that fails", () => {
  const schema = () => load.sql("select version_num from alembic_version");
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
    await failsUnnoticed(/FAILED: copying database mlflow into/, () =>
      guest.run("mv /usr/bin/pg_restore.away /usr/bin/pg_restore"),
    );
    expect(await schema()).toBe(old);
  });

  it("while the copy is migrated, leaves the old release serving", async () => {
    // A table that a migration is about to make.
    await load.sql("create table logged_models (id int); alter table logged_models owner to mlflow");
    await failsUnnoticed(/FAILED: rehearsing the migration[\s\S]*logged_models/, () =>
      load.sql("drop table logged_models"),
    );
    expect(await schema()).toBe(old);
  });

  it("in the smoke test on the copy, leaves the old release serving", async () => {
    // Refuses only what the smoke test writes, and only in the copy.
    await load.sql(`create function refuse() returns trigger language plpgsql as
      $$ begin if current_database() <> 'mlflow' then raise 'refused for the test'; end if; return new; end $$;
      create trigger refuse before insert on params for each row execute function refuse()`);
    await failsUnnoticed(/FAILED: trying MLflow 3\.16\.1 on the copy/, () =>
      load.sql("drop trigger refuse on params; drop function refuse()"),
    );
    expect(await schema()).toBe(old);
    expect(await dumps()).toBe("0");
  });

  it("with other settings too, leaves the old ones to the old release, also for its next start", async () => {
    set({ "artifacts.directory": "/srv/mlflow/artifacts" });
    await guest.run("mv /usr/bin/pg_restore /usr/bin/pg_restore.away");
    await failsUnnoticed(/FAILED: copying database mlflow into/, () =>
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
      /could not be dumped, so it was not changed: .*No space left on device/s,
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
    await failsUnnoticed(/FAILED: migrating the database; it is unchanged: .*refused for the test/, () =>
      load.sql("drop event trigger refuse; drop function refuse()"),
    );
    expect(await schema()).toBe(old);
    expect(await dumps()).toBe("1");
  });

  it("when the new service does not start, leaves the old one serving on the migrated database", async () => {
    const uvicorn = await guest.run("ls -d /opt/mlflow/releases/3.16.1-*/lib/python3*/site-packages/uvicorn");
    await guest.start(`
      until runuser -u postgres -- psql -d mlflow -Atc 'select version_num from alembic_version' | grep -qv ${old}; do sleep 0.05; done
      mv ${uvicorn} ${uvicorn}.away`);
    await failsUnnoticed(/No module named 'uvicorn'[\s\S]*does not answer on 127\.0\.0\.1/, () =>
      guest.run(`mv ${uvicorn}.away ${uvicorn}`),
    );
    expect(await schema()).not.toBe(old);
  });
});

describe("no request fails", () => {
  it("when the upgrade goes through at last", async () => {
    await load.unnoticed("an upgrade of the release alone", () => deployment.up());
    expect(await version()).toBe("3.16.1");
    expect(await load.data()).toBe(before);
  });

  it.each([
    // The copy is migrated, the new release starts on it.
    [
      "while it is rehearsed",
      "schema",
      "/usr/bin/curl",
      "[[ -e /etc/mlflow-vps/pgpass-rehearsal ]]",
      "3.16.1",
    ],
    ["when the database was dumped", "schema", "/usr/bin/sync", "true", "3.16.1"],
    // nginx has been led to the new release (its reload is over), and the old one answers its last requests.
    [
      "while the old release is drained",
      "service",
      "/usr/bin/awk",
      "[[ ! -e /run/mlflow-vps/drain ]] && grep -q 3.17.2 /etc/mlflow-vps/mlflow-$(sed -n 's/.*:\\([0-9]*\\) max_fails=0;/\\1/p' /etc/mlflow-vps/upstream.conf).env",
      "3.17.2",
    ],
  ])("during an upgrade that is killed %s", async (what, step, program, when, served) => {
    set({ "mlflow.version": "3.17.2" });
    const hold = await guest.hold(program, step, when);
    const report = await load.during(async () => {
      const up = deployment.start();
      await hold.reached();
      await up.kill();
      await hold.kill();
      await hold.end();
    });
    await load.expectNothingLost(`an upgrade that is killed ${what}`, report);
    expect(await version()).toBe(served);
    expect(await deployment.drift()).not.toEqual([]);
  });

  it("during an upgrade with its migration, which goes on where it was killed", async () => {
    await load.unnoticed("an upgrade from 3.16.1 to 3.17.2", () => deployment.up());
    expect(await version()).toBe("3.17.2");
    expect(await load.data()).toBe(before);
    expect(await guest.run("ls /opt/mlflow/releases | cut -d - -f 1 | paste -sd ' '")).toBe("3.16.1 3.17.2");
    expect(await dumps()).toBe("2");
    expect(await leftovers()).toBe("");
  });
});

describe("each release of MLflow 3", () => {
  const describing = `import json
from mlflow.server import app as flask
from mlflow.server.fastapi_app import app
print("application", json.dumps([
    sorted(f"{rule} {sorted(rule.methods)} {rule.endpoint}" for rule in flask.url_map.iter_rules()),
    [each.__name__ for each in flask.before_request_funcs[None] + flask.after_request_funcs.get(None, [])],
    sorted(f"{getattr(route, 'path', '')} {sorted(getattr(route, 'methods', None) or [])}" for route in app.routes),
    [each.cls.__name__ for each in app.user_middleware],
]))`;
  const settings = { MLFLOW_BACKEND_STORE_URI: "sqlite:///described.db", MLFLOW_WORKERS: "1" };

  it("serves the same application as when MLflow starts its web server itself", async () => {
    const releases = (await guest.run("ls -d /opt/mlflow/releases/3.*")).split("\n");
    expect(releases).toHaveLength(2);
    for (const release of releases) {
      const described = async (lines: string) => {
        const program = withLauncher(
          release,
          `description = ${JSON.stringify(describing)}
${lines}
${runServer}`,
          settings,
        );
        const output = await guest.run(`rm -f /var/lib/mlflow/tmp/described.db; ${program} 2>&1`);
        return JSON.parse(/^application (.*)$/m.exec(output)?.[1] ?? "null");
      };
      const here = await described("serve.ThisProcess.wait = lambda self: exec(description)");
      const itself = await described(`exec_cmd = serve.exec_cmd
serve.reason_against = lambda command, variables: "for comparison"
serve.exec_cmd = lambda command, **options: exec_cmd([sys.executable, "-c", "import uvicorn.main\\n" + description], **options)`);
      expect(here).toEqual(itself);
      expect(here[0].length).toBeGreaterThan(100);
    }
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
    expect(await load.data()).toBe(before);
    expect(await deployment.drift()).toEqual([]);
  });
});
