import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parts } from "../../components/step/library";
import { renderScript } from "../../components/step/script";
import { type Ended, startBashIn } from "./bash";
import { bodyOf } from "./stepScripts";

/** The database step's functions, run in bash; what is asked of the host is answered by the test. */
const body = bodyOf("database");

let root: string;
let directory: string;
let count = 0;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "mlflow-vps-database-"));
});
afterAll(() => rmSync(root, { recursive: true }));
beforeEach(() => {
  count += 1;
  directory = join(root, String(count));
  for (const name of ["bin", "run", "log", "state", "dumps"]) {
    mkdirSync(join(directory, name), { recursive: true });
  }
});

const at = (name: string) => join(directory, name);
const passwordFile = () => at("state/pgpass");

/** Runs these lines of bash, which may take the place of the step's functions and of the host's commands. */
function run(
  lines: string,
  {
    env = {},
    action = "apply",
    deleteData = false,
    connections = 100,
  }: { env?: NodeJS.ProcessEnv; action?: string; deleteData?: boolean; connections?: number } = {},
): Promise<Ended> {
  const values = {
    stack: "mlflow-vps/unit",
    database: "mlflow",
    role: "mlflow",
    databasePort: 5433,
    databaseAddress: "127.0.0.1",
    clientAddress: "127.0.0.1",
    account: "mlflow",
    passwordFile: passwordFile(),
    connections,
    deleteData,
    password: "secret",
    passwordLine: "127.0.0.1:5433:mlflow:mlflow:secret",
    here: directory,
  };
  let script = renderScript(
    "database",
    values,
    parts,
    `${body}\nchown() { :; }\nclaim_host() { :; }\n${lines}`,
  );
  for (const [from, to] of [
    ["/run/mlflow-vps", at("run")],
    ["/var/log/mlflow-vps", at("log")],
    ["/etc/mlflow-vps", at("state")],
    ["/var/backups/mlflow-vps", at("dumps")],
    ["PATH=/usr/sbin", `PATH=${at("bin")}:/usr/sbin`],
  ] as const) {
    expect(script).toContain(from);
    script = script.replaceAll(from, to);
  }
  return startBashIn(directory, script, [action], env).ended;
}

/** What is done in place of the step, once. */
const instead = (lines: string) => `check() { [[ -e $here/done ]] || problem 'to do'; }
apply() {
  ${lines}
  touch "$here/done"
}`;

describe("pg_hba.conf", () => {
  const theirs = "# theirs\nhost theirs all 192.0.2.0/24 md5\nlocal all all peer\n";
  const write = (failure: string) =>
    run(
      `${failure}
access_file() { echo "$here/pg_hba.conf"; }
${instead(`write_access_file "$access_lines"$'\\n'`)}`,
    );
  beforeEach(() => writeFileSync(at("pg_hba.conf"), theirs));
  const content = () => readFileSync(at("pg_hba.conf"), "utf8");

  test("has our lines before those of others, once, however often it is written", async () => {
    expect(await write("")).toMatchObject({ code: 0, stderr: "" });
    const once = content();
    expect(once).toMatch(/^local {2}mlflow,mlflow_vps_rehearsal {2}all {2}.*# mlflow-vps\n/);
    expect(once.endsWith(`  # mlflow-vps\n${theirs}`)).toBe(true);
    rmSync(at("done"));
    await write("");
    expect(content()).toBe(once);
  });

  test.each([
    ["cannot be run", "sed() { return 127; }"],
    ["ends after a part", "sed() { echo '# theirs'; return 4; }"],
  ])("stays as it is when what reads it %s", async (_, failure) => {
    const { code } = await write(failure);
    expect(code).not.toBe(0);
    expect(content()).toBe(theirs);
    expect(readdirSync(directory)).not.toContain("done");
  });

  test("stays as it is when PostgreSQL does not say where it is", async () => {
    const { code } = await run(`sql() { return 2; }\n${instead(`write_access_file "$access_lines"$'\\n'`)}`);
    expect(code).not.toBe(0);
    expect(content()).toBe(theirs);
  });
});

describe("statements", () => {
  test("are for this host's PostgreSQL, whatever the login's environment says", async () => {
    writeFileSync(at("bin/id"), "#!/bin/sh\necho 0\n", { mode: 0o755 });
    writeFileSync(at("bin/setpriv"), '#!/bin/sh\nshift 6\nexec "$@"\n', { mode: 0o755 });
    writeFileSync(at("bin/psql"), '#!/bin/sh\nenv | grep ^PG\necho "$@"\ncat\n', { mode: 0o755 });
    const elsewhere = {
      PGHOST: "db.example.org",
      PGPORT: "1",
      PGCLUSTER: "17/main",
      PGSERVICE: "x",
      PGUSER: "y",
    };
    const { code, stdout } = await run(instead("sql postgres <<<'drop everything'"), { env: elsewhere });
    expect(code).toBe(0);
    expect(stdout.split("\n")).toEqual([
      "PGOPTIONS=-c search_path=pg_catalog -c lock_timeout=10s",
      "--no-psqlrc --no-password --quiet --tuples-only --no-align --port 5433 --set ON_ERROR_STOP=1 --dbname postgres",
      "drop everything",
      "database: done",
      "",
    ]);
  });
});

describe("a new password", () => {
  const old = "127.0.0.1:5433:mlflow:mlflow:old\n";
  const set = (sql: string) => run(`sql() {\n${sql}\n}\n${instead("set_password")}`);
  const left = () => [...readdirSync(at("run")), ...readdirSync(at("state"))].sort();
  beforeEach(() => writeFileSync(passwordFile(), old));

  test("is in the file once PostgreSQL has taken it, and before anybody sees it", async () => {
    const { code, stderr } = await set(`while read -r line; do
      echo "$line / $(<"$password_file")" >>"$here/trace"
      [[ $line != *ready* ]] || echo ready
    done`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const trace = readFileSync(at("trace"), "utf8").split("\n");
    expect(trace[1]).toBe(`begin; / ${old.trim()}`);
    expect(trace[2]).toMatch(
      /^alter role "mlflow" password 'SCRAM-SHA-256\$4096:[\w+/=]+\$[\w+/=]+:[\w+/=]+'; \/ .*:old$/,
    );
    expect(trace[3]).toBe(`select 'ready'; / ${old.trim()}`);
    expect(trace.slice(4)).toEqual(["commit; / 127.0.0.1:5433:mlflow:mlflow:secret", ""]);
    expect(left()).toEqual(["database.lock", "pgpass"]);
  });

  test.each([
    [
      "ends at once",
      "echo 'FATAL:  sorry, too many clients already' >&2; return 2",
      "too many clients already",
    ],
    [
      "refuses it",
      "read -r _; echo 'ERROR:  canceling statement due to lock timeout'; return 3",
      "lock timeout",
    ],
  ])(
    "that PostgreSQL does not take, because it %s, is not in the file, and the cause is named",
    async (_, sql, cause) => {
      const { code, stderr } = await set(sql);
      expect(code).toBe(1);
      expect(stderr).toMatch(
        /^database: FAILED: PostgreSQL did not accept the new password of role mlflow, the old one stays valid: (FATAL|ERROR): /,
      );
      expect(stderr).toContain(cause);
      expect(stderr).not.toContain("unbound variable");
      expect(readFileSync(passwordFile(), "utf8")).toBe(old);
      expect(left()).toEqual(["database.lock", "pgpass"]);
    },
  );

  test("is not waited for without an end", async () => {
    const { code, stderr } = await run(
      `eval "$(declare -f set_password | sed 's/wait_until 30/wait_until 1/')"
sql() { sleep 5; }\n${instead("set_password")}`,
    );
    expect(code).toBe(1);
    expect(stderr).toContain("PostgreSQL did not accept the new password of role mlflow within 30 s\n");
    expect(readFileSync(passwordFile(), "utf8")).toBe(old);
  });

  test("that PostgreSQL cannot confirm is a failure", async () => {
    const { code, stderr } = await set(
      "head -n 4 >/dev/null; echo ready; cat >/dev/null; echo 'FATAL:  gone'; return 2",
    );
    expect(code).toBe(1);
    expect(stderr).toContain("FATAL:  gone. Run again");
  });

  test("needs no other setting of PostgreSQL: it gets the verifier", () => {
    expect(body).not.toContain("password_encryption");
  });
});

describe("a login that is refused", () => {
  test.each([
    'connection to server at "127.0.0.1", port 5433 failed: FATAL:  password authentication failed for user "mlflow"',
    'connection to server at "127.0.0.1", port 5433 failed: Connection refused',
  ])("shows what PostgreSQL says: %s", async (cause) => {
    writeFileSync(at("bin/psql"), `#!/bin/sh\necho 'psql: error: ${cause}' >&2\nexit 2\n`, { mode: 0o755 });
    const { stdout } = await run(instead("login_refusal"));
    expect(stdout).toBe(`psql: error: ${cause}\ndatabase: done\n`);
  });
});

describe("our cluster", () => {
  const clusters = (...rows: string[]) =>
    `pg_lsclusters() { printf '%s\\n' ${rows.map((row) => `'${row} postgres /data /log'`).join(" ")}; }`;

  test.each([
    ["the one with the port", ["15 main 5432 online", "17 main 5433 online"], "postgresql@17-main.service"],
    [
      "of two with the port the one that runs",
      ["14 main 5433 online,recovery", "17 main 5433 down"],
      "postgresql@14-main.service",
    ],
    ["none", ["15 main 5432 online"], ""],
  ])("is %s", async (_, rows, unit) => {
    const { stdout } = await run(`${clusters(...rows)}\n${instead("cluster_unit")}`);
    expect(stdout).toBe(`${unit}\ndatabase: done\n`);
  });

  test("is the only one that is started", async () => {
    const { code, stdout } = await run(`${clusters("15 main 5432 down", "17 main 5433 down")}
pg_isready() { [[ -e $here/started ]] || return 2; }
sql() { :; }
systemctl() { echo "$*" >>"$here/started"; }
${instead("start_database")}`);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "database: done\n" });
    expect(readFileSync(at("started"), "utf8")).toBe("enable --now postgresql@17-main.service\n");
  });

  test("that asks its superuser for a password is named, with the line that it lacks", async () => {
    const { code, stderr } = await run(`${clusters("17 main-2 5433 online")}
pg_isready() { :; }
sql() { echo 'fe_sendauth: no password supplied' >&2; return 2; }
${instead("start_database; touch $here/gone_on")}`);
    expect(code).not.toBe(0);
    expect(stderr).toBe(
      `database: FAILED: PostgreSQL on port 5433 does not let its superuser in: fe_sendauth: no password supplied. Let the system user postgres in without a password: sed -i '1i local all postgres peer' /etc/postgresql/17/main-2/pg_hba.conf && systemctl reload postgresql@17-main-2.service; then run again\n`,
    );
    expect(existsSync(at("gone_on"))).toBe(false);
  });

  test("that asks its superuser for a password, and is none of Debian's, is given no path", async () => {
    const { stderr } = await run(`${clusters("17 main 5432 online")}
pg_isready() { :; }
sql() { echo 'FATAL:  no pg_hba.conf entry for host "[local]"' >&2; return 2; }
${instead("start_database")}`);
    expect(stderr).toContain("first in its pg_hba.conf and reload it; then run again\n");
    expect(stderr).not.toContain("/etc/postgresql");
  });

  test.each([
    "FATAL:  sorry, too many clients already",
    'FATAL:  database "postgres" does not exist',
    "FATAL:  could not write init file: No space left on device",
    "",
  ])("that does not answer its superuser for another reason is named with that alone: %s", async (said) => {
    const { code, stderr } = await run(`${clusters("17 main 5433 online")}
pg_isready() { :; }
sql() { printf '%s' '${said}' >&2; return 127; }
${instead("start_database; touch $here/gone_on")}`);
    expect(code).not.toBe(0);
    expect(stderr).toBe(
      `database: FAILED: PostgreSQL on port 5433 does not answer its superuser: ${said || "psql exited 127"}\n`,
    );
    expect(existsSync(at("gone_on"))).toBe(false);
  });

  /** Answers of PostgreSQL that listens everywhere. */
  const listening = (
    others: string,
    asSetIn = "$here/settings.conf|*|t",
  ) => `${clusters("15 main 5432 online", "17 main 5433 online")}
neighbours() { ${others}; }
settings_file() { echo "$here/settings.conf"; }
sql() { case $(cat) in 'show listen_addresses') echo '*' ;; *) echo "${asSetIn}" ;; esac; }
systemctl() { echo "$*" >>"$here/restarted"; }
${instead("write_settings_file; enforce_settings")}`;
  const restarted = () => (existsSync(at("restarted")) ? readFileSync(at("restarted"), "utf8") : "");

  test("is restarted, alone, where it listens on more than localhost and holds nothing of others", async () => {
    expect(await run(listening("true"))).toMatchObject({ code: 0 });
    expect(readFileSync(at("settings.conf"), "utf8")).toMatch(/\nlisten_addresses = 'localhost'\n$/);
    expect(restarted()).toBe("restart postgresql@17-main.service\n");
  });

  test("is neither restarted nor told where to listen where it holds databases of others", async () => {
    writeFileSync(at("settings.conf"), "# managed\nlisten_addresses = 'localhost'\n");
    const { code, stdout } = await run(listening("printf 'shop\\nwiki\\n'"));
    expect(code).toBe(0);
    expect(stdout).toContain("PostgreSQL holds other databases too (shop, wiki)");
    expect(existsSync(at("settings.conf"))).toBe(false);
    expect(restarted()).toBe("");
  });

  test("keeps the connections that it was told to allow where databases of others have come", async () => {
    const look = `neighbours() { echo shop; }
settings_file() { echo "$here/settings.conf"; }
ask() { echo 300; }
check() { check_server_settings; }
apply() { write_settings_file; }`;
    const connections = "# managed\nmax_connections = 300\n";
    writeFileSync(at("settings.conf"), connections.replace("\n", "\nlisten_addresses = 'localhost'\n"));
    const { code, stdout } = await run(look, { connections: 300 });
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `database: PostgreSQL holds other databases too (shop), so ${at("settings.conf")} no longer sets listen_addresses: after PostgreSQL's next restart, their own files decide on it\ndatabase: done\n`,
    });
    expect(readFileSync(at("settings.conf"), "utf8")).toBe(connections);
    expect(await run(look, { action: "check", connections: 300 })).toMatchObject({ code: 0, stdout: "" });
  });

  test("is not restarted for what another file sets, which is named", async () => {
    const { code, stderr } = await run(listening("true", "/etc/theirs.conf|*|f"));
    expect(code).not.toBe(0);
    expect(stderr).toContain(
      "PostgreSQL's listen_addresses is '*', as set in /etc/theirs.conf: remove it there",
    );
    expect(restarted()).toBe("");
  });

  test("is not restarted where it does not read our file", async () => {
    const { code, stderr } = await run(listening("true", ""));
    expect(code).not.toBe(0);
    expect(stderr).toContain("include_dir = 'conf.d'");
    expect(restarted()).toBe("");
  });

  /** Answers of PostgreSQL as it is by itself. */
  const usual = (others: string, winner = "$here/settings.conf|300|t") => `${clusters("17 main 5433 online")}
neighbours() { ${others}; }
settings_file() { echo "$here/settings.conf"; }
sql() {
  case $(cat) in
    'show listen_addresses') echo localhost ;;
    'show max_connections') echo 100 ;;
    *"setting = 'localhost'"*) echo '/etc/theirs.conf|localhost|t' ;; # in another file, but right
    *) echo "${winner}" ;;
  esac
}
systemctl() { echo "$*" >>"$here/restarted"; }
${instead("write_settings_file; enforce_settings")}`;

  test("is neither told to take more connections than by itself nor restarted where the workers need no more", async () => {
    expect(await run(usual("true"))).toMatchObject({ code: 0 });
    expect(readFileSync(at("settings.conf"), "utf8")).not.toContain("max_connections");
    expect(restarted()).toBe("");
  });

  test("takes as many connections as the workers need, from its next start, which is now", async () => {
    expect(await run(usual("true"), { connections: 300 })).toMatchObject({ code: 0 });
    expect(readFileSync(at("settings.conf"), "utf8")).toMatch(/\nmax_connections = 300\n$/);
    expect(restarted()).toBe("restart postgresql@17-main.service\n");
  });

  test.each([
    [
      "holds databases of others",
      "echo shop",
      undefined,
      "It holds other databases too (shop), so it is not changed",
    ],
    [
      "is told otherwise by another file",
      "true",
      "/etc/theirs.conf|50|f",
      "max_connections is '50', as set in /etc/theirs.conf: remove it there",
    ],
  ])("that takes too few connections and %s is not restarted", async (_, others, winner, reason) => {
    const { code, stderr } = await run(usual(others, winner), { connections: 300 });
    expect(code).not.toBe(0);
    expect(stderr).toContain(reason);
    expect(restarted()).toBe("");
  });

  describe("where localhost", () => {
    const hosts = (answer: string) => `getent() { ${answer}; }\n`;
    const unknown = hosts("return 2");
    const otherwise = hosts("echo '::1             STREAM localhost'");

    test.each([
      ["leads to ::1 only", otherwise],
      ["is not known", unknown],
    ])("%s, listens on the address itself", async (_, answer) => {
      expect(await run(answer + usual("true"))).toMatchObject({ code: 0 });
      expect(readFileSync(at("settings.conf"), "utf8")).toMatch(/\nlisten_addresses = '127\.0\.0\.1'\n$/);
      expect(restarted()).toBe("restart postgresql@17-main.service\n");
    });

    test("is not known, does not start, and the file that lacks it is named", async () => {
      const { code, stderr } = await run(`${clusters("17 main 5433 down")}
${unknown}
pg_isready() { return 2; }
systemctl() { return 1; }
${instead("start_database")}`);
      expect(code).not.toBe(0);
      expect(stderr).toContain("add the line '127.0.0.1 localhost' to /etc/hosts");
    });

    test("is right by now, a check takes either", async () => {
      for (const address of ["localhost", "127.0.0.1", "*"]) {
        const { stdout } = await run(
          `neighbours() { :; }
settings_file() { echo "$here/settings.conf"; }
stat() { echo 'postgres:postgres 644'; }
listen_addresses() { echo '${address}'; }
check() { server_settings '${address}' >"$here/settings.conf"; check_server_settings; }`,
          { action: "check" },
        );
        const wrong = `${at("settings.conf")} was changed\nPostgreSQL listens on '*', not on localhost\n`;
        expect(stdout).toBe(address === "*" ? wrong : "");
      }
    });

    test("is right by now, keeps the address that was written before, for another means a restart", async () => {
      const settings = () => readFileSync(at("settings.conf"), "utf8");
      const right = hosts("echo '127.0.0.1       STREAM localhost'");
      await run(otherwise + usual("true"));
      const before = settings();
      expect(before).toContain("'127.0.0.1'");
      rmSync(at("done"));
      rmSync(at("restarted"));
      expect(await run(right + usual("true").replace("echo localhost", "echo 127.0.0.1"))).toMatchObject({
        code: 0,
      });
      expect(settings()).toBe(before);
      expect(restarted()).toBe("");
    });
  });

  test("is left alone when it does not say what it holds", async () => {
    expect((await run(listening("return 2"))).code).not.toBe(0);
    expect(existsSync(at("settings.conf"))).toBe(false);
    expect(restarted()).toBe("");
  });
});

describe("a database that is taken over", () => {
  const take = (encoding: string, more = "", apply = instead("require_convertible; take_in_utf8")) =>
    run(`
done_is() { printf '%s\n' "$*" >>"$here/trace"; }
encoding_of_database() { echo ${encoding}; }
check_room_for_copy() { :; }
sessions() { :; }
is_in_service() { [[ ! -e $password_file ]] || echo yes; }
drop_scratch() { done_is drop the copy; }
make_scratch() { at_exit drop_scratch; done_is make a copy; }
copy_to_scratch() { done_is copy "$1"; }
dump_database() { done_is dump "$1"; }
sql() {
  local statement
  statement=$(cat)
  case $statement in
    *datconnlimit*) echo 20 ;;
    *'connection limit'*) done_is connection "\${statement#*connection }" ;;
    begin*) done_is swap ;;
  esac
}
${more}
${apply}`);
  const trace = () =>
    existsSync(at("trace")) ? readFileSync(at("trace"), "utf8").trimEnd().split("\n") : [];

  test("in another encoding is converted: what takes its place is a copy, which nobody writes to meanwhile", async () => {
    const { code, stdout } = await take("LATIN1");
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("database mlflow is in LATIN1"),
    });
    expect(readdirSync(at("dumps"))).toEqual([expect.stringMatching(/^mlflow-.*-before-conversion\.dump$/)]);
    expect(trace()).toEqual([
      "drop the copy", // that a run left that was killed
      "connection limit 0",
      "make a copy",
      "copy mlflow",
      "dump mlflow",
      "swap",
      "drop the copy",
      "connection limit 20",
    ]);
  });

  test("in UTF-8 is taken as it is, without what a conversion has left that was killed at its end", async () => {
    expect(await take("UTF8")).toMatchObject({ code: 0 });
    expect(trace()).toEqual(["drop the copy"]);
  });

  test("and is ours already is left as it is, for the service uses it", async () => {
    writeFileSync(passwordFile(), "x");
    expect(await take("LATIN1")).toMatchObject({ code: 0 });
    expect(trace()).toEqual([]);
  });

  test("and is in use keeps its limit of connections all the while", async () => {
    const { code, stderr } = await take(
      "LATIN1",
      "sessions() { printf '%s\\n' 'shop (pid 7)' 'wiki (psql)'; }",
    );
    expect(code).toBe(1);
    expect(stderr).toContain(
      "is in use by shop (pid 7), wiki (psql). It was not changed. End these sessions, then run again\n",
    );
    expect(trace()).toEqual(["drop the copy"]);
  });

  test("and cannot be converted is refused before rules or settings of the cluster are changed", async () => {
    const { code, stderr } = await take(
      "LATIN1",
      `sessions() { echo 'shop (pid 7)'; }
      start_database() { :; }
      for change in make_account write_settings_file write_access_file; do eval "$change() { done_is change; }"; done`,
      "check() { problem 'to do'; }",
    );
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining("shop (pid 7)") });
    expect(trace()).toEqual(["drop the copy"]);
  });

  test.each([
    [
      "is in use by then",
      'sessions() { [[ ! -e $here/asked ]] || echo "shop (pid 7)"; touch "$here/asked"; }',
      "is in use by shop (pid 7). It was not changed",
    ],
    ["has no room beside it", "check_room_for_copy() { echo '/var has 1 MB free'; }", "/var has 1 MB free"],
    [
      "holds what is no text",
      "copy_to_scratch() { echo 'invalid byte sequence'; return 1; }",
      "invalid byte sequence",
    ],
  ])("that %s is not converted, and stays as it was", async (_, failure, reason) => {
    const { code, stderr } = await take("SQL_ASCII", failure);
    expect(code).not.toBe(0);
    expect(stderr).toContain(reason);
    expect(trace()).not.toContain("swap");
    expect(
      trace()
        .filter((line) => line.startsWith("connection"))
        .at(-1) ?? "connection limit 20",
    ).toBe("connection limit 20");
  });
});

describe("a removal", () => {
  const removal = (more: string, deleteData = false) =>
    run(
      `pg_lsclusters() { :; }
database_answers() { echo yes; }
access_file() { echo "$here/pg_hba.conf"; }
settings_file() { echo "$here/settings.conf"; }
load_settings() { :; }
release_host() { :; }
require_own_host() { :; }
sql() {
  local statement
  statement=$(cat)
  printf '%s\\n' "$statement" >>"$here/trace"
  ${more}
}`,
      { action: "remove", deleteData },
    );
  const drops = () => readFileSync(at("trace"), "utf8").match(/^drop.*|^alter.*/gm) ?? [];
  beforeEach(() => {
    writeFileSync(passwordFile(), "x");
    writeFileSync(at("settings.conf"), "x");
    writeFileSync(at("pg_hba.conf"), "host mlflow all 0.0.0.0/0 reject  # mlflow-vps\nlocal all all peer\n");
  });

  test("takes away what is ours and keeps the data", async () => {
    const { code, stdout } = await removal("[[ $statement != 'select 1'* ]] || echo 1");
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout:
        "database: kept: database mlflow in PostgreSQL on port 5433 (its role mlflow can no longer log in)\n",
    });
    expect(drops()).toEqual(['alter role "mlflow" nologin password null']);
    expect(readFileSync(at("pg_hba.conf"), "utf8")).toBe("local all all peer\n");
    expect([existsSync(passwordFile()), existsSync(at("settings.conf"))]).toEqual([false, false]);
  });

  test("deletes nothing when the role owns something elsewhere", async () => {
    const { code, stderr } = await removal(
      "[[ $statement != *pg_shdepend* ]] || echo 'database theirs'",
      true,
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /role mlflow owns or may use something in database theirs, .* Nothing was deleted/,
    );
    expect(drops()).toEqual([]);
    expect(existsSync(passwordFile())).toBe(true);
  });

  test("deletes nothing when PostgreSQL gives no answer", async () => {
    const { code } = await removal("return 2", true);
    expect(code).not.toBe(0);
    expect(drops()).toEqual([]);
    expect(existsSync(passwordFile())).toBe(true);
  });
});

describe("what a check asks PostgreSQL", () => {
  const ask = (lines: string) =>
    run(
      `sql() { ${lines} }
check() { local -A remembered=(); ask_all; sql() { echo "asked again: $(cat)"; }; access_file; neighbours; ask owner; }`,
      { action: "check" },
    );

  test("is asked at once, and each answer is that of its question", async () => {
    const { stdout, stderr, code } = await ask(`local line
      while read -r line; do
        case $line in
          '\\echo '*) printf '%s\\n' "\${line#* }" ;;
          *hba_file*) echo '/etc/postgresql/17/main/pg hba.conf' ;;
          *'not in'*) printf '%s\\n' one two ;;
        esac
      done`);
    expect({ stdout, stderr, code }).toEqual({
      stdout: "/etc/postgresql/17/main/pg hba.conf\none\ntwo\n\n",
      stderr: "",
      code: 0,
    });
  });

  test("is no answer when PostgreSQL gives none: the check tells why", async () => {
    const { code, stdout, stderr } = await run(
      `database_answers() { echo yes; }
check_account() { :; }
sql() { echo 'answer neighbours'; echo 'fe_sendauth: no password supplied' >&2; return 2; }`,
      { action: "check" },
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^PostgreSQL does not answer its superuser: .*no password supplied\n$/);
  });
});

describe("a dump", () => {
  test("that fails is not there, and says why", async () => {
    rmSync(at("log"), { recursive: true });
    const { code, stderr } = await run(
      `dump_database() { echo half; echo 'pg_dump: error: no space' >&2; return 1; }\n${instead("keep_dump mlflow mlflow 3.17.2")}`,
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /FAILED: the database could not be dumped, so it was not changed: .*pg_dump: error: no space/s,
    );
    expect(readdirSync(at("dumps"))).toEqual([]);
  });

  test("that is made leaves nothing to undo but what was there before", async () => {
    const { stdout } = await run(
      `dump_database() { echo all; }
${instead("at_exit echo mine; keep_dump mlflow mlflow 3.17.2; exit_command_now; echo last")}`,
    );
    expect(stdout).toMatch(/\nmine\nlast\n/);
  });

  test("takes the place of one before the same change, and of no other", async () => {
    const others = [
      "mlflow-20260101T000000Z-before-adoption.dump",
      "mlflow-20260101T000000Z-before-3.16.1.dump",
    ];
    for (const name of [...others, "mlflow-20260101T000000Z-before-3.17.2.dump"]) {
      writeFileSync(at(`dumps/${name}`), "");
    }
    await run(`dump_database() { echo all; }\n${instead("keep_dump mlflow mlflow 3.17.2")}`);
    const now = readdirSync(at("dumps")).filter((name) => !others.includes(name));
    expect(now).toEqual([expect.stringMatching(/^mlflow-2\d{7}T\d{6}Z-before-3\.17\.2\.dump$/)]);
    expect(now).not.toContain("mlflow-20260101T000000Z-before-3.17.2.dump");
  });
});
