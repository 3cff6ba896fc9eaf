import { spawnSync } from "node:child_process";
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
import { managed, type Values } from "../../components/step/script";
import { runFunctions } from "./stepFunctions";

let directory: string;
let values: Values;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "mlflow-vps-service-"));
  values = {
    version: "3.17.2",
    release: join(directory, "releases/3.17.2-lock"),
    port: 5000,
    artifacts: join(directory, "artifacts"),
    workers: "auto",
    jobs: "auto",
    deleteData: false,
    account: "mlflow",
    address: "127.0.0.1",
    database: "mlflow",
    databasePort: 5432,
    upstreamFile: "/etc/mlflow-vps/upstream.conf",
    temporary: join(directory, "tmp"),
    sizes: ["0 1 false"],
    shares: ["8 16 4", "7 14 3"],
    unit: `${managed}\nthe unit`,
    launcher: `${managed}\nthe launcher`,
    queuedJobs: "",
    logRotation: managed,
    restartRule: managed,
    environment: "NAME=value",
  };
  values = { ...values, upstreamFile: join(directory, "etc/mlflow-vps/upstream.conf") };
});
afterEach(() => rmSync(directory, { recursive: true }));

function put(path: string, content = ""): string {
  const file = join(directory, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file;
}

/** Owners are root's to give. */
const anybody = "chown() { :; }\ncheck_access() { :; }\n";
const run = (lines: string) => runFunctions("service", values, anybody + lines, directory);
/** systemd, as far as the functions ask: a list of units, and properties of one. */
const systemd = (units: string, properties: Record<string, string> = {}) => `
systemctl() {
  case "$1 $*" in
    list-units*) printf '%s\\n' ${units
      .split(" ")
      .map((port) => port && `"mlflow@${port}.service loaded active running MLflow"`)
      .join(" ")} ;;
${Object.entries(properties)
  .map(([name, value]) => `    show*"--property ${name} "*) echo "${value}" ;;`)
  .join("\n")}
    *) echo "systemctl $*" ;;
  esac
}
`;
const atBoot = (port: number) => {
  const link = join(directory, `etc/systemd/system/multi-user.target.wants/mlflow@${port}.service`);
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync("../any", link);
};

describe("artifacts on a file system that gives no file to anybody", () => {
  const note = () => join(directory, "etc/mlflow-vps/artifacts");
  /** The owner that 'stat' shows stays, whatever 'install' says of it; whether the service can write. */
  const mounted = (install: string, writes: boolean, owner = "root:root 777") => `
    check_access() { [[ '${owner}' == "$2 \${3#0}" ]] || problem "$1 is ${owner}, not $2 \${3#0}"; }
    install() { [[ $* != *" $artifacts" ]] || { ${install}; }; }
    write_file() { mkdir -p "\${1%/*}"; printf '%s\\n' "$4" >"$1"; }
    as_user() { [[ $1 == mlflow ]] && ${writes}; }
    make_artifacts && check_artifacts`;
  const refused = `echo "install: cannot change ownership of 'x': Operation not permitted" >&2; return 1`;

  test.each([
    ["refuses", refused],
    ["ignores it", ":"],
  ])("that %s are taken as they are mounted, where the service can write", async (_, install) => {
    expect(await run(mounted(install, true))).toMatchObject({
      code: 0,
      stdout: `tiny: ${values.artifacts} stays as it is mounted (${values.artifacts} is root:root 777, not mlflow:mlflow 750): the service can write there\n`,
    });
    expect(readFileSync(note(), "utf8")).toContain("root:root 777");
    expect(
      (await run(`${mounted(install, true, "root:root 755")}`.replace("make_artifacts &&", ""))).stdout,
    ).toBe(`${values.artifacts} is root:root 755, not mlflow:mlflow 750\n`);
  });

  test.each([
    ["refuses", refused, "(install: cannot change ownership of 'x': Operation not permitted)"],
    ["ignores it", ":", "(it keeps the owner)"],
  ])("that %s are named with the remedy, where it cannot", async (_, install, why) => {
    const { code, stderr } = await run(mounted(install, false));
    expect(code).toBe(1);
    expect(stderr).toContain(`the service cannot write to ${values.artifacts}, and its file system`);
    expect(stderr).toContain(`${why}: mount it for that user`);
    expect(existsSync(note())).toBe(false);
  });

  test("are not taken for such because of another failure", async () => {
    const { code, stderr } = await run(mounted("echo 'No space left' >&2; return 1", true));
    expect(code).toBe(1);
    expect(stderr).toContain(`cannot make ${values.artifacts}: No space left`);
  });

  test("are not given up where the host's own directory is in their place", async () => {
    put("etc/mlflow-vps/artifacts", `${values.artifacts} is root:root 777`);
    const script = mounted(":", true, "mlflow:mlflow 750");
    const { code, stderr } = await run(script);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /the host's own directory, where .* 'rm .*\/artifacts', then run again\n$/,
      ),
    });
    mkdirSync(String(values.artifacts), { recursive: true });
    expect((await run(script.replace("make_artifacts &&", ""))).stdout).toContain("the host's own directory");
    rmSync(note());
    expect(await run(script)).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test("of another place than is noted are the service's", async () => {
    put("etc/mlflow-vps/artifacts", "/elsewhere is root:root 777");
    expect(await run(mounted(":", true, "mlflow:mlflow 750"))).toEqual({ code: 0, stdout: "", stderr: "" });
  });
});

describe("the instance that serves", () => {
  test.each([
    ["nothing on a bare host", "", [], undefined, ""],
    ["the one that nginx sends to", "5000 5001", [5000, 5001], 5001, "5001"],
    ["the one that nginx sent to, when none runs", "", [5000], 5000, "5000"],
    ["the one that runs, when the one of nginx does not", "5001", [5000, 5001], 5000, "5001"],
    ["the one that starts at boot, when nginx's file says nothing", "5000 5001", [5001], undefined, "5001"],
  ])("is %s", async (_, running, enabled, written, found) => {
    mkdirSync(join(directory, "etc/systemd/system/multi-user.target.wants"), { recursive: true });
    enabled.forEach(atBoot);
    if (written !== undefined) {
      put("etc/mlflow-vps/upstream.conf", "");
      await run(`upstream_to ${written} >"$upstream_file"`);
    }
    expect(await run(`${systemd(running)}serving_instance`)).toEqual({
      code: 0,
      stdout: `${found}\n`,
      stderr: "",
    });
  });

  test("is found in the file of the version before, too", async () => {
    put("etc/mlflow-vps/upstream.conf", `${managed}\nserver 127.0.0.1:5001;\n`);
    expect((await run(`${systemd("5000 5001")}serving_instance`)).stdout).toBe("5001\n");
  });

  test("is not guessed when systemd does not answer", async () => {
    put("etc/mlflow-vps/upstream.conf", `${managed}\nserver 127.0.0.1:5001;\n`);
    const { code, stdout } = await run("systemctl() { return 1; }\nserving=$(serving_instance)\necho on");
    expect([code === 0, stdout]).toEqual([false, ""]);
  });

  test("is followed, for nginx, by the one on the other port", async () => {
    expect((await run("upstream_to 5001")).stdout).toBe(
      `${managed}\nserver 127.0.0.1:5001 max_fails=0;\nserver 127.0.0.1:5000 max_fails=0 backup;\n`,
    );
  });
});

describe("a change whose new instance does not start", () => {
  test("leaves unit and environment of the instance that serves as they are", async () => {
    const unit = put("etc/systemd/system/mlflow@5000.service", `${managed}\nthe unit of before\n`);
    const environment = put("etc/mlflow-vps/mlflow-5000.env", `${managed}\nthe settings of before\n`);
    put("etc/mlflow-vps/upstream.conf", `${managed}\nserver 127.0.0.1:5000 max_fails=0;\n`);
    atBoot(5000);
    const { code, stdout } = await run(`${systemd("5000", { ActiveState: "active" })}
      make_account() { :; }
      make_directories() { :; }
      install() { :; }
      write_file() { [[ $1 != /etc/[ln]* ]] || return 0; printf '%s\\n' "$4" >"$1"; }
      vacate() { echo "vacating $1"; }
      require_free_port() { :; }
      check_instance() { echo "it is not as it should be"; }
      start_instance() { fail "it does not start"; }
      apply`);
    expect({ code, vacated: stdout.includes("vacating 5001") }).toEqual({ code: 1, vacated: true });
    expect(readFileSync(unit, "utf8")).toBe(`${managed}\nthe unit of before\n`);
    expect(readFileSync(environment, "utf8")).toBe(`${managed}\nthe settings of before\n`);
    expect(readdirSync(join(directory, "etc/systemd/system")).sort()).toEqual([
      "mlflow@5000.service",
      "multi-user.target.wants",
    ]);
  });
});

describe("the keys of what users keep in MLflow", () => {
  const webhook = "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY";
  const kept = () => readFileSync(join(directory, "var/backups/mlflow-vps/keys"), "utf8");
  const remove = (deleteData: boolean) => {
    values = { ...values, deleteData };
    put("etc/mlflow-vps/upstream.conf", `${managed}\nserver 127.0.0.1:5000 max_fails=0;\n`);
    put(
      "etc/mlflow-vps/mlflow-5000.env",
      `A=b\n${webhook}=stack\n${webhook}=adopted\nMLFLOW_CRYPTO_KEK_PASSPHRASE=k\n`,
    );
    return run(`${systemd("", { ActiveState: "inactive" })}
      our_instances() { :; }
      delete_directory() { :; }
      rmdir() { :; }
      remove`);
  };

  test("stay with the data when the server is removed, those that were in use", async () => {
    expect(await remove(false)).toMatchObject({ code: 0 });
    expect(kept()).toBe(`${webhook}=adopted\nMLFLOW_CRYPTO_KEK_PASSPHRASE=k\n`);
  });

  test("go with the data", async () => {
    expect(await remove(true)).toMatchObject({ code: 0 });
    expect(existsSync(join(directory, "var/backups/mlflow-vps/keys"))).toBe(false);
  });

  test.each([
    ["other ones come with a stack whose state was lost", "k", "other", "MLFLOW_CRYPTO_KEK_PASSPHRASE=k\n"],
    ["they are the stack's own", "k", "k", undefined],
  ])("of the instance that serves stay where %s", async (_, before, ours, expected) => {
    put("etc/mlflow-vps/mlflow-5000.env", `A=b\nMLFLOW_CRYPTO_KEK_PASSPHRASE=${before}\n`);
    values = { ...values, environment: `${webhook}=new\nMLFLOW_CRYPTO_KEK_PASSPHRASE=${ours}` };
    expect(await run("keep_earlier_keys 5000; keep_earlier_keys ''")).toMatchObject({ code: 0 });
    expect(expected === undefined ? existsSync(join(directory, "var")) : kept()).toBe(expected ?? false);
  });

  test("that the data have brought come after the stack's own: systemd takes the last one", async () => {
    put("var/backups/mlflow-vps/keys", `${webhook}=adopted\n`);
    values = { ...values, environment: `${webhook}=stack` };
    const { stdout } = await run("memory_mb() { echo 2000; }\nenvironment_of 5000");
    expect(stdout).toContain(`${webhook}=stack\n${webhook}=adopted\nMLFLOW_PORT=5000\n`);
  });
});

describe("the share of a worker in the database", () => {
  test.each([
    ["auto", "8 16 4"],
    [2, "7 14 3"],
  ])("with %s workers is theirs", async (workers, share) => {
    values = { ...values, workers };
    const { stdout } = await run("memory_mb() { echo 2000; }\nenvironment_of 5000");
    const [requests, connections, overflow] = share.split(" ");
    expect(stdout).toContain(`\nMLFLOW_SQLALCHEMYSTORE_POOL_SIZE=${connections}\n`);
    expect(stdout).toContain(`\nMLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW=${overflow}\n`);
    expect(stdout).toContain(`\nMLFLOW_VPS_REQUESTS=${requests}\n`);
    expect(stdout).toContain(`\nGUNICORN_CMD_ARGS=--threads=${requests} `);
  });
});

describe("the template of the version before", () => {
  const template = () => put("etc/systemd/system/mlflow@.service", `${managed}\nthe unit\n`);
  const isLeft = (running: string) =>
    run(`${systemd(running)}left=$(template_is_left); echo "\${left:-no}"`).then(({ stdout }) => stdout);

  test("stays while an instance runs by it, and is left over then", async () => {
    template();
    put("etc/systemd/system/mlflow@5001.service");
    mkdirSync(join(directory, "etc/systemd/system/multi-user.target.wants"));
    expect(await isLeft("5000 5001")).toBe("no\n");
    expect(await isLeft("5001")).toBe("yes\n");
    atBoot(5000);
    expect(await isLeft("5001")).toBe("no\n");
  });

  test("of somebody else is left alone, and so are its instances", async () => {
    put("etc/systemd/system/mlflow@.service", "theirs\n");
    mkdirSync(join(directory, "etc/systemd/system/multi-user.target.wants"));
    expect(await isLeft("")).toBe("no\n");
  });
});

describe("instances", () => {
  const ours = (running: string) =>
    run(`${systemd(running)}our_instances`).then(({ stdout }) => stdout.split("\n").slice(0, -1));
  beforeEach(() =>
    mkdirSync(join(directory, "etc/systemd/system/multi-user.target.wants"), { recursive: true }),
  );

  test("are those that run, that start at boot, and those whose files a killed run has left", async () => {
    put("etc/systemd/system/mlflow@5000.service", `${managed}\n`);
    put("etc/systemd/system/mlflow@5001.service", `${managed}\n`);
    put("etc/mlflow-vps/mlflow-6000.env");
    put("etc/mlflow-vps/mlflow-rehearsal.env");
    atBoot(6001);
    expect(await ours("5000")).toEqual(["5000", "5001", "6000", "6001"]);
  });

  test("are not units of that name that somebody else made", async () => {
    put("etc/systemd/system/mlflow@8000.service", "[Unit]\n");
    put("etc/systemd/system/mlflow@.service", "[Unit]\n");
    put("etc/systemd/system/mlflow@5000.service", "# the first line was edited\n");
    put("etc/mlflow-vps/mlflow-5000.env");
    expect(await ours("5000 8000 8001")).toEqual(["5000"]);
  });
});

describe("a process in a container", () => {
  test("is seen to be older than a file: the uptime there is not the host's", async () => {
    put("proc/uptime", "1.00 1.00\n");
    symlinkSync("/proc/self", join(directory, "proc/self"));
    const ask = 'older=$(older_than $$ file); [[ -z $older ]] || echo "$older"';
    const { stdout, stderr } = await run(
      `ln -s /pr''oc/$$ proc/$$; touch -d '-1 hour' file; ${ask}; sleep 0.2; touch file; ${ask}`,
    );
    expect(stdout + stderr).toBe("yes\n");
  });
});

describe("an instance", () => {
  /** `stale`: the file that is newer than the process. */
  const check = (stale = "none") =>
    run(`${systemd("5000", { MainPID: "4711", ControlGroup: "/s/mlflow" })}
      with_files_of() { :; }
      check_reach() { :; }
      answers() { echo yes; }
      older_than() { [[ " $* " != *"/${stale} "* ]] || echo yes; }
      check_instance 5000`);
  beforeEach(() => {
    put("proc/4711/cmdline", `${values.release}/bin/python\0/etc/mlflow-vps/mlflow-5000.py\0server\0`);
    put("proc/4711/maps", "7f00 r-xp 00 08:01 42 /usr/lib/libc.so.6\n");
    put("sys/fs/cgroup/s/mlflow/cgroup.procs", "4711\n");
  });

  test("that is right is not named", async () => {
    expect(await check()).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test("that is older than its release on the disk is named", async () => {
    expect((await check(".contents")).stdout).toBe(
      "mlflow@5000.service was started before its release was last repaired\n",
    );
  });

  test.each(["", "systemd/", "unified/"])(
    "with a library that was replaced is named, with control groups in '%s'",
    async (hierarchy) => {
      rmSync(join(directory, "sys"), { recursive: true });
      put(`sys/fs/cgroup/${hierarchy}s/mlflow/cgroup.procs`, "4711\n4712\n");
      put("proc/4712/maps", "7f00 r-xp 00 08:01 42 /usr/lib/libssl.so.3 (deleted)\n");
      expect((await check()).stdout).toBe(
        "mlflow@5000.service runs with libraries that an update has replaced since (libssl.so.3)\n",
      );
    },
  );

  test("whose processes cannot be found is no right one", async () => {
    rmSync(join(directory, "sys"), { recursive: true });
    const { code, stderr } = await check();
    expect(code).not.toBe(0);
    expect(stderr).toContain("the control group of mlflow@5000.service, /s/mlflow, is not below");
  });
});

describe("draining", () => {
  /** A clock that jumps with each look. */
  const drain = (open: string, late: string, seconds: number, unfinished = "0") =>
    run(`sleep() { ((SECONDS += 10)); }
      unfinished_jobs() { echo $((${unfinished})); }
      signal_job_runner() { echo "job runner: $2"; }
      connections_to() { echo $((${open})); }
      outgoing_workers() { if ((${late})); then echo 42; fi; }
      stop_instance() { echo "stopped after $SECONDS s"; }
      drain_instance 5001 ${seconds}`).then(({ stdout }) => stdout);

  test("ends with the last connection", async () => {
    expect(await drain("SECONDS < 100 ? 2 : 0", "0", 15)).toMatch(/stopped after 10\d s\n$/);
  });

  test("stops no instance that still answers a request, and says so", async () => {
    const output = await drain("1", "0", 15);
    expect(output).toContain(
      "mlflow@5001.service still answers requests (1 open) after 10 minutes: it is left running",
    );
    expect(output).not.toContain("stopped after");
  });

  test("waits for its jobs; those that take longer start over", async () => {
    expect(await drain("0", "0", 15, "SECONDS < 100 ? 2 : 0")).toMatch(/2 jobs.*\nstopped after 10\d s\n$/);
    expect(await drain("0", "0", 15, "3")).toMatch(
      /jobs of mlflow@5001\.service \(3\) are not finished after 10 minutes: they start over, those submitted during this change at the next start\njob runner: KILL\nstopped after 60\d s\n$/,
    );
  });

  test("does not wait for the requests of other sites, but for late ones of ours", async () => {
    expect(await drain("0", "1", 15)).toMatch(/stopped after 2\d s\n$/);
  });

  test("waits for all when nginx's workers from before know no other instance", async () => {
    expect(await drain("0", "1", 600)).toMatch(/stopped after 60\d s\n$/);
    expect(await drain("0", "SECONDS < 100", 600)).toMatch(/stopped after 10\d s\n$/);
  });
});

describe("another instance", () => {
  const promoted = (open: number, runnerOfTheOther = ":") =>
    run(`${systemd("5000 5001")}
      job_runner_of() { if [[ $1 == 5000 ]]; then ${runnerOfTheOther}; fi; }
      logged() { shift; "$@"; }
      write_file() { printf '%s\\n' "$4" >"$1"; echo "writing \${1##*/}"; }
      nginx_state() { echo ready; }
      nginx_has_read() { :; }
      reload_nginx() { echo "reloading nginx"; }
      connections_to() { echo ${open}; }
      drain_instance() { echo "draining $*"; }
      promote 5001`).then(({ stdout }) => stdout.trim().split("\n"));
  const taken = ["systemctl enable --force mlflow@5001.service", "writing upstream.conf", "reloading nginx"];

  test("takes the place of the one before, which is drained then", async () => {
    atBoot(5000);
    put(
      "etc/mlflow-vps/upstream.conf",
      "server 127.0.0.1:5000 max_fails=0;\nserver 127.0.0.1:5001 max_fails=0 backup;\n",
    );
    expect(await promoted(2)).toEqual([...taken, "draining 5000 15"]);
  });

  test("that nginx does not know yet lets it read its last requests for longer", async () => {
    atBoot(5000);
    put("etc/mlflow-vps/upstream.conf", `${managed}\nserver 127.0.0.1:5000;\n`);
    expect(await promoted(2)).toEqual([...taken, "draining 5000 600"]);
  });

  test("does not wait a second time for one that was left running, and has it stopped once it is idle", async () => {
    mkdirSync(join(directory, "etc/systemd/system/multi-user.target.wants"), { recursive: true });
    put("etc/mlflow-vps/upstream.conf", "server 127.0.0.1:5001 max_fails=0;\n");
    expect(await promoted(2)).toEqual(taken);
    expect(await promoted(0)).toEqual([...taken, "draining 5000 15"]);
  });

  test("is waited for again when the wait for its jobs was interrupted", async () => {
    mkdirSync(join(directory, "etc/systemd/system/multi-user.target.wants"), { recursive: true });
    put("etc/mlflow-vps/upstream.conf", "server 127.0.0.1:5001 max_fails=0;\n");
    expect(await promoted(2, "echo 4711")).toEqual([...taken, "draining 5000 15"]);
  });
});

describe("the job runner", () => {
  const jobs = (lines: string) =>
    run(`job_runner_of() { echo 4711; }
      kill() { echo "kill $*"; }
      sql() { echo 2; }
      ${lines}`);

  test("is suspended and resumed by signals", async () => {
    expect((await jobs("signal_job_runner 5000 STOP; signal_job_runner 5000 CONT")).stdout).toBe(
      "kill -STOP 4711\nkill -CONT 4711\n",
    );
  });

  test("that has just ended needs no signal; one that takes none is a failure", async () => {
    expect(await jobs("kill() { return 1; }; signal_job_runner 5000 STOP")).toMatchObject({ code: 0 });
    put("proc/4711/comm", "python");
    expect((await jobs("kill() { return 1; }; signal_job_runner 5000 STOP")).stderr).toContain(
      "cannot send STOP to process 4711",
    );
  });

  test("tells queued jobs and running ones; without its queues it is no answer", async () => {
    put("proc/4711/environ", "A=b\0_MLFLOW_HUEY_STORAGE_PATH=/dev/shm/queues\0");
    expect(
      (
        await jobs(
          "python3() { [[ $3 == */proc/4711/root/dev/shm/queues ]] && echo 3; }; unfinished_jobs 5000",
        )
      ).stdout,
    ).toBe("5\n");
    put("proc/4711/environ", "A=b\0");
    const { code, stdout, stderr } = await jobs("unfinished_jobs 5000");
    expect(code).not.toBe(0);
    expect(stdout).toBe("");
    expect(stderr).toContain("does not say where its queues are");
  });

  test("has queues that are counted: SQLite files, but for the periodic tasks", () => {
    const queues = join(directory, "queues");
    const count = () =>
      spawnSync("python3", [join(__dirname, "../../components/tracking/service/queued_jobs.py"), queues], {
        encoding: "utf8",
      });
    expect(count().status).not.toBe(0);
    mkdirSync(queues);
    expect(count().stdout).toBe("0\n");
    const make = `import sqlite3, sys
for name, tasks in [("a", 2), ("b", 0), ("periodic_tasks", 5)]:
    with sqlite3.connect(f"{sys.argv[1]}/{name}.mlflow-huey-store") as store:
        store.execute("create table task (id)")
        store.execute("create table schedule (id)")
        store.executemany("insert into task values (?)", [(n,) for n in range(tasks)])
        store.execute("insert into schedule values (1)")
sqlite3.connect(f"{sys.argv[1]}/new.mlflow-huey-store").execute("create table kv (id)")`;
    expect(spawnSync("python3", ["-c", make, queues], { encoding: "utf8" }).stderr).toBe("");
    expect(count()).toMatchObject({ status: 0, stdout: "4\n" });
  });
});

describe("pruning releases", () => {
  const release = (name: string, day: number) => {
    mkdirSync(join(directory, "releases", name), { recursive: true });
    utimesSync(join(directory, "releases", name), day, day);
  };

  test("keeps the release before, and one that an instance still runs", async () => {
    ["3.1.0-a", "3.2.0-b", "3.14.0-c", "3.16.1-d"].forEach(release);
    release("3.17.2-lock", 9);
    put("etc/mlflow-vps/mlflow-5001.env", `MLFLOW_VPS_RELEASE=${join(directory, "releases/3.2.0-b")}\n`);
    expect(await run("prune_releases")).toMatchObject({ code: 0, stderr: "" });
    expect(readdirSync(join(directory, "releases"))).toEqual(["3.16.1-d", "3.17.2-lock", "3.2.0-b"]);
    expect(existsSync(join(directory, "releases/3.14.0-c"))).toBe(false);
  });
});
