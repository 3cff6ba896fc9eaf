import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { passwordLine } from "../../components/data/database/database";
import { parts } from "../../components/step/library";
import { type Action, quote, renderScript } from "../../components/step/script";
import { bodyOf } from "../unit/stepScripts";
import { Guest } from "./harness";

/**
 * The database step by itself, on a host where PostgreSQL is used by others too: a second cluster of another major
 * version, databases of others beside ours, a login whose environment leads elsewhere.
 */
const guest = new Guest("test-neighbours");
const body = bodyOf("database");
const port = 5433;

interface Ended {
  readonly code: number;
  readonly output: string;
}

/** Runs the step the way a login with sudo does: what /etc/environment says is in its environment. */
async function step(
  action: Action,
  more = "",
  values: Record<string, string | boolean | number> = {},
): Promise<Ended> {
  const password = String(values.password ?? "first");
  const given = {
    stack: "mlflow-vps/neighbours",
    database: "mlflow",
    role: "mlflow",
    databasePort: port,
    databaseAddress: "127.0.0.1",
    clientAddress: "127.0.0.1",
    account: "mlflow",
    passwordFile: "/etc/mlflow-vps/pgpass",
    connections: 100,
    deleteData: false,
    password,
    passwordLine: passwordLine({ address: "127.0.0.1", port, name: "mlflow", role: "mlflow" }, password),
    ...values,
  };
  const script = renderScript("database", given, parts, `${body}\n${more}`);
  const output = await guest.run(
    `code=0; runuser -u deploy -- sudo -n bash -s ${action} <<<${quote(script)} 2>&1 || code=$?; echo "exit $code"`,
  );
  const lines = output.split("\n");
  return { code: Number(lines.pop()?.replace("exit ", "")), output: lines.join("\n") };
}

/** Statements by themselves, not by way of what is tested. */
const sql = (statement: string, database = "postgres", at = port, user = "postgres") =>
  guest.run(
    `cd /tmp; runuser -u postgres -- env PGUSER=${user} psql -XqAt -v ON_ERROR_STOP=1 -p ${at} -d ${database} -c ${quote(statement)}`,
  );
/** When a cluster was started, and when it last read its configuration. */
const moments = (at: number) => sql("select pg_postmaster_start_time(), pg_conf_load_time()", "postgres", at);
const started = (at: number) => sql("select pg_postmaster_start_time()", "postgres", at);
const databasesOf = (at: number) => sql("select datname from pg_database order by 1", "postgres", at);
const settingsFile = "/etc/postgresql/15/ours/conf.d/mlflow-vps.conf";
const accessFile = "/etc/postgresql/15/ours/pg_hba.conf";

beforeAll(async () => {
  await guest.up("--suite", "trixie");
  await guest.run(`
    mirror=$(awk '$1 == "deb" { print $2; exit }' /etc/apt/sources.list)
    echo "deb $mirror bookworm main" >/etc/apt/sources.list.d/bookworm.list
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq --no-install-recommends postgresql-17 >/dev/null
    apt-get install -qq --no-install-recommends postgresql-15 >/dev/null
    pg_createcluster 15 ours --port ${port} >/dev/null
    sed -i "s/^#listen_addresses.*/listen_addresses = '*'/; s/^#wal_level.*/wal_level = logical/" /etc/postgresql/1*/*/postgresql.conf
    systemctl start postgresql@15-ours
    printf '%s\\n' PGHOST=192.0.2.1 PGPORT=5432 PGUSER=nobody PGDATABASE=shop PGSERVICE=elsewhere PGCLUSTER=17/main \\
      'PGOPTIONS=-c search_path=nowhere' PGSSLMODE=verify-full >>/etc/environment
    echo '* * 17 main shop' >>/etc/postgresql-common/user_clusters
    echo '17 main shop' >/var/lib/postgresql/.postgresqlrc
    echo '\\echo said by psqlrc' >/var/lib/postgresql/.psqlrc
    chown postgres: /var/lib/postgresql/.p*rc`);
  await sql("create database shop", "postgres", 5432);
});
afterAll(() => guest.down());

describe("a second cluster of another version", () => {
  it("is neither told nor restarted, though the login's environment names it, and ours is", async () => {
    const theirs = await moments(5432);
    const ours = await started(port);
    const { code, output } = await step("apply");
    expect(output).toBe(
      [
        "database: restarting PostgreSQL, so that it listens on localhost only",
        "database: creating role mlflow",
        "database: creating database mlflow",
        "database: done",
      ].join("\n"),
    );
    expect(code).toBe(0);
    expect(await moments(5432)).toBe(theirs);
    expect(await started(port)).not.toBe(ours);
    expect(await databasesOf(5432)).toBe("postgres\nshop\ntemplate0\ntemplate1");
    expect(await databasesOf(port)).toBe("mlflow\npostgres\ntemplate0\ntemplate1");
    expect(await sql("show listen_addresses")).toBe("localhost");
    expect(await step("check")).toEqual({ code: 0, output: "" });
  });

  it("stays as it is when ours is started again", async () => {
    await guest.run("systemctl disable --now postgresql 2>/dev/null; systemctl start postgresql@17-main");
    const theirs = await moments(5432);
    expect((await step("check")).output).toBe(`PostgreSQL does not answer on port ${port}`);
    expect(await step("apply")).toEqual({ code: 0, output: "database: done" });
    expect(await moments(5432)).toBe(theirs);
    expect(await guest.run("systemctl is-enabled postgresql@15-ours")).toBe("enabled");
  });

  it("is no hindrance to a restart of ours for more connections; nor is another file that has us listen where we do", async () => {
    const theirs = await moments(5432);
    await sql("alter system set listen_addresses = 'localhost'");
    expect((await step("check", "", { connections: 120 })).output).toContain(
      "PostgreSQL allows 100 connections; for its workers the service needs 120",
    );
    expect(await step("apply", "", { connections: 120 })).toEqual({
      code: 0,
      output:
        "database: restarting PostgreSQL, so that it listens on localhost only and allows 120 connections\ndatabase: done",
    });
    expect(await sql("show max_connections")).toBe("120");
    await sql("alter system set max_connections = 110");
    await sql("alter system reset listen_addresses");
    const before = await started(port);
    expect((await step("apply", "", { connections: 130 })).output).toContain(
      "PostgreSQL's max_connections is '110', as set in /var/lib/postgresql/15/ours/postgresql.auto.conf: remove it there",
    );
    expect(await started(port)).toBe(before);
    await sql("alter system reset max_connections");
    expect(await step("apply")).toEqual({ code: 0, output: "database: done" });
    expect(await moments(5432)).toBe(theirs);
  });

  it("lends no program to a dump or a restore of ours", async () => {
    const { output } = await step(
      "check",
      'check() { dump_database mlflow | as_postgres pg_restore --port "$database_port" --list | grep "pg_dump version"; }',
    );
    expect(output).toMatch(/^; +Dumped by pg_dump version: 15\./);
  });
});

describe("a copy for a rehearsal", () => {
  it("has everything, whoever owns it: extensions, functions, event triggers, large objects, publications", async () => {
    await sql(
      `create role other; create role reader; grant create on schema public to other;
      create extension pg_stat_statements; create extension pgcrypto schema public;
      create schema theirs authorization other;
      create table theirs.notes (id serial primary key, text text); insert into theirs.notes (text) values ('one');
      alter table theirs.notes owner to other;
      create table runs (id int primary key, name text); insert into runs values (1, 'a'); alter table runs owner to mlflow;
      create view theirs.seen as select * from runs; alter view theirs.seen owner to other;
      create function logs() returns event_trigger language plpgsql as 'begin raise log ''ddl''; end';
      create event trigger watch on ddl_command_end execute function logs();
      create function count_runs() returns bigint language plpgsql security definer as 'begin return (select count(*) from runs); end';
      alter function count_runs owner to other;
      alter default privileges for role mlflow in schema public grant select on tables to reader;
      alter default privileges for role postgres grant select on tables to reader;
      grant select on runs to reader, other;
      create publication everybody for all tables;
      create subscription theirs connection 'dbname=nowhere' publication p with (connect = false, slot_name = 'theirs');`,
      "mlflow",
    );
    await sql("select lo_from_bytea(4711, 'large')", "mlflow");
    const { code, output } = await step(
      "check",
      `check() {
        make_scratch "$role"
        copy_to_scratch "$database"
        as_postgres pg_dump --port "$database_port" "$scratch_database" >/run/copy.sql
        sql "$scratch_database" <<<"set role mlflow; set search_path = public;
          alter table runs add column added int; create table more (id int); select count_runs();"
        exit_command_now
      }`,
    );
    expect({ code, output }).toEqual({ code: 0, output: "1" });
    const plain = (dump: string) =>
      dump.split("\n").filter((line) => !/restrict|^--|^$|SUBSCRIPTION|slot_name/.test(line));
    const live = await guest.run(
      `cd /tmp; runuser -u postgres -- pg_dump -p ${port} --no-subscriptions mlflow`,
    );
    expect(plain(await guest.run("cat /run/copy.sql"))).toEqual(plain(live));
    expect(await databasesOf(port)).not.toContain("rehearsal");
  });
});

describe("a database that others have made in another encoding", () => {
  const take = () =>
    step(
      "apply",
      `check() { local encoding; encoding=$(encoding_of_database); [[ $encoding == UTF8 ]] || problem "$encoding"; }
      apply() { require_convertible; take_in_utf8; }`,
      { database: "theirs", passwordFile: "/etc/mlflow-vps/none" },
    );
  const make = (encoding: string, text: string) =>
    guest.run(`cd /tmp; runuser -u postgres -- psql -Xq -p ${port} <<'SQL'
      create database theirs owner mlflow encoding '${encoding}' locale 'C' template template0;
      \\c theirs
      create table params (key text, value text);
      set client_encoding = 'SQL_ASCII';
      insert into params values ('colour', convert_from(${text}, '${encoding}'));
SQL`);
  const asItIs = () =>
    sql(
      "select encode(convert_to(value, getdatabaseencoding()), 'hex'), getdatabaseencoding() from params",
      "theirs",
    );
  afterEach(() => sql("drop database theirs"));

  it.each([
    ["LATIN1", "'gr\\374n'"],
    ["SQL_ASCII", "'gr\\303\\274n'"],
  ])("(%s) is in UTF-8 once it is ours", async (encoding, text) => {
    await make(encoding, text);
    expect(await take()).toMatchObject({ code: 0 });
    expect(await asItIs()).toBe("6772c3bc6e|UTF8");
    expect(await databasesOf(port)).not.toContain("rehearsal");
    expect(await guest.run("ls /var/backups/mlflow-vps")).toMatch(/^theirs-.*-before-conversion\.dump$/);
  });

  it("keeps who may do what with it, its settings and its comment", async () => {
    await make("LATIN1", "'gr\\374n'");
    for (const statement of [
      "grant connect on database theirs to reader",
      "grant create, temporary on database theirs to other with grant option",
      "revoke temporary on database theirs from public",
      "comment on database theirs is 'it''s theirs'",
      'alter database theirs set search_path to "$user", public, "Odd, name"',
      "alter role reader in database theirs set work_mem to '8MB'",
    ]) {
      await sql(statement);
    }
    const known = () =>
      sql(`select array(select (grantee::regrole, privilege_type, is_grantable)::text from aclexplode(datacl) order by 1),
        array(select (setrole::regrole, setconfig)::text from pg_db_role_setting where setdatabase = d.oid order by 1),
        shobj_description(oid, 'pg_database') from pg_database d where datname = 'theirs'`);
    const before = await known();
    expect(before).toMatch(/reader,CONNECT,f.*work_mem=8MB.*it's theirs$/);
    expect(await take()).toMatchObject({ code: 0 });
    expect(await asItIs()).toBe("6772c3bc6e|UTF8");
    expect(await known()).toBe(before);
    expect(await databasesOf(port)).not.toContain("rehearsal");
  });

  it("is seen as in service without the file of the password too, and not before it was taken over", async () => {
    await make("LATIN1", "'gr\\374n'");
    expect(await sql("select rolpassword is not null from pg_authid where rolname = 'mlflow'")).toBe("t");
    const inService = () =>
      step("check", "check() { is_in_service; }", {
        database: "theirs",
        passwordFile: "/etc/mlflow-vps/none",
      });
    expect(await inService()).toEqual({ code: 0, output: "" });
    await sql("revoke connect, temporary on database theirs from public");
    expect(await inService()).toEqual({ code: 0, output: "yes" });
    expect((await take()).output).toContain("problems remain:\nLATIN1");
    expect(await asItIs()).toBe("6772fc6e|LATIN1");
  });

  it("leaves nothing of before when a conversion was killed at its end", async () => {
    await make("UTF8", "'gr\\303\\274n'");
    await sql("create database mlflow_vps_rehearsal");
    await sql(
      "comment on database mlflow_vps_rehearsal is 'mlflow-vps: a copy on which a migration is rehearsed'",
    );
    await step(
      "apply",
      "check() { [[ -e /run/taken ]] || problem 'to do'; }; apply() { require_convertible; take_in_utf8; touch /run/taken; }",
      {
        database: "theirs",
        passwordFile: "/etc/mlflow-vps/none",
      },
    );
    expect(await databasesOf(port)).not.toContain("rehearsal");
  });

  it("stays as it is where it holds what is no text, until PostgreSQL is told what that is", async () => {
    await make("SQL_ASCII", "'gr\\374n'");
    const { code, output } = await take();
    expect(code).toBe(1);
    expect(output).toContain("FAILED: copying database theirs into one in UTF8; it was not changed");
    expect(output).toContain('invalid byte sequence for encoding "UTF8": 0xfc');
    expect(await asItIs()).toBe("6772fc6e|SQL_ASCII");
    expect(await sql("select datconnlimit from pg_database where datname = 'theirs'")).toBe("-1");
    const docs = readFileSync(join(__dirname, "../../docs/troubleshooting.md"), "utf8");
    const remedy = /psql -p 5432 -c "(update pg_database .*)"/.exec(docs)?.[1] ?? "";
    await sql(remedy.replace("'mlflow'", "'theirs'"));
    expect(await take()).toMatchObject({ code: 0 });
    expect(await asItIs()).toBe("6772c3bc6e|UTF8");
  });
});

describe("the password", () => {
  it("that PostgreSQL does not take is not in the file either, and its own error is shown", async () => {
    await guest.start(
      `cd /tmp; runuser -u postgres -- psql -p ${port} -c "begin; alter role mlflow connection limit 9; select pg_sleep(60)"`,
    );
    await guest.run(
      `cd /tmp; until runuser -u postgres -- psql -XAt -p ${port} -c "select 1 from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid()" | grep -q 1; do :; done`,
    );
    const { code, output } = await step("apply", "apply() { set_password; }", { password: "second" });
    expect(code).toBe(1);
    expect(output).toMatch(
      /^database: FAILED: PostgreSQL did not accept the new password of role mlflow, the old one stays valid: ERROR: {2}canceling statement due to lock timeout\n/,
    );
    await sql(
      "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid()",
    );
    expect(await step("check")).toEqual({ code: 0, output: "" });
    expect(await guest.run("ls /run/mlflow-vps /etc/mlflow-vps | sort -u | paste -sd ' '")).not.toMatch(
      /password|new/,
    );
  });

  it("changes in file and role at once", async () => {
    expect(await step("apply", "", { password: "second" })).toEqual({ code: 0, output: "database: done" });
    expect((await step("check")).output).toBe("/etc/mlflow-vps/pgpass does not hold the password");
    expect(await step("check", "", { password: "second" })).toEqual({ code: 0, output: "" });
    await step("apply");
  });

  it("is not blamed where PostgreSQL refuses for another reason", async () => {
    await sql("alter role mlflow connection limit 0");
    expect((await step("check")).output).toMatch(
      /^role mlflow cannot log in with its password: .*FATAL: {2}too many connections for role "mlflow"$/,
    );
    await sql("alter role mlflow connection limit -1");
  });
});

describe("databases of others in our cluster", () => {
  it("keep their addresses: ours are taken out, and nothing is restarted", async () => {
    await sql("create database theirs");
    const before = await started(port);
    expect((await step("check")).output).toBe(
      `${settingsFile} sets listen_addresses for other databases too (theirs)`,
    );
    const { code, output } = await step("apply");
    expect(code).toBe(0);
    expect(output).toContain("their own files decide on it");
    expect(await guest.run(`ls ${settingsFile} 2>&1 || true`)).toContain("No such file");
    expect(await started(port)).toBe(before);
    await guest.run("systemctl restart postgresql@15-ours");
    expect(await sql("show listen_addresses")).toBe("*");
    expect(await step("check")).toEqual({ code: 0, output: "" });
    const away = await guest.run(
      `PGPASSWORD=first psql -h ${guest.address} -p ${port} -U mlflow -d mlflow -c 'select 1' 2>&1 || true`,
    );
    expect(away).toContain("pg_hba.conf rejects connection");
  });

  it("stay, with their lines of pg_hba.conf, when ours are deleted", async () => {
    await guest.run(`echo 'host theirs all 192.0.2.0/24 scram-sha-256' >>${accessFile}`);
    await sql("drop subscription if exists theirs", "mlflow").catch(() => undefined);
    await sql(
      "alter subscription theirs disable; alter subscription theirs set (slot_name = none); drop subscription theirs",
      "mlflow",
    );
    await sql("create table kept (); alter table kept owner to mlflow", "theirs");
    const refused = await step("remove", "", { deleteData: true });
    expect(refused.code).toBe(1);
    expect(refused.output).toContain("role mlflow owns or may use something in database theirs");
    expect(await databasesOf(port)).toContain("mlflow");
    await sql("reassign owned by mlflow to postgres", "theirs");
    expect(await step("remove", "", { deleteData: true })).toEqual({
      code: 0,
      output: "database: deleted database mlflow and its role, as data.deleteOnDestroy says",
    });
    expect(await databasesOf(port)).toBe("postgres\ntemplate0\ntemplate1\ntheirs");
    expect(await guest.run(`grep -c mlflow ${accessFile} || true; tail -n 1 ${accessFile}`)).toBe(
      "0\nhost theirs all 192.0.2.0/24 scram-sha-256",
    );
    expect(await guest.run("ls -d /etc/mlflow-vps || true")).toBe("");
  });
});
