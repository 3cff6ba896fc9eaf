import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Deployment, Guest, open, searchExperiments, send, until } from "./harness";
import { UnderLoad } from "./underLoad";

/** Changes while clients send without a pause: none of their requests fails. */
const guest = new Guest("test-changes");
const deployment = new Deployment(guest, { users: ["ada", "grace"] });

const uri = () => deployment.outputs.trackingUri;
const password = (user: string) => deployment.outputs.users[user] ?? "";
const set = (config: Record<string, unknown>) => {
  deployment.config = { ...deployment.config, ...config };
};
const load = new UnderLoad(deployment);
let before = "";

beforeAll(async () => {
  await deployment.serve();
  before = await load.logData();
});

afterAll(() => guest.down());

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
  it("during an up with nothing to do", async () => {
    await load.unnoticed("an up with nothing to do", async () => expect(await deployment.up()).toBe(""));
  });

  it("during a rotation of the database's password", async () => {
    set({ "rotation.database": 2 });
    await load.unnoticed("a rotation of the database's password", () => deployment.up());
  });

  it("during a rotation of a user's password, but for that user's own old one", async () => {
    const { ada } = deployment.outputs.users;
    set({ "rotation.users.ada": 2 });
    await load.unnoticed("a rotation of a user's password", () => deployment.up());
    expect((await searchExperiments(uri(), "ada", ada)).status).toBe(401);
    expect((await searchExperiments(uri(), "ada", password("ada"))).status).toBe(200);
  });

  it("during a change of workers and of the job runner", async () => {
    await offerSlowJob();
    set({ "service.workers": 2, "service.jobs": true });
    await load.unnoticed("a change of workers and of the job runner", () => deployment.up());
  });

  it("and a job that runs or waits meanwhile runs once", async () => {
    await submit("one", 12);
    await submit("two", 12);
    await until(async () => (await jobTrace()) === "begin one", "the first job");
    set({ "service.workers": undefined });
    await load.unnoticed("a change of workers with jobs under way", () => deployment.up());
    // By now the job runner that was halted works.
    await submit("three", 0);
    await until(async () => (await jobTrace()).endsWith("end three"), "the last job", 120);
    expect(await jobTrace()).toBe("begin one, end one, begin two, end two, begin three, end three");
    set({ "service.jobs": undefined });
    await load.unnoticed("and back", () => deployment.up());
  });

  it("during a change of the service's ports", async () => {
    set({ "service.port": 5001 });
    await load.unnoticed("a change of ports", () => deployment.up());
    set({ "service.port": 6000 });
    await load.unnoticed("and to others", () => deployment.up());
    expect(await guest.service()).toMatch(/^mlflow@600[01]\.service$/);
  });

  it("during the renewal of the certificate", async () => {
    deployment.forget("mlflow-authority-server-certificate");
    await load.unnoticed("a renewed certificate", () => deployment.up());
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
    await load.unnoticed(`healing ${what}`, () => deployment.up());
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
    expect(await guest.run("bash -s apply </root/service.sh")).toContain(
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
    expect(await load.data()).toBe(before);
  });
});
