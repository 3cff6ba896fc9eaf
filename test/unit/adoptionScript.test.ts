import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import type { Values } from "../../components/step/script";
import { managed } from "../../components/step/script";
import { readPython } from "../../components/step/text";
import type { Ended } from "./bash";
import { bash, directory, render, run } from "./hostScript";
import { bodyOf } from "./stepScripts";

const body = bodyOf("adoption");
const siteReader = readPython(__dirname, "../../components/data/adoption/sites.py");

const values = (): Values => ({
  privileged: false,
  version: "3.17.2",
  release: "/nowhere",
  account: "mlflow",
  database: "mlflow",
  databasePort: 5432,
  artifacts: join(directory, "artifacts"),
  passwordFile: join(directory, "pgpass"),
  siteReader: siteReader,
});

/** Programs of the host: each notes how it was called in `calls`, then does what the test says. */
const stubs = `
said() { printf '%s\\n' "$*" >>calls; }
sql() {
  local statements
  statements=$(cat)
  said "sql $1: $statements"
  answer "$1" "$statements"
}
systemctl() { said "systemctl $*"; }
pg_isready() { :; }
`;

/** Runs lines with the functions of the step; \`answer DATABASE STATEMENTS\` is what PostgreSQL says. */
const withStep = (lines: string, answer = "", changes: Values = {}): Promise<Ended> =>
  run(
    "check",
    { ...values(), ...changes },
    `${body}\n${stubs}\nanswer() {\n${answer || ":"}\n}\ncheck() {\n${lines}\n}`,
  );

const calls = () =>
  existsSync(join(directory, "calls")) ? readFileSync(join(directory, "calls"), "utf8") : "";
const unreachable = "echo 'the database system is starting up' >&2; return 2";

describe("a question to the database that gets no answer", () => {
  test.each(["has_schema old", "is_empty old", "sessions old", "database_exists old"])(
    "fails %s, and is not taken for 'no'",
    async (question) => {
      const { code, stdout } = await withStep(
        `local answer; answer=$(${question}); echo "answer: '$answer'"`,
        unreachable,
      );
      expect({ failed: code !== 0, stdout }).toEqual({ failed: true, stdout: "" });
    },
  );

  // Each statement is the one that fails, in turn, at the first moment and at every later one.
  const takeDatabase = `old_database=old; take_database`;
  const both = `case $2 in
  *"datname = 'old'"* | *"datname = 'mlflow'"* | *"not exists"*) echo 1 ;;
esac`;

  test("drops no database: the adoption of its name ends before", async () => {
    const { code } = await withStep(takeDatabase, both);
    expect(code).toBe(0);
    const statements = calls().split(/^sql /m).slice(1);
    expect(statements).toHaveLength(4);
    expect(statements[3]).toMatch(
      /^postgres: drop database "mlflow"; alter database "old" rename to "mlflow"/,
    );
    for (let failing = 1; failing <= 3; failing += 1) {
      writeFileSync(join(directory, "calls"), "");
      const failed = await withStep(
        takeDatabase,
        `if (($(grep -c ^sql calls) == ${failing})); then ${unreachable}; fi\n${both}`,
      );
      expect(failed.code).not.toBe(0);
      expect(calls()).not.toMatch(/drop|alter/);
    }
  });

  test("drops no database that holds something", async () => {
    const { code, stderr } = await withStep(takeDatabase, `case $2 in *"not exists"*) ;; *) echo 1 ;; esac`);
    expect(code).toBe(1);
    expect(stderr).toContain("database mlflow is no longer empty");
    expect(calls()).not.toMatch(/drop|alter/);
  });
});

describe("the rehearsal", () => {
  const long = "x".repeat(63); // PostgreSQL would cut what is longer
  const rehearse = (answer: string, migration = ":") =>
    withStep(
      `old_database=${long}; copy_to_scratch() { said "copy $1"; }; migrate_scratch() { said migrate; ${migration}; }; rehearse`,
      answer,
      { database: long },
    );
  const there = `case $2 in *"datname = '${long}'"* | *alembic*) echo 1 ;; esac`;
  /** What was done, in one word each. */
  const done = () =>
    calls().match(/drop database %I|create database "\w+"|comment on database "\w+"|^copy \w+|migrate$/gm) ??
    [];
  const begun = [
    "drop database %I",
    'create database "mlflow_vps_rehearsal"',
    'comment on database "mlflow_vps_rehearsal"',
    `copy ${long}`,
    "migrate",
  ];

  test.each([
    ["succeeds", ":", 0],
    ["fails", "false", 1],
  ])(
    "that %s drops nothing but what carries our mark, whatever the database is called",
    async (_, migration, code) => {
      expect(await rehearse(there, migration)).toMatchObject({ code });
      expect(done()).toEqual([...begun, "drop database %I"]);
      const drops = calls()
        .split(/^sql /m)
        .filter((statement) => statement.includes("drop"));
      expect(drops).toHaveLength(2);
      for (const drop of drops) {
        expect(drop).toContain(
          `where datname = 'mlflow_vps_rehearsal' and shobj_description(oid, 'pg_database') = 'mlflow-vps: `,
        );
      }
    },
  );

  test("makes nothing where somebody's database has the name of the copy", async () => {
    const { code, stderr } = await rehearse("echo 1");
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /database mlflow_vps_rehearsal, .* was not made by this program\. Nothing was changed\. Rename or drop it/,
    );
    expect(done()).toEqual(["drop database %I"]);
  });

  test("fails when PostgreSQL does not say whether there is something to rehearse on", async () => {
    expect((await rehearse(unreachable)).code).not.toBe(0);
    expect(done()).toEqual([]);
  });
});

describe("stopping the server", () => {
  const stop = `old_database=old; mkdir -p "$state_directory"; : >"$marker"; stop_server old.service`;
  const active = `systemctl() {
  said "systemctl $*"
  case $* in "show --property ActiveState"*) echo active ;; esac
}
keep_dump() { said "dump $*"; }
sleep() { SECONDS=$((SECONDS + 20)); }
`;
  const steps = () =>
    calls()
      .split("\n")
      .filter((line) => /^(systemctl (start|stop|disable)|dump)/.test(line));

  test("is for good once there is a dump", async () => {
    const { code } = await withStep(active + stop, `case $2 in *pg_stat_activity*) ;; *) echo 1 ;; esac`);
    expect(code).toBe(0);
    expect(steps()).toEqual([
      "systemctl stop old.service",
      "dump old mlflow adoption",
      "systemctl disable --now old.service",
    ]);
  });

  test.each([
    [
      "others use its database",
      `case $2 in *pg_stat_activity*) echo 'eve (psql)' ;; *) echo 1 ;; esac`,
      /in use by others than old\.service: eve \(psql\)\. /,
    ],
    [
      "PostgreSQL does not say who uses it",
      `case $2 in *pg_stat_activity*) ${unreachable} ;; *) echo 1 ;; esac`,
      /starting up/,
    ],
    [
      "PostgreSQL does not say whether there is something to dump",
      `case $2 in *alembic*) ${unreachable} ;; *pg_stat*) ;; *) echo 1 ;; esac`,
      /starting up/,
    ],
  ])("is taken back when %s", async (_, answer, cause) => {
    const { code, stdout, stderr } = await withStep(active + stop, answer);
    expect(code).toBe(1);
    expect(stdout + stderr).toMatch(cause);
    expect(steps()).toEqual(["systemctl stop old.service", "systemctl start old.service"]);
    expect(existsSync(join(directory, "state/adoption"))).toBe(false);
  });

  test("is taken back when the dump fails", async () => {
    const { code } = await withStep(
      `${active} keep_dump() { fail "no room"; }\n${stop}`,
      `case $2 in *pg_stat_activity*) ;; *) echo 1 ;; esac`,
    );
    expect(code).toBe(1);
    expect(steps()).toEqual(["systemctl stop old.service", "systemctl start old.service"]);
  });

  test("does not start it again once its database has the new name", async () => {
    const { code } = await withStep(active + stop);
    expect(code).toBe(0);
    expect(steps()).toEqual(["systemctl disable --now old.service"]);
  });
});

describe("the keys of the server", () => {
  test("are kept for the one that follows, when it had some", async () => {
    const take = (settings: string) =>
      withStep(
        `settings_of() { printf '%s\\n' ${settings}; }; keep_keys() { keys_in "$1"; }; take_keys unit`,
      );
    expect(await take("MLFLOW_CRYPTO_KEK_PASSPHRASE= A=b")).toEqual({ code: 0, stdout: "", stderr: "" });
    const { stdout } = await take("MLFLOW_CRYPTO_KEK_VERSION=2 MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY=x-_=");
    expect(stdout).toBe("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY=x-_=\nMLFLOW_CRYPTO_KEK_VERSION=2\n");
  });
});

describe("the artifacts", () => {
  const take = (account: string) =>
    withStep(`old_artifacts=$PWD/old; chown() { :; }; take_artifacts`, "", { account });
  beforeEach(() => {
    mkdirSync(join(directory, "old/1"), { recursive: true });
  });

  test("move as they are, also onto an empty directory, and the old place leads there", async () => {
    mkdirSync(join(directory, "artifacts"));
    expect(await take("root")).toMatchObject({ code: 0 });
    expect(readdirSync(join(directory, "artifacts"))).toEqual(["1"]);
    expect(readdirSync(join(directory, "old"))).toEqual(["1"]);
    expect(await take("root")).toMatchObject({ code: 0 });
  });

  test("move to where a link leads", async () => {
    mkdirSync(join(directory, "volume"));
    symlinkSync("volume", join(directory, "artifacts"));
    expect(await take("root")).toMatchObject({ code: 0 });
    expect(readdirSync(join(directory, "volume"))).toEqual(["1"]);
  });

  test("stay where they are when there are others in their place", async () => {
    mkdirSync(join(directory, "artifacts/2"), { recursive: true });
    expect((await take("root")).code).not.toBe(0);
    expect(readdirSync(join(directory, "old"))).toEqual(["1"]);
    expect(readdirSync(join(directory, "artifacts"))).toEqual(["2"]);
  });
});

describe("artifacts that are not", () => {
  const refuse = (lines: string, answer = "") => withStep(`old_database=old; ${lines}`, answer);
  const schema = "datname* | *alembic_version";

  test.each([
    ["s3://bucket/x", "s3"],
    ["sftp://deploy@files/x", "sftp"],
    ["wasbs://c@a.blob.core.windows.net", "wasbs"],
  ])("on this host but in %s are refused", async (root, scheme) => {
    const { code, stderr } = await refuse(
      `old_artifacts='' old_root=${root}; require_artifacts_here x.service`,
    );
    expect(code).toBe(1);
    expect(stderr).toContain(
      `x.service runs an unmanaged MLflow server that cannot be adopted: artifacts of its experiments are in ${scheme}, and`,
    );
  });

  test.each([
    ["s3\ngs", "artifacts of its experiments are in s3, gs, and"],
    ["", ""],
  ])("where its settings say but in the stores %j of single experiments", async (stores, cause) => {
    const { code, stderr } = await refuse(
      "old_artifacts=/x old_root=/x; require_artifacts_here x.service",
      `case $2 in *${schema}*) echo 1 ;; *place*) printf '%s' '${stores}' ;; esac`,
    );
    expect(code).toBe(cause === "" ? 0 : 1);
    expect(stderr).toContain(cause);
  });

  test("asked for in a database that does not answer are not taken for none", async () => {
    const { code } = await refuse(
      "old_artifacts=/x old_root=/x; require_artifacts_here x.service",
      `case $2 in *${schema}*) echo 1 ;; *) ${unreachable} ;; esac`,
    );
    expect(code).not.toBe(0);
  });

  const refused = "echo \"chown: changing ownership of 'x': Operation not permitted\" >&2; return 1";
  const given = (chown: string, writes: boolean) =>
    withStep(`old_artifacts=$PWD/old; mkdir -p old
      chown() { ${chown}; }; has_entry() { echo yes; }; as_user() { [[ $1 == mlflow ]] && ${writes}; }
      stat() { echo nobody-in-particular; }
      require_artifacts_for_service x.service; give_artifacts old; ls -A old`);

  test.each([
    ["refused", refused],
    ["ignored", ":"],
  ])("given to anybody, for that is %s, stay as they are where the service can write", async (_, chown) => {
    expect(await given(chown, true)).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test.each([
    ["refused", refused, "Operation not permitted)"],
    ["ignored", ":", "(the file system keeps the owner)"],
  ])("given to anybody, for that is %s, are refused where it cannot", async (_, chown, why) => {
    const { code, stderr } = await given(chown, false);
    expect(code).toBe(1);
    expect(stderr).toContain("cannot be given to the user mlflow, who cannot write there");
    expect(stderr).toContain(why);
    expect(readdirSync(join(directory, "old"))).toEqual([]);
  });

  test.each([
    ["some", "echo old/file", 1],
    ["none, for all are the service's already,", ":", 0],
  ])("of which %s cannot be given to it are not adopted in part", async (_, others, expected) => {
    const { code, stderr } = await withStep(
      `chown() { ${refused}; }; stat() { echo mlflow; }; find() { ${others}; }; mkdir old; give_artifacts old`,
    );
    expect(code).toBe(expected);
    expect(stderr).toContain(
      expected === 0 ? "" : "cannot give the artifacts to the user mlflow: chown: changing ownership of 'x'",
    );
  });

  test("given because of another failure end the run", async () => {
    const { code, stderr } = await given("echo 'Input/output error' >&2; return 1", true);
    expect(code).toBe(1);
    expect(stderr).toContain("Input/output error");
  });
});

describe("what a unit says of its data", () => {
  /** A unit with this environment and command. */
  const unit = (environment: string, command: string, files = "") => `
systemctl() {
  case $3 in
    Environment) printf '%s\\n' '${environment}' ;;
    EnvironmentFiles) printf '%s' '${files}' ;;
    ExecStart) printf '%s\\n' '{ path=/x ; argv[]=${command} ; ignore_errors=no ; start_time=[n/a] }' ;;
    MainPID) echo 0 ;;
    WorkingDirectory) echo '!/srv/mlflow' ;;
  esac
}
`;
  const databaseOf = async (uri: string, environment = "") =>
    (
      await withStep(
        `${unit(environment, `/x/mlflow server --backend-store-uri ${uri}`)} database_of x.service`,
      )
    ).stdout;

  test.each([
    ["postgresql://u:p@localhost/db", "", "db"],
    ["postgresql+psycopg2://u:p@127.0.0.1:5432/db", "", "db"],
    ["postgresql://u:p@[::1]/db", "", "db"],
    ["postgresql://u:p@ss@localhost/db", "", "db"],
    ["postgresql://u:p/a:s@s?@localhost/db?sslmode=disable", "", "db"],
    ["postgresql://u:p@localhost/x@db.example.org/db", "", ""],
    ["postgresql://u:p@localhost@db.example.org/db", "", ""],
    ["postgresql:///db", "", "db"],
    ["postgresql:///db?host=/var/run/postgresql", "", "db"],
    [`postgresql://u:p@\${HOST}/\${NAME}`, "HOST=localhost NAME=db", "db"],
    ["postgresql://u:p@db.example.org/db", "", ""],
    ["postgresql://u:p@localhost:5433/db", "", ""],
    ["postgresql:///db", "PGHOST=db.example.org", ""],
    ["postgresql:///db", "PGPORT=5433", ""],
    ["postgresql:///db", "PGSERVICE=other", ""],
    ["postgresql://localhost/db", "A=b PGHOSTADDR=192.0.2.1", ""],
    ["postgresql:///db?host=db.example.org", "", ""],
    ["postgresql:///db?sslmode=off&port=5433", "", ""],
    ["postgresql:///db?service=other", "", ""],
    ["sqlite:////home/deploy/mlflow.db", "", ""],
    ["$(cat", "", ""],
  ])("%s with %j is the database %j of this host", async (uri, environment, database) => {
    expect(await databaseOf(uri, environment)).toBe(database);
  });

  test("a URI without a port means PostgreSQL's own, whatever port ours has", async () => {
    const lines = `${unit("", "/x/mlflow server --backend-store-uri postgresql://localhost/db")} database_of x.service`;
    expect((await withStep(lines, "", { databasePort: 5433 })).stdout).toBe("");
  });

  test("is read from files too; one that cannot be read is no empty one", async () => {
    writeFileSync(join(directory, "a file.env"), "# no\nMLFLOW_BACKEND_STORE_URI='postgresql:///db'\n");
    const file = join(directory, "a file.env");
    const lines = (path: string) =>
      `${unit("", "/x/mlflow server", `${path} (ignore_errors=no)`)} database_of x.service`;
    expect((await withStep(lines(file))).stdout).toBe("db");
    expect((await withStep(lines(join(directory, "*.env")))).stdout).toBe("db");
    expect((await withStep(lines(join(directory, "none.env")))).stdout).toBe("");
    const failing = await withStep(
      `sed() { [[ $* != *file.env* ]] || return 4; command sed "$@"; }\n${lines(file)}`,
    );
    expect(failing.code).not.toBe(0);
  });

  test.each([
    ["/x/mlflow server --default-artifact-root=/data/runs -p 8000", "8000 /data/runs /data/runs"],
    ["/x/mlflow server --default-artifact-root file:///data/runs/", "5000 /data/runs file:///data/runs/"],
    ["/x/mlflow server", "5000 /srv/mlflow/mlartifacts ./mlartifacts"],
    ["/bin/bash -c MLFLOW_PORT=8001 MLFLOW_ARTIFACTS_DESTINATION=/data mlflow server", "8001 /data /data"],
    ["/x/mlflow server --default-artifact-root s3://bucket/x", "5000  s3://bucket/x"],
    ["/x/mlflow server --default-artifact-root $HOME/runs", "5000 /root/runs /root/runs"],
  ])("%s has port and artifacts %j", async (command, expected) => {
    const lines = `${unit("HOME=/root", `${command} --backend-store-uri postgresql:///db`)}
local old_database old_port old_artifacts old_root
read_server x.service; echo "$old_port $old_artifacts $old_root"`;
    const { stdout, stderr } = await withStep(lines);
    expect(stdout + stderr).toBe(`${expected}\n`);
  });

  test.each([
    ["--default-artifact-root $(cat where)", /only its shell knows where its artifacts/],
    ["--default-artifact-root ~/runs", /only its shell knows where its artifacts/],
    ["--port $(cat port)", /its port .* is not a number/],
    ["--registry-store-uri sqlite:///x", /registry has a store of its own/],
  ])("what only a shell knows is refused: %s", async (options, cause) => {
    const { code, stderr } = await withStep(
      `${unit("", `/x/mlflow server --backend-store-uri postgresql:///db ${options}`)} read_server x.service`,
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(cause);
  });
});

describe("unmanaged servers", () => {
  const units = () => join(directory, "system");
  const put = (name: string, text: string) => writeFileSync(join(units(), name), text);
  const server = "[Service]\nExecStart=/x/mlflow server\n";
  /** By what stands in the files: a template's name fails, as with systemd. */
  const systemctl = `systemctl() {
  local file
  case $5 in *@.service) echo "Unit name $5 is neither a valid invocation ID nor unit name." >&2; return 1 ;; esac
  file=$(readlink -f "system/$5")
  case $3 in
    Id) basename "$file" ;;
    ExecStart) sed -n 's/^ExecStart=\\(.*\\)/{ path=x ; argv[]=\\1 ; ignore_errors=no ; }/p' "$file" ;;
    ActiveState) if [[ -e $file.runs ]]; then echo active; else echo inactive; fi ;;
    UnitFileState) echo disabled ;;
  esac
}
`;
  const find = (question = "unmanaged_servers") =>
    bash(
      render(
        values(),
        `${body.replace("\ncheck()", "\ncheck_adoption()")}\ncheck() {\n${systemctl}\n${question}\n}`,
      ).replaceAll("/etc/systemd/system", units()),
      ["check"],
    );
  beforeEach(() => mkdirSync(units()));

  test("are those whose command starts one, each once, and nothing of ours", async () => {
    put("a.service", server);
    put("b.service", "[Service]\nExecStart=/bin/bash -c 'cd /x && exec mlflow server --port 1'\n");
    put("mlflow@.service", `${managed}\n${server}`);
    put("mlflow@5000.service", `${managed}\n${server}`);
    put("theirs@.service", server);
    put("notours.service", "[Service]\nExecStart=/x/notmlflow server\n");
    put("backup.service", "# of mlflow\n[Service]\nExecStart=/x/backup --of mlflow serverless\n");
    symlinkSync("a.service", join(units(), "alias.service"));
    symlinkSync("/dev/null", join(units(), "masked.service"));
    symlinkSync("/lib/systemd/system/gone.service", join(units(), "dangling.service"));
    expect(await find()).toEqual({ code: 0, stdout: "a.service\nb.service\n", stderr: "" });
  });

  test("are none on a host without units", async () => {
    expect(await find()).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test("are all named, whoever stops reading: nothing is cut by the end of a pipe", async () => {
    for (let number = 1; number <= 50; number += 1) {
      put(`server${number}.service`, server);
    }
    put("server1.service.runs", "");
    const { code, stdout } = await find(
      "local servers; servers=$(unmanaged_servers); [[ $servers == *server9.service* ]] && live_servers",
    );
    expect({ code, stdout }).toEqual({ code: 0, stdout: "server1.service\n" });
  });

  test("are named by a check before there is a PostgreSQL", async () => {
    put("a.service", server);
    put("a.service.runs", "");
    const { code, stdout } = await find(`command() { return 1; }\ncheck_adoption`);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout:
        "PostgreSQL does not answer on port 5432, so it cannot be told whether a.service is to be adopted\n",
    });
  });

  test("cannot be told when systemd does not answer", async () => {
    put("a.service", server);
    const { code, stdout } = await find(`systemctl() { return 1; }\nlive_servers`);
    expect(code).not.toBe(0);
    expect(stdout).toBe("");
  });
});

describe("the sites of nginx that lead to the server", () => {
  const etc = () => join(directory, "nginx");
  /** What sites.py prints for a site; 'FILE: what else it serves'. */
  function sites(files: Record<string, string>, port = 5000): string[] {
    mkdirSync(join(etc(), "sites-enabled"), { recursive: true });
    mkdirSync(join(etc(), "conf.d"), { recursive: true });
    const main = "events {}\nhttp { include mime.types; include conf.d/*.conf; include sites-enabled/*; }";
    for (const [name, text] of Object.entries({
      "nginx.conf": main,
      "mime.types": "types { text/html html; }",
      ...files,
    })) {
      writeFileSync(join(etc(), name), text);
    }
    const printed = execFileSync(
      "python3",
      ["-c", siteReader, String(port), join(etc(), "sites-enabled/mlflow-vps"), etc()],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    return String(printed)
      .split("\n")
      .slice(0, -1)
      .map((line) => line.replace(`${etc()}/`, "").replace("\t", ": "));
  }
  const server = (lines: string) => `server { listen 80; server_name _; ${lines} }`;
  const pass = (target: string) => server(`location / { proxy_pass ${target}; }`);
  const site = (text: string, more: Record<string, string> = {}) =>
    sites({ "sites-enabled/x": text, ...more });
  const alone = ["sites-enabled/x: "];

  test.each([
    "http://localhost:5000/",
    "http://127.0.0.1:5000",
    "http://[::1]:5000/",
    "http://0.0.0.0:5000/mlflow/",
    "https://localhost:5000",
    "'http://localhost:5000'",
    "http://LOCALHOST:5000/",
    "http://127.0.0.1:5000$request_uri",
    "http://127.0.0.1:5000/$1",
  ])("%s is the server, and nothing else", (target) => {
    expect(site(pass(target))).toEqual(alone);
  });

  test.each([
    "http://127.0.0.1:50001",
    "http://127.0.0.1:500",
    "http://127.0.0.1",
    "http://127.0.0.1:3000/?x=127.0.0.1.5000",
    "http://grafana/",
    "http://192.0.2.1:5000",
    "http://notlocalhost:5000/",
    "http://unix:/run/x.sock",
    "$backend",
  ])("%s is not the server: its site is left alone", (target) => {
    expect(site(pass(target))).toEqual([]);
  });

  test.each([
    ["another port", "proxy_pass http://127.0.0.1:50001;", "proxy_pass http://127.0.0.1:50001"],
    ["another name", "proxy_pass http://grafana/;", "proxy_pass http://grafana/"],
    ["a variable", "proxy_pass http://$backend;", "proxy_pass http://$backend"],
    [
      "a variable for the port's end",
      "proxy_pass http://127.0.0.1:5000$x;",
      "proxy_pass http://127.0.0.1:5000$x",
    ],
    ["TLS to another", "proxy_pass https://127.0.0.1;", "proxy_pass https://127.0.0.1"],
    ["FastCGI", "fastcgi_pass unix:/run/php/php-fpm.sock;", "fastcgi_pass unix:/run/php/php-fpm.sock"],
    ["uWSGI", "uwsgi_pass 127.0.0.1:3031;", "uwsgi_pass 127.0.0.1:3031"],
    ["SCGI", "scgi_pass 127.0.0.1:4000;", "scgi_pass 127.0.0.1:4000"],
    ["gRPC", "grpc_pass grpc://127.0.0.1:9000;", "grpc_pass grpc://127.0.0.1:9000"],
    ["memcached", "memcached_pass 127.0.0.1:11211;", "memcached_pass 127.0.0.1:11211"],
    ["Lua", `content_by_lua_block { local brace = "}" --[[ } ]] ngx.say({}) }`, "content_by_lua_block"],
    ["files", "alias /srv/documents/;", "alias /srv/documents/"],
  ])("one that serves %s too is named with it", (_, other, named) => {
    const text = server(`location / { proxy_pass http://localhost:5000/; } location /other/ { ${other} }`);
    expect(site(text)).toEqual([`sites-enabled/x: ${named}`]);
  });

  test("follows upstreams by their names, wherever they stand", () => {
    const upstream = "upstream tracking { server localhost:5000 max_fails=0; keepalive 8; }";
    expect(site(`${upstream}\n${pass("http://tracking/")}`)).toEqual(alone);
    expect(site(pass("http://tracking"), { "conf.d/upstream.conf": upstream })).toEqual(alone);
    expect(site(pass("http://tracking.example.org/"), { "conf.d/upstream.conf": upstream })).toEqual([]);
    const mixed = "upstream tracking { server localhost:5000; server localhost:50001; }";
    expect(site(`${mixed}\n${pass("http://tracking/")}`, { "conf.d/upstream.conf": "" })).toEqual([]);
    expect(site(`${mixed}\n${pass("http://tracking/")}\n${pass("http://localhost:5000")}`)).toEqual([
      "sites-enabled/x: upstream tracking, proxy_pass http://tracking/",
    ]);
    expect(site(`upstream tracking { server localhost:5000; }\n${pass("http://$name")}`)).toEqual([
      "sites-enabled/x: proxy_pass http://$name",
    ]);
  });

  test("an address in a variable or a map leads there, and cannot be followed", () => {
    expect(site(server("set $backend http://127.0.0.1:5000; location / { proxy_pass $backend; }"))).toEqual([
      "sites-enabled/x: set $backend http://127.0.0.1:5000, proxy_pass $backend",
    ]);
    expect(
      site(pass("http://$backend"), { "conf.d/map.conf": "map $host $backend { default 127.0.0.1:5000; }" }),
    ).toEqual(["conf.d/map.conf: default 127.0.0.1:5000"]);
  });

  test("comments are no configuration", () => {
    expect(site(pass("http://127.0.0.1:3000; # proxy_pass http://127.0.0.1:5000"))).toEqual([]);
    expect(site(`# server { proxy_pass http://127.0.0.1:3000; }\n${pass("http://127.0.0.1:5000")}`)).toEqual(
      alone,
    );
    expect(site(server(`location / { # that's {\n proxy_pass http://127.0.0.1:5000; }`))).toEqual(alone);
    expect(site(server(`location ~ "^/a{2}#" { proxy_pass http://127.0.0.1:5000; }`))).toEqual(alone);
  });

  test("one that leads others to TLS, or answers for the certificate, serves nothing else", () => {
    const redirect =
      "server { listen 80; if ($host = a) { return 301 https://$host$request_uri; } return 404; }";
    const challenge = server(
      "location /.well-known/acme-challenge/ { root /var/www; } location / { proxy_pass http://localhost:5000; }",
    );
    expect(site(`${redirect}\n${challenge}`)).toEqual(alone);
  });

  test("another server in the same file is named", () => {
    expect(site(`${pass("http://localhost:5000")}\nserver { server_name docs; root /srv; }`)).toEqual([
      "sites-enabled/x: server docs",
    ]);
  });

  test("what a site includes is part of it", () => {
    const include = server("include proxied.conf;");
    expect(site(include, { "proxied.conf": "location / { proxy_pass http://localhost:5000; }" })).toEqual(
      alone,
    );
    expect(
      site(include, {
        "proxied.conf":
          "location / { proxy_pass http://localhost:5000; } location /x { proxy_pass http://grafana; }",
      }),
    ).toEqual(["sites-enabled/x: proxy_pass http://grafana"]);
  });

  test("ours is not one of them, and one in nginx.conf is not for us to switch off", () => {
    expect(sites({ "sites-enabled/mlflow-vps": pass("http://localhost:5000") })).toEqual([]);
    expect(sites({ "nginx.conf": `events {} http { ${pass("http://localhost:5000")} }` })).toEqual([
      "nginx.conf: nginx itself",
    ]);
  });

  test("a configuration that cannot be read is no answer", () => {
    expect(() => site("server {")).not.toThrow(); // nginx refuses it, with nothing in it that leads anywhere
    expect(() => site("server { listen 80")).toThrow(
      /configuration cannot be read: .*sites-enabled\/x: ends within listen/,
    );
    expect(() => site("server { include gone.conf; }")).toThrow(/gone\.conf/);
    expect(() => site("} server {}")).toThrow(/unexpected }/);
  });

  const switchOff = (lines: string) =>
    withStep(
      `old_port=5000; reload_nginx() { said "reload $*"; }; rm() { said "rm $*"; }; mv() { said "mv $*"; }\n${lines}`,
    );

  test("is refused, not switched off, when one serves others too", async () => {
    const { code, stderr } = await switchOff(
      `sites_to() { printf '%s\\t%s\\n' /etc/nginx/conf.d/x.conf '' /etc/nginx/sites-enabled/y 'proxy_pass http://grafana/'; }\nrequire_own_sites old.service`,
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /its site \/etc\/nginx\/sites-enabled\/y serves other programs too.*\(proxy_pass http:\/\/grafana\/\)\. Nothing was changed/,
    );
    expect(
      (await switchOff(`sites_to() { printf '/x\\tproxy_pass http://grafana/\\n'; }\ndisable_sites`)).code,
    ).toBe(1);
    expect(calls()).toBe("");
  });

  test("switches off those that are for it alone", async () => {
    const { code } = await switchOff(
      `sites_to() { printf '%s\\t\\n' /etc/nginx/conf.d/x.conf; }\ndisable_sites`,
    );
    expect(code).toBe(0);
    expect(calls()).toBe(
      "mv --backup=numbered /etc/nginx/conf.d/x.conf /etc/nginx/sites-available/\nreload /etc/nginx/sites-enabled /etc/nginx/conf.d\n",
    );
    expect((await switchOff("sites_to() { return 1; }\ndisable_sites")).code).not.toBe(0);
  });
});
