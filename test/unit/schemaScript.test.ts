import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { rehearsal } from "../../components/data/schema/schema";
import { managed, type Values } from "../../components/step/script";
import { runFunctions } from "./stepFunctions";

let directory: string;
let values: Values;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "mlflow-vps-schema-"));
  values = {
    version: "3.17.2",
    release: join(directory, "releases/3.17.2-lock"),
    database: "mlflow",
    role: "mlflow",
    databasePort: 5432,
    deleteData: false,
    account: "mlflow",
    address: rehearsal.address,
    databaseAddress: "127.0.0.1",
    artifacts: join(directory, "tmp/rehearsal"),
    temporary: join(directory, "tmp"),
    workers: "auto",
    jobs: false,
    sizes: ["0 1 false"],
    shares: ["8 16 4", "7 14 3"],
    unit: `${managed}\nthe unit`,
    launcher: `${managed}\nthe launcher`,
    environment: "NAME=value",
    passwordFile: join(directory, "pgpass"),
    storeUri: "postgresql+psycopg2://mlflow@127.0.0.1:5432/mlflow",
    copyUri: `postgresql+psycopg2://mlflow@127.0.0.1:5432/${rehearsal.database}`,
    copyPasswordFile: join(directory, "etc/mlflow-vps/pgpass-rehearsal"),
    smokeTest: "",
  };
  put("releases/3.17.2-lock/schema", "abc\n");
});
afterEach(() => rmSync(directory, { recursive: true }));

function put(path: string, content = ""): string {
  const file = join(directory, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file;
}

const run = (lines: string) => runFunctions("schema", values, lines, directory);
/** PostgreSQL, whose answer to what the schema is is this command. */
const psql = (answer: string) => `psql() { cat >/dev/null; ${answer}; }\n`;
/** All that an upgrade does says so, and does nothing; a line can put something else in its place. */
const said = (...functions: string[]) => functions.map((name) => `${name}() { echo ${name}; }\n`).join("");
const upgrade = (lines = "", answer = "echo xyz") =>
  run(`${psql(answer)}
    ${said("require_upgrade_path", "require_room", "await_late_instance", "rehearse", "keep_dump", "migrate_database", "prune_dumps")}
    ${lines}
    apply`);

describe("the database's schema", () => {
  const check = (answer: string) => run(`${psql(answer)}check`);

  test("that is right is not named", async () => {
    expect(await check("echo abc")).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test("that is another is named", async () => {
    expect((await check("echo xyz")).stdout).toBe("the database's schema is not that of MLflow 3.17.2\n");
  });

  test("that a new database has not got yet is not named: the first start of the service makes it", async () => {
    expect(await check(":")).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await upgrade("", ":")).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test("that cannot be read is not guessed, and the cause is told", async () => {
    expect((await check("echo 'FATAL: the database system is starting up' >&2; return 2")).stdout).toBe(
      "the service's database does not answer: FATAL: the database system is starting up\n",
    );
    const migrated = await upgrade("", "echo no >&2; return 2");
    expect(migrated.stdout).toBe("");
    expect(migrated.stderr).toContain("the database does not answer: no");
  });

  test("is no reason to go on when a rehearsal was interrupted", async () => {
    put("etc/mlflow-vps/pgpass-rehearsal");
    expect((await check("echo abc")).stdout).toBe(
      "a rehearsal of a migration was interrupted; its copy of the database is still there\n",
    );
  });
});

describe("an upgrade", () => {
  test("rehearses, dumps and migrates, in this order, and starts with what may be in its way", async () => {
    expect((await upgrade()).stdout.trim().split("\n")).toEqual([
      "require_upgrade_path",
      "require_room",
      "await_late_instance",
      "rehearse",
      "keep_dump",
      "migrate_database",
      "prune_dumps",
    ]);
  });

  test("whose schema is there already does nothing", async () => {
    expect(await upgrade("", "echo abc")).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test.each(["rehearse", "keep_dump", "migrate_database"])("goes no further when %s fails", async (stage) => {
    const { code, stdout } = await upgrade(`${stage}() { fail "it fails"; }`);
    const stages = ["rehearse", "keep_dump", "migrate_database", "prune_dumps"];
    expect(code).toBe(1);
    expect(stages.filter((each) => stdout.includes(each))).toEqual(stages.slice(0, stages.indexOf(stage)));
  });

  test("after one that was killed takes its copy away first", async () => {
    put("etc/mlflow-vps/pgpass-rehearsal");
    const { stdout } = await upgrade('end_rehearsal() { echo ended; rm "$copy_password_file"; }', "echo abc");
    expect(stdout).toBe("ended\n");
  });
});

describe("a rehearsal", () => {
  const units = () => readdirSync(join(directory, "etc/systemd/system")).sort();
  const rehearse = (lines = "") =>
    run(`
      chown() { :; }
      check_access() { :; }
      make_directories() { :; }
      install() { :; }
      systemctl() { case "$1 $*" in show*ActiveState*) echo inactive ;; esac; }
      memory_mb() { echo 2000; }
      sql() { cat >>statements; }
      rehearse_migration() { at_exit true; echo "migrating $4 with $(<"$5")"; }
      write_file() { mkdir -p "\${1%/*}"; printf '%s\\n' "$4" >"$1"; }
      answers() { echo yes; }
      python3() { echo "smoke test of $3"; ls etc/systemd/system; cat etc/mlflow-vps/mlflow-rehearsal.env; }
      logged() { shift; "$@"; }
      listener_inode() { case $1 in 5000 | 5001) echo 4711 ;; esac; }
      ${lines}
      rehearse`);
  beforeEach(() => {
    put("pgpass", "127.0.0.1:5432:mlflow:mlflow:secret\n");
    put("etc/systemd/system/mlflow@5000.service", "the unit of before\n");
    put("etc/mlflow-vps/mlflow-5000.env", "the settings of before\n");
  });

  test("tries the release on the copy, where no port is taken, and leaves nothing", async () => {
    const { code, stdout, stderr } = await rehearse();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain(
      `migrating ${values.copyUri} with 127.0.0.1:5432:mlflow_vps_rehearsal:mlflow:secret\n`,
    );
    expect(stdout).toContain(`smoke test of 127.0.0.2:5002\nmlflow@5000.service\nmlflow@rehearsal.service\n`);
    expect(stdout).toContain("NAME=value\nMLFLOW_PORT=5002\nMLFLOW_WORKERS=1\n");
    expect(units()).toEqual(["mlflow@5000.service"]);
    expect(readdirSync(join(directory, "etc/mlflow-vps"))).toEqual(["mlflow-5000.env"]);
  });

  test("that fails leaves nothing either, and the instance that serves as it is", async () => {
    const { code } = await rehearse("python3() { return 1; }");
    expect(code).toBe(1);
    expect(units()).toEqual(["mlflow@5000.service"]);
    expect(readFileSync(join(directory, "etc/systemd/system/mlflow@5000.service"), "utf8")).toBe(
      "the unit of before\n",
    );
    expect(readFileSync(join(directory, "etc/mlflow-vps/mlflow-5000.env"), "utf8")).toBe(
      "the settings of before\n",
    );
    expect(readdirSync(join(directory, "etc/mlflow-vps"))).toEqual(["mlflow-5000.env"]);
    expect(existsSync(String(values.artifacts))).toBe(false);
  });
});

describe("an instance from before the last change", () => {
  const atBoot = (port: number) => {
    const link = join(directory, `etc/systemd/system/multi-user.target.wants/mlflow@${port}.service`);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync("../any", link);
  };
  /** A clock that jumps with each look. */
  const wait = (running: string, open: string) =>
    run(`sleep() { ((SECONDS += 10)); }
      running_instances() { printf '%s\\n' ${running}; }
      connections_to() { if [[ $1 == 5000 ]]; then echo $((${open})); else echo 9; fi; }
      await_late_instance
      echo "after $SECONDS s"`);
  beforeEach(() => {
    put("etc/mlflow-vps/mlflow-5000.env");
    put("etc/mlflow-vps/mlflow-5001.env");
  });

  test("is waited for while it answers requests: its port is needed after the migration", async () => {
    atBoot(5001);
    expect((await wait("5000 5001", "SECONDS < 100 ? 1 : 0")).stdout).toMatch(
      /^tiny: waiting for mlflow@5000\.service, which served before the last change and still answers requests, at most 10 minutes\nafter 10\d s\n$/,
    );
    const { code, stderr } = await wait("5000 5001", "1");
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /mlflow@5000\.service, which served before the last change, still answers requests, and its port is needed\. Nothing was changed\./,
    );
  });

  test("is none when it answers no request, when it is the one that serves, and when it is not ours", async () => {
    atBoot(5001);
    expect((await wait("5000 5001", "0")).stdout).toBe("after 0 s\n");
    expect((await wait("5001", "1")).stdout).toBe("after 0 s\n");
    rmSync(join(directory, "etc/mlflow-vps/mlflow-5000.env"));
    expect((await wait("5000 5001", "1")).stdout).toBe("after 0 s\n");
  });

  test("is not the one that serves, should that not start at boot", async () => {
    mkdirSync(join(directory, "etc/systemd/system/multi-user.target.wants"), { recursive: true });
    expect((await wait("5000", "1")).stdout).toBe("after 0 s\n");
  });
});

describe("dumps", () => {
  const dump = (database: string, day: number, change: string) => {
    const name = `${database}-202611${String(day).padStart(2, "0")}T000000Z-before-${change}.dump`;
    utimesSync(put(`var/backups/mlflow-vps/${name}`), day, day);
    return name;
  };
  const dumps = () => readdirSync(join(directory, "var/backups/mlflow-vps"));

  test("of the last two upgrades are kept, the way back from an adoption, and other databases'", async () => {
    const adopted = dump("mlflow", 1, "adoption");
    const others = [dump("other", 2, "3.1.0"), dump("mlflow_2", 2, "3.1.0"), dump("other", 3, "3.2.0")];
    dump("mlflow", 4, "3.14.0");
    const kept = [dump("mlflow", 5, "3.16.1"), dump("mlflow", 6, "3.17.2")];
    expect(await run("prune_dumps")).toMatchObject({ code: 0, stderr: "" });
    expect(dumps()).toEqual([adopted, ...others, ...kept].sort());
  });

  test("of an upgrade that fails each night need no pruning: each replaces the one before", async () => {
    dump("mlflow", 1, "3.17.2");
    const kept = [dump("mlflow", 2, "3.16.1"), dump("mlflow", 2, "adoption")];
    mkdirSync(join(directory, "var/log/mlflow-vps"), { recursive: true });
    const lines = 'dump_database() { echo rows; }\nkeep_dump "$database" "$database" "$version"\n';
    expect(await run(`${lines}${lines}`)).toMatchObject({ code: 0, stderr: "" });
    expect(dumps()).toHaveLength(3);
    expect(dumps()).toEqual(expect.arrayContaining(kept));
    // And one that fails halfway keeps what there is.
    const before = dumps();
    expect(await run(lines.replace("echo rows", "echo rows; false"))).toMatchObject({ code: 1 });
    expect(dumps()).toEqual(before);
  });

  test("stay when the step is removed, unless the data goes too", async () => {
    const [kept] = [dump("mlflow", 1, "3.17.2")];
    expect((await run("remove")).stdout).toBe(
      `tiny: kept: dumps of the database in ${directory}/var/backups/mlflow-vps\n`,
    );
    expect(dumps()).toEqual([kept]);
    values = { ...values, deleteData: true };
    expect((await run("remove")).stdout).toBe(
      "tiny: deleted the dumps of the database, as data.deleteOnDestroy says\n",
    );
    expect(existsSync(join(directory, "var/backups/mlflow-vps"))).toBe(false);
    expect(await run("remove")).toEqual({ code: 0, stdout: "", stderr: "" });
  });
});
