import { spawn } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Deployment, Guest, hostTool, searchExperiments, until } from "./harness";

/** Guests on layers that others use too: nothing of one is another's, and nothing is left of what was killed. */
const project = resolve(__dirname, "../..");
const one = new Deployment(new Guest("test-one"), { users: ["ada"] });
const two = new Deployment(new Guest("test-two"), { users: ["ada"] });
const mounts = () => readFileSync("/proc/mounts", "utf8");

const status = async ({ outputs }: Deployment, password = outputs.users.ada) =>
  (await searchExperiments(outputs.trackingUri, "ada", password)).status;

afterAll(() => Promise.all([one.guest.down(), two.guest.down()]));

describe("two guests on the layer 'served'", () => {
  beforeAll(() => Promise.all([one.serve(), two.serve()]));

  it("serve, and the check finds nothing", async () => {
    for (const deployment of [one, two]) {
      expect(await status(deployment)).toBe(200);
      expect(await deployment.drift()).toEqual([]);
      expect(await deployment.up()).toBe("");
    }
  });

  it("share no address, no identity, no key and no secret", async () => {
    const files = [
      ...[
        "machine-id",
        "hostname",
        "ssh/ssh_host_ed25519_key",
        "ssh/ssh_host_ecdsa_key",
        "ssh/ssh_host_rsa_key",
      ],
      ...["mlflow-vps/pgpass", "mlflow-vps/htpasswd", "mlflow-vps/server.pem"],
    ].map((file) => `cat /etc/${file}`);
    const commands = [
      ...files,
      "grep -h PASSPHRASE /etc/mlflow-vps/mlflow-*.env",
      "cat /home/deploy/.ssh/authorized_keys",
    ];
    expect(one.guest.address).not.toBe(two.guest.address);
    for (const command of commands) {
      const [ofOne, ofTwo] = await Promise.all([one, two].map(({ guest }) => guest.run(command)));
      expect(ofOne).not.toBe("");
      expect([command, ofOne]).not.toEqual([command, ofTwo]);
    }
    expect(await status(two, one.outputs.users.ada)).toBe(401);
  });

  it("keep what is theirs when they are stopped and started", async () => {
    await one.guest.run("echo kept >/root/kept");
    await one.guest.reboot();
    expect(await one.guest.run("cat /root/kept")).toBe("kept");
    await until(async () => (await status(one)) === 200, "an answer after the reboot");
    expect(await two.guest.run("ls /root/kept 2>/dev/null || true")).toBe("");
  });

  it("become bare again by a rebuild, with the same address and keys", async () => {
    const before = [one.guest.address, readFileSync(join(one.guest.directory, "host_key.pub"), "utf8")];
    await one.guest.rebuild();
    expect([one.guest.address, readFileSync(join(one.guest.directory, "host_key.pub"), "utf8")]).toEqual(
      before,
    );
    expect(await one.guest.run("ls -d /opt/mlflow /root/kept /etc/mlflow-vps 2>/dev/null || true")).toBe("");
  });
});

describe("a killed vps.sh", () => {
  const directory = mkdtempSync(join(tmpdir(), "layers-"));
  const bin = join(directory, "bin");
  /** A cache of its own, on the base image that there is. */
  const cache = join(directory, "mlflow-vps");
  const layers = () =>
    readdirSync(join(cache, "layers")).filter((name) => /-[0-9a-f]{16}(\.new)?$/.test(name));
  const bundle = join(directory, "ca.crt");
  const environment = { ...process.env, XDG_CACHE_HOME: directory, SSL_CERT_FILE: bundle };
  const guest = new Guest("test-killed");

  const up = (name: string, env: NodeJS.ProcessEnv = environment) =>
    hostTool("sandbox/vps.sh", ["up", name], { env, stdio: "pipe" });
  /** Starts `up` and kills it where it is about to run a program in the guest's disk. */
  async function killedUp(name: string): Promise<void> {
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, "chroot"), `#!/bin/sh\n: >${directory}/reached\nexec tail -f /dev/null\n`, {
      mode: 0o755,
    });
    const child = spawn("sandbox/vps.sh", ["up", name], {
      cwd: project,
      env: { ...environment, PATH: `${bin}:${process.env.PATH}` },
      detached: true,
      stdio: "ignore",
    });
    const ended = new Promise((done) => child.on("exit", done));
    await until(async () => existsSync(join(directory, "reached")), "vps.sh at the disk");
    process.kill(-(child.pid ?? 0), "SIGKILL");
    await ended;
    rmSync(join(directory, "reached"));
    rmSync(bin, { recursive: true });
  }

  beforeAll(() => {
    mkdirSync(cache);
    up("test-killed", process.env); // so that there is a base image
    hostTool("sandbox/vps.sh", ["down", "test-killed"]);
    symlinkSync(
      join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "mlflow-vps/bookworm"),
      join(cache, "bookworm"),
    );
    writeFileSync(bundle, readFileSync(process.env.SSL_CERT_FILE ?? "/etc/ssl/certs/ca-certificates.crt"));
  });
  afterAll(async () => {
    await guest.down();
    rmSync(directory, { recursive: true });
  });

  it("leaves half a layer, of which the next call leaves nothing", async () => {
    await killedUp("test-killed");
    expect(mounts()).toContain(`${cache}/layers/`);
    expect(layers()).toEqual([expect.stringMatching(/^bookworm-bare-.*\.new$/)]);
    up("test-killed");
    expect(layers()).toEqual([expect.stringMatching(/^bookworm-bare-[0-9a-f]+$/)]);
    expect(await guest.run("id -un deploy")).toBe("deploy");
    await guest.down();
    expect(mounts()).not.toContain(cache);
  });

  it("leaves half a guest, of which the next call leaves nothing, also one for another guest", async () => {
    await killedUp("test-half");
    const folder = join(project, ".sandbox/test-half");
    expect(mounts()).toContain(`${folder}/root`);
    up("test-killed");
    expect(mounts()).not.toContain(folder);
    expect(existsSync(folder)).toBe(false);
  });

  it("or not, a layer whose ingredients changed is made anew, and stays only while it is used or is one of the newest", async () => {
    const [first = ""] = layers();
    for (const next of [2, 3, 4]) {
      appendFileSync(bundle, `# ${next}\n`);
      hostTool("sandbox/vps.sh", ["up", `test-killed${next}`], { env: environment, stdio: "pipe" });
      hostTool("sandbox/vps.sh", ["down", `test-killed${next}`], { env: environment });
    }
    // The guest test-killed stands on the first.
    expect(layers()).toHaveLength(3);
    expect(layers()).toContain(first);
    expect(await guest.run("id -un deploy")).toBe("deploy");
  });
});
