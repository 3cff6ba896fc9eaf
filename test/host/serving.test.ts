import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { client, Deployment, Guest, searchExperiments, send, until } from "./harness";
import { runServer, withLauncher } from "./launcher";

/** The service's processes: MLflow's web server is its own process, and the workers that it forks share only memory. */
const guest = new Guest("test-serving");
const deployment = new Deployment(guest);
beforeAll(() => deployment.serve());
afterAll(() => guest.down());

const search = async () => {
  const { trackingUri, users } = deployment.outputs;
  return (await searchExperiments(trackingUri, "mlflow", users.mlflow)).status;
};

interface Process {
  readonly id: number;
  readonly parent: number;
  readonly megabytes: number;
}
/** Those of the service, but for tee; their memory without what others share. */
const processes = async (): Promise<Process[]> =>
  (
    await guest.run(`for process in $(cat /sys/fs/cgroup$(systemctl show --property ControlGroup --value ${await guest.service()})/cgroup.procs); do
      [[ $(cat /proc/$process/comm) != tee ]] || continue
      echo $process $(awk '/^PPid/ { print $2 }' /proc/$process/status) $(awk '/^Pss:/ { print $2 }' /proc/$process/smaps_rollup)
    done`)
  )
    .split("\n")
    .map((line) => line.split(" ").map(Number))
    .map(([id = 0, parent = 0, kilobytes = 0]) => ({ id, parent, megabytes: kilobytes / 1024 }));
const megabytes = (all: readonly Process[]) => all.reduce((sum, each) => sum + each.megabytes, 0);

const release = () => guest.run("echo /opt/mlflow/releases/*");

describe("one worker", () => {
  it("is one process", async () => {
    expect(await processes()).toHaveLength(1);
  });
});

describe("a long URL", () => {
  it("of a search by the client, over 300 ids, is answered", async () => {
    const ids = Array.from({ length: 300 }, (_, index) => `'${String(index).padStart(32, "0")}'`).join(",");
    const search = `import mlflow; print(list(mlflow.MlflowClient().search_model_versions("run_id IN (${ids})")))`;
    expect(await client(deployment, ["-c", search])).toBe("[]\n");
  });

  it("is answered as MLflow's own web server does, up to 64 KB", async () => {
    const { trackingUri, users } = deployment.outputs;
    const ask = async (length: number) =>
      (
        await send(`${trackingUri}/version?${"x".repeat(length)}`, {
          user: "mlflow",
          password: users.mlflow,
        })
      ).status;
    expect(await Promise.all([8_000, 16_000, 32_000, 64_000, 66_000].map(ask))).toEqual([
      200, 200, 200, 200, 414,
    ]);
  });
});

describe("two workers", () => {
  let before = 0;
  beforeAll(async () => {
    before = megabytes(await processes());
    deployment.config = { "service.workers": 2 };
    await deployment.up();
  });

  it("are forked from a process that has loaded all of it once", async () => {
    const [main, ...workers] = await processes();
    expect(workers.map(({ parent }) => parent)).toEqual([main?.id, main?.id]);
    expect(megabytes(await processes())).toBeLessThan(1.6 * before);
  });

  it("have no connection in common", async () => {
    const [main, ...workers] = await processes();
    const toDatabase = async ({ id }: Process) =>
      (
        await guest.run(`find /proc/${id}/fd -lname 'socket:*' -printf '%l\\n' | tr -dc '0-9\\n' | while read -r inode; do
          awk -v inode="$inode" '$10 == inode && $3 ~ /:1538$/ { print inode }' /proc/net/tcp
        done`)
      )
        .split("\n")
        .filter((inode) => inode !== "");
    // A worker takes what it has time for: with many at once, both have some.
    await until(async () => {
      expect(new Set(await Promise.all(Array.from({ length: 40 }, search)))).toEqual(new Set([200]));
      return (await Promise.all(workers.map(toDatabase))).every((inodes) => inodes.length > 0);
    }, "a connection of each worker to the database");
    const inodes = (await Promise.all(workers.map(toDatabase))).flat();
    expect(new Set(inodes).size).toBe(inodes.length);
    expect(main && (await toDatabase(main))).toEqual([]);
  });

  it("make random numbers of their own, and have no thread of the first process", async () => {
    await guest.run(`cat >/tmp/drawing.py <<'PYTHON'
import json, os, random, threading, time, numpy
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    numbers = [os.getpid(), random.random(), numpy.random.random(), sorted(thread.name for thread in threading.enumerate())]
    time.sleep(0.1)  # and the other one answers meanwhile
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(numbers).encode() + b"\\n"})
PYTHON`);
    const serving = withLauncher(
      await release(),
      `sys.path.insert(0, "/tmp")
serve.ThisProcess(["--workers", "2", "--port", "5990", "--log-level", "critical", "drawing:app"]).wait()`,
    );
    const output = await guest.run(`${serving} >/tmp/drawing.log 2>&1 &
      for request in {1..8}; do
        curl -s --retry 60 --retry-connrefused --retry-delay 1 http://127.0.0.1:5990 >/tmp/answer$request &
      done
      wait $(jobs -p | tail -n +2)
      kill %1; wait
      cat /tmp/drawing.log /tmp/answer*`);
    const answers: [number, number, number, string[]][] = output
      .split("\n")
      .filter((line) => line.startsWith("["))
      .map((line) => JSON.parse(line));
    const first = new Map(answers.reverse().map((answer) => [answer[0], answer]));
    expect(first.size).toBe(2);
    const [[, python, numpy] = [], [, otherPython, otherNumpy] = []] = [...first.values()];
    expect(python).not.toBe(otherPython);
    expect(numpy).not.toBe(otherNumpy);
    for (const [, , , threads] of first.values()) {
      expect(threads).toEqual(["MainThread", expect.stringMatching(/always_pong/)]);
    }
  });

  it("are replaced when one is killed, and go on answering", async () => {
    const [, worker] = await processes();
    await guest.run(`kill -KILL ${worker?.id}`);
    await until(async () => {
      const [main, ...workers] = await processes();
      return (
        workers.length === 2 && workers.every(({ id, parent }) => id !== worker?.id && parent === main?.id)
      );
    }, "another worker in the place of the one that was killed");
    expect(await search()).toBe(200);
    expect(await deployment.drift()).toEqual([]);
  });
});

describe("eight workers", () => {
  it("take the place of two while 200 clients search", async () => {
    deployment.config = { "service.workers": 8 };
    const { trackingUri, users } = deployment.outputs; // the file is written anew meanwhile
    const answers = new Map<number | string, number>();
    let running = true;
    const clients = Array.from({ length: 200 }, async () => {
      while (running) {
        // A reload of nginx ends a connection on which nothing has been asked yet. As MLflow's client does, ask again.
        const answer = await searchExperiments(trackingUri, "mlflow", users.mlflow).catch(({ code }) => code);
        const kind = answer.status ?? answer;
        answers.set(kind, (answers.get(kind) ?? 0) + 1);
      }
    });
    try {
      await deployment.up();
    } finally {
      running = false;
      await Promise.all(clients);
    }
    console.log("200 clients:", answers);
    const { 200: answered = 0, ECONNRESET: ended = 0, ...failed } = Object.fromEntries(answers);
    expect(failed).toEqual({});
    expect(answered).toBeGreaterThan(500);
    expect(ended).toBeLessThan(answered / 100);
  });
});

describe("webhooks with a secret", () => {
  const webhooks = (lines: string) =>
    client(deployment, ["-c", `from mlflow import MlflowClient\nclient = MlflowClient()\n${lines}`]);
  const list = "print(*sorted(webhook.name for webhook in client.list_webhooks()))";

  it("are read by each worker, and after a restart", async () => {
    await webhooks(
      `client.create_webhook("first", "https://1.1.1.1/hook", ["registered_model.created"], secret="s")`,
    );
    expect(await webhooks(`for _ in range(12): ${list}`)).toContain("first\n".repeat(11));
    await guest.run(`systemctl restart ${await guest.service()}`);
    await until(async () => (await search()) === 200, "an answer after the restart");
    expect(await webhooks(list)).toContain("first");
  });

  it("of a key that is gone are named by an up, and its remedy brings the others back", async () => {
    const psql = (statement: string) =>
      guest.run(`runuser -u postgres -- psql -qAt mlflow -c "${statement}"`);
    const other = await guest.run(
      `${await release()}/bin/python -c 'from cryptography.fernet import Fernet; print(Fernet(Fernet.generate_key()).encrypt(b"s").decode())'`,
    );
    await psql(`update webhooks set secret = '${other}'`);
    await webhooks(
      `client.create_webhook("second", "https://1.1.1.1/hook", ["registered_model.created"], secret="s")`,
    );
    // Fails for ever, so it is not to be tried again and again.
    await expect(
      webhooks(`import os\nos.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"\n${list}`),
    ).rejects.toThrow();
    deployment.config = { "service.workers": 1 };
    const printed = await deployment.up();
    expect(printed).toMatch(
      /service: WARNING: the secrets of these webhooks .* taken away: first\. On the host: /,
    );
    const [, remedy = ""] = /On the host: (.*)\. Then give/.exec(printed) ?? [];
    await guest.run(remedy.replace("sudo -u postgres", "cd / && runuser -u postgres --"));
    expect(await webhooks(list)).toContain("first second");
    await psql("delete from webhooks");
  });
});

describe.each([2, 1])("a service of %i workers", (workers) => {
  it("ends in good order, and is no failure", async () => {
    deployment.config = { "service.workers": workers };
    await deployment.up();
    const unit = await guest.service();
    const ended = "grep -c 'Finished server process' /var/log/mlflow/server.log || true";
    const before = Number(await guest.run(ended));
    await guest.run(`systemctl stop ${unit}`);
    expect(await guest.run(`systemctl show --property ActiveState,Result --value ${unit}`)).toBe(
      "success\ninactive",
    );
    expect(Number(await guest.run(ended)) - before).toBe(workers);
    await guest.run(`systemctl start ${unit}`);
    await until(async () => (await search()) === 200, "an answer after the start");
  });
});

describe("an option that the application reads before MLflow's command hands it on", () => {
  it("has the web server started as MLflow does it, and the reason told", async () => {
    const serving = withLauncher(await release(), runServer, {
      MLFLOW_BACKEND_STORE_URI: "sqlite:///prefix.db",
      MLFLOW_STATIC_PREFIX: "/below",
      MLFLOW_PORT: "5991",
      MLFLOW_WORKERS: "1",
      MLFLOW_SERVER_ENABLE_JOB_EXECUTION: "false",
    });
    const output = await guest.run(`${serving} >/tmp/prefix.log 2>&1 &
      curl -s --retry 60 --retry-connrefused --retry-delay 1 http://127.0.0.1:5991/below/health; echo
      kill %1; wait
      cat /tmp/prefix.log`);
    expect(output).toMatch(/^OK\n/);
    expect(output).toContain(
      "The web server gets a process of its own: _MLFLOW_STATIC_PREFIX was read already, before MLflow set it",
    );
  });
});
