import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Deployment, Guest, open, searchExperiments, send, until } from "./harness";

/** What nginx must let through unharmed: large artifacts, web sockets, long requests. */
const guest = new Guest("test-proxy");
const deployment = new Deployment(guest, { users: ["ada"] });

beforeAll(async () => {
  await deployment.serve();
});
afterAll(() => guest.down());

const auth = () => `ada:${deployment.outputs.users.ada}`;
const artifact = () => `${deployment.outputs.trackingUri}/api/2.0/mlflow-artifacts/artifacts/0/large.bin`;
const megabyte = Buffer.alloc(2 ** 20, "artifact ");
const megabytes = 1024;

/** Memory of the service's processes and of nginx, and used disk, in MB. */
async function usage(): Promise<{ memory: number; disk: number }> {
  const text = await guest.run(`
    pids=$(for group in $(systemctl show --property ControlGroup --value 'mlflow@*' nginx); do cat /sys/fs/cgroup$group/cgroup.procs; done)
    for pid in $pids; do sed -n 's/^Pss: *\\([0-9]*\\) kB/\\1/p' /proc/$pid/smaps_rollup || true; done |
      awk '{ sum += $1 } END { print int(sum / 1024) }'
    du --summarize --block-size=1M --total /var/lib/mlflow /var/lib/nginx /tmp /var/tmp | tail -n 1 | cut -f 1`);
  const [memory = 0, disk = 0] = text.split("\n").map(Number);
  return { memory, disk };
}

async function peaksWhile(work: Promise<unknown>): Promise<{ memory: number; disk: number }> {
  const peak = { memory: 0, disk: 0 };
  let under = true;
  const done = work.finally(() => {
    under = false;
  });
  while (under) {
    const now = await usage();
    peak.memory = Math.max(peak.memory, now.memory);
    peak.disk = Math.max(peak.disk, now.disk);
    await new Promise((next) => setTimeout(next, 200));
  }
  await done;
  return peak;
}

describe("a large artifact", () => {
  it("streams in without filling memory, or the disk twice", async () => {
    const before = await usage();
    const upload = new Promise<number>((done, reject) => {
      const outgoing = open(artifact(), { method: "PUT", auth: auth() });
      outgoing.on("response", (answer) => {
        answer.resume();
        done(answer.statusCode ?? 0);
      });
      outgoing.on("error", reject);
      pipeline(
        Readable.from(
          (function* () {
            for (let count = 0; count < megabytes; count++) {
              yield megabyte;
            }
          })(),
        ),
        outgoing,
      ).catch(reject);
    });
    const peak = await peaksWhile(upload);
    expect(await upload).toBe(200);
    expect(peak.memory - before.memory).toBeLessThan(200);
    expect(peak.disk - before.disk).toBeLessThan(megabytes * 1.2);
    expect((await usage()).disk - before.disk).toBeGreaterThan(megabytes * 0.9);
  });

  it("streams out the same", async () => {
    const before = await usage();
    const hash = createHash("sha256");
    const download = new Promise<void>((done, reject) => {
      open(artifact(), { auth: auth() })
        .on("response", (answer) => {
          pipeline(answer, hash).then(done, reject);
        })
        .on("error", reject)
        .end();
    });
    const peak = await peaksWhile(download);
    const expected = createHash("sha256");
    for (let count = 0; count < megabytes; count++) {
      expected.update(megabyte);
    }
    expect(hash.digest("hex")).toBe(expected.digest("hex"));
    expect(peak.memory - before.memory).toBeLessThan(200);
    expect(peak.disk - before.disk).toBeLessThan(megabytes * 0.1);
  });

  it("any other request has a limit, for MLflow holds it in memory", async () => {
    const answer = await send(`${deployment.outputs.trackingUri}/api/2.0/mlflow/runs/log-batch`, {
      method: "POST",
      headers: { "Content-Length": String(65 * 2 ** 20), Authorization: `Basic ${btoa(auth())}` },
    });
    expect(answer.status).toBe(413);
  });
});

describe("with another program in the service's place", () => {
  beforeAll(async () => {
    await guest.run(`systemctl stop 'mlflow@*'; cat >/root/stub.py <<'PYTHON'
import asyncio
async def serve(reader, writer):
    head = await reader.readuntil(b"\\r\\n\\r\\n")
    if b"/slow" in head:
        await asyncio.sleep(65)
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nslow")
    elif b"upgrade: websocket" in head.lower():
        writer.write(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n")
        while data := await reader.read(1024):
            writer.write(data)
            await writer.drain()
    else:
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(head), head))
    await writer.drain()
    writer.close()
async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", 5000) as server:
        await server.serve_forever()
asyncio.run(main())
PYTHON`);
    await guest.start("exec python3 /root/stub.py");
    await until(async () => (await status("/ready")) === 200, "the stub");
  });
  const status = async (path: string) =>
    (
      await send(deployment.outputs.trackingUri + path, {
        user: "ada",
        password: deployment.outputs.users.ada,
      })
    ).status;

  it("it is told who calls and by which address, and gets no password", async () => {
    const { body } = await send(`${deployment.outputs.trackingUri}/`, {
      user: "ada",
      password: deployment.outputs.users.ada,
      headers: { "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1" },
    });
    const caller = guest.address.replace(/\.2$/, ".1");
    expect(body).toContain(`X-Forwarded-For: ${caller}\r\n`);
    expect(body).toContain(`X-Real-IP: ${caller}\r\n`);
    expect(body).toContain("X-Forwarded-Proto: https\r\n");
    expect(body).toContain(`Host: ${guest.address}\r\n`);
    expect(body.toLowerCase()).not.toContain("authorization");
  });

  it("web sockets work", async () => {
    const echo = await new Promise<string>((done, reject) => {
      const outgoing = open(`${deployment.outputs.trackingUri}/socket`, {
        auth: auth(),
        headers: { Connection: "Upgrade", Upgrade: "websocket" },
      });
      outgoing.on("upgrade", (_answer, socket) => {
        socket.once("data", (data: Buffer) => {
          socket.destroy();
          done(String(data));
        });
        socket.write("hello there");
      });
      outgoing.on("response", (answer) => reject(new Error(`no upgrade: ${answer.statusCode}`)));
      outgoing.on("error", reject);
      outgoing.end();
    });
    expect(echo).toBe("hello there");
  });

  it("a request that takes longer than a minute gets its answer", async () => {
    const answer = await new Promise<number>((done, reject) => {
      open(`${deployment.outputs.trackingUri}/slow`, { auth: auth() })
        .on("response", (incoming) => {
          incoming.resume();
          done(incoming.statusCode ?? 0);
        })
        .on("error", reject)
        .end();
    });
    expect(answer).toBe(200);
  });

  it("and afterwards the service is put back", async () => {
    await guest.run("pkill -f /root/stub.py");
    await deployment.up();
    const { trackingUri, users } = deployment.outputs;
    expect((await searchExperiments(trackingUri, "ada", users.ada)).status).toBe(200);
  });
});
