import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Stack } from "@pulumi/pulumi/automation";
import { afterAll, beforeAll, expect, it } from "vitest";
import { certificateOf, Guest, searchExperiments, trust } from "../host/harness";
import { Load } from "../host/load";
import { changes as changesOf, createStack, describeWithEngine, environmentOf } from "./engine";

const project = resolve(__dirname, "../..");

/** The story of the host tests, told by the real engine: up, preview, refresh, destroy. */
describeWithEngine("with the Pulumi engine", () => {
  const guest = new Guest("test-engine");
  let stack: Stack;
  const work = join(guest.directory, "work");
  const printed: string[] = [];
  const quiet = { onOutput: (text: string) => void printed.push(text) };
  const set = (key: string, value: string) => stack.setConfig(`mlflow-vps:${key}`, { value }, true);

  const changes = (refresh = false) => changesOf(stack, { refresh, ...quiet });
  const output = async () => {
    const outputs = await stack.outputs();
    const uri = String(outputs.trackingUri?.value);
    trust({ trackingUri: uri, caCertificate: String(outputs.caCertificate?.value) });
    return {
      uri,
      users: outputs.users?.value as Record<string, string>,
      secret: [outputs.users?.secret, outputs.clientEnv?.secret],
    };
  };
  const status = async (user: string, secret?: string) =>
    (await searchExperiments((await output()).uri, user, secret)).status;

  beforeAll(async () => {
    await guest.down();
    await guest.up();
    // Dynamic providers find node_modules only from a work directory below the project.
    mkdirSync(work, { recursive: true });
    writeFileSync(
      join(work, "Pulumi.yaml"),
      readFileSync(join(project, "Pulumi.yaml"), "utf8").replace(
        "main: index.ts",
        `main: ${join(project, "index.ts")}`,
      ),
    );
    stack = await createStack(work);
    await set("host.address", guest.address);
    await set("host.user", "deploy");
    await set("host.hostKeyFile", join(guest.directory, "host_key.pub"));
    await set("host.privateKeyFile", join(guest.directory, "id_ed25519"));
    await set("users[0]", "ada");
    await set("mlflow.version", "3.16.1");
  });
  afterAll(async () => {
    await guest.down();
    rmSync(guest.directory, { recursive: true, force: true });
  });

  it("up makes a server, and its secrets are secret outputs", async () => {
    await stack.up(quiet);
    const { users, secret } = await output();
    expect(await status("ada", users.ada)).toBe(200);
    expect(await status("ada", "wrong")).toBe(401);
    expect(secret).toEqual([true, true]);
  });

  it("up and preview with nothing changed do nothing", async () => {
    expect(await changes()).toEqual([]);
    expect(await changes(true)).toEqual([]);
    expect((await stack.up(quiet)).summary.resourceChanges).toEqual({ same: expect.any(Number) });
  });

  it("an up with another version of MLflow upgrades it, and no request fails", async () => {
    const { uri, users } = await output();
    const load = new Load({ uri, user: "ada", password: users.ada ?? "" });
    await set("mlflow.version", "3.17.2");
    const { perSecond, failed } = await load.during(() => stack.up(quiet));
    expect(failed).toEqual([]);
    expect(perSecond).toBeGreaterThan(20);
    expect((await stack.outputs()).mlflowVersion?.value).toBe("3.17.2");
    expect(await changes(true)).toEqual([]);
  });

  /** The stack's state, with its secrets readable. */
  interface State {
    readonly resources: { readonly urn: string; readonly outputs?: Record<string, unknown> }[];
  }
  const state = async () => (await stack.exportStack()).deployment as State;
  const find = ({ resources }: State, name: string) =>
    resources.find(({ urn }) => urn.endsWith(`::${name}`))?.outputs ?? {};

  /** Every generated password, and a line of every generated key. */
  async function generatedSecrets(): Promise<string[]> {
    const { resources } = await state();
    const values = (type: string, output: string) =>
      resources
        .filter(({ urn }) => urn.includes(type))
        .map(({ outputs = {} }): string => JSON.parse((outputs[output] as { plaintext: string }).plaintext));
    const passwords = values("RandomPassword", "result");
    const keys = values("tls:index/privateKey:PrivateKey", "privateKeyPem").map(
      (pem) => pem.split("\n")[1] ?? "",
    );
    expect([passwords.length, keys.length]).toEqual([3, 2]);
    return [...passwords, ...keys];
  }

  it("no secret stands in the state as plain text, or was printed by up, preview or diff", async () => {
    await stack.preview({ diff: true, ...quiet });
    await set("rotation.users.ada", "9");
    await set("service.workers", "3");
    await stack.preview({ diff: true, ...quiet });
    await stack.preview({ refresh: true, diff: true, ...quiet });
    await set("service.workers", "auto");
    await set("rotation.users.ada", "1");
    const directory = join(guest.directory, "work/state/.pulumi");
    const stored = readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"))
      .join("\n");
    expect(stored).toContain("mlflow-database-command");
    expect(printed.join("")).toContain("mlflow-database-command");
    const onHost = await guest.run(
      "cut -d: -f5 /etc/mlflow-vps/pgpass; sed -n s/.*PASSPHRASE=//p /etc/mlflow-vps/mlflow-*.env; sed -n 2p /etc/mlflow-vps/server.pem",
    );
    const login = readFileSync(join(guest.directory, "id_ed25519"), "utf8").split("\n")[2] ?? "";
    for (const secret of [...(await generatedSecrets()), ...onHost.split("\n"), login]) {
      expect(secret.length).toBeGreaterThan(20);
      expect(stored).not.toContain(secret);
      expect(printed.join("")).not.toContain(secret);
    }
  });

  it("a plain up renews a certificate that ends soon, and no request fails", async () => {
    const { uri, users } = await output();
    const name = "mlflow-authority-server-certificate";
    const before = await certificateOf(uri);
    const exported = await stack.exportStack();
    // As if 340 of its 397 days were over.
    const certificate = find(exported.deployment as State, name);
    certificate.validityEndTime = new Date(Date.now() + 57 * 86_400_000).toISOString().replace(/\.\d+/, "");
    await stack.importStack(exported);
    const load = new Load({ uri, user: "ada", password: users.ada ?? "" });
    await load.start();
    const renewal = await stack.up(quiet);
    const { perSecond, failed } = await load.stop();
    expect(failed).toEqual([]);
    expect(perSecond).toBeGreaterThan(20);
    expect(renewal.summary.resourceChanges).toMatchObject({ replace: 1, update: 2 });
    expect((await certificateOf(uri)).fingerprint256).not.toBe(before.fingerprint256);
    expect(await changes(true)).toEqual([]);
  });

  it("refresh sees what was damaged, per step, and heals only that", async () => {
    const { users } = await output();
    await guest.run("systemctl stop 'mlflow@*'; echo '# by hand' >>/etc/nginx/sites-available/mlflow-vps");
    const seen: string[] = [];
    await stack.preview({ refresh: true, diff: true, onOutput: (text) => void seen.push(text) });
    expect(seen.join("")).toMatch(/"mlflow@500\d\.service is not running"/);
    expect(seen.join("")).toContain('"/etc/nginx/sites-available/mlflow-vps was changed"');
    // Probe and command of two steps; nothing else.
    expect(await changes(true)).toEqual(["update 4"]);
    const healed = await stack.up({ refresh: true, ...quiet });
    expect(healed.summary.resourceChanges?.update).toBe(4);
    expect(await status("ada", users.ada)).toBe(200);
    expect(await changes(true)).toEqual([]);
  });

  it("an apply that failed runs again on the next up", async () => {
    await guest.run(
      "echo 'nonsense;' >/etc/nginx/sites-enabled/broken; rm /etc/nginx/sites-enabled/mlflow-vps",
    );
    await expect(stack.up({ refresh: true, ...quiet })).rejects.toThrow(/unknown directive "nonsense"/);
    await guest.run("rm /etc/nginx/sites-enabled/broken");
    await stack.up(quiet);
    expect(await changes(true)).toEqual([]);
  });

  it("an up that was killed leaves a lock behind; once that is cancelled, the next one goes on", async () => {
    await guest.run("echo '# by hand' >>/etc/nginx/sites-available/mlflow-vps");
    const hold = await guest.hold("/usr/bin/mktemp", "proxy");
    const args = ["up", "--yes", "--skip-preview", "--refresh", "--non-interactive", "--stack", "test"];
    const up = spawn("pulumi", [...args, "--cwd", work], {
      env: { ...process.env, ...environmentOf(work) },
      detached: true,
      stdio: "ignore",
    });
    const ended = once(up, "exit");
    await hold.reached();
    process.kill(-(up.pid ?? 0), "SIGKILL");
    await ended;
    await hold.end();
    await expect(stack.up(quiet)).rejects.toThrow(/currently locked/);
    await stack.cancel();
    await stack.up({ refresh: true, ...quiet });
    expect(await changes(true)).toEqual([]);
  });

  it("npm run drift tells what was changed on the host, by its exit code too", async () => {
    const drift = () => {
      const begun = Date.now();
      const { status, stdout } = spawnSync("npm", ["run", "--silent", "drift", "--", "test"], {
        cwd: project,
        env: { ...process.env, ...environmentOf(work) },
        encoding: "utf8",
      });
      console.log(`drift check of the whole host by the engine's state: ${(Date.now() - begun) / 1000} s`);
      return { status, stdout };
    };
    expect(drift()).toEqual({
      status: 0,
      stdout: expect.stringMatching(/^test: all \d+ steps are as the last 'up' left them$/m),
    });
    await guest.run("systemctl stop apt-daily-upgrade.timer; chmod 777 /etc/mlflow-vps/mlflow-*.env");
    const { status, stdout } = drift();
    expect(status).toBe(2);
    expect(stdout).toMatch(/^updates\n {2}- apt-daily-upgrade\.timer is not running$/m);
    expect(stdout).toMatch(/^service\n {2}- .*mlflow-500\d\.env has mode 777, not 640$/m);
    await stack.up({ refresh: true, ...quiet });
    expect(drift().status).toBe(0);
  });

  it("a rotation replaces one password and updates only what holds it", async () => {
    const { users } = await output();
    await set("rotation.users.ada", "2");
    const rotated = await stack.up(quiet);
    expect(rotated.summary.resourceChanges).toMatchObject({ replace: 1, update: 2 });
    expect(await status("ada", users.ada)).toBe(401);
    expect(await status("ada", (await output()).users.ada)).toBe(200);
    await set("rotation.database", "2");
    expect((await stack.up(quiet)).summary.resourceChanges).toMatchObject({ replace: 1, update: 2 });
    expect(await changes(true)).toEqual([]);
  });

  it("a preview shows which setting changes", async () => {
    await set("service.workers", "2");
    const seen: string[] = [];
    await stack.preview({ diff: true, onOutput: (text) => void seen.push(text) });
    expect(seen.join("")).toMatch(/"workers\\":2/);
    await set("service.workers", "auto");
    expect(await changes()).toEqual([]);
  });

  it("a host rebuilt from scratch is set up again by up with refresh", async () => {
    await guest.rebuild();
    await stack.up({ refresh: true, ...quiet });
    expect(await status("ada", (await output()).users.ada)).toBe(200);
    expect(await changes(true)).toEqual([]);
  });

  it("a host with another key in its place is refused until the key is accepted, then set up", async () => {
    const { users } = await output();
    const key = readFileSync(join(guest.directory, "host_key.pub"), "utf8").trim();
    await set("host.hostKey", key);
    await stack.removeConfig("mlflow-vps:host.hostKeyFile", true);
    await stack.up(quiet);
    await guest.rebuild("--new-host-key");
    await expect(stack.up({ refresh: true, ...quiet })).rejects.toThrow(
      /host key does not match the pinned key[\s\S]*mlflow-vps configure/,
    );
    await set("host.hostKey", readFileSync(join(guest.directory, "host_key.pub"), "utf8").trim());
    await stack.up(quiet);
    await stack.up({ refresh: true, ...quiet });
    expect(await status("ada", users.ada)).toBe(200);
    expect(await changes(true)).toEqual([]);
  });

  it("a wrong value in the config is refused before anything is touched", async () => {
    await set("mlflow.version", "1.0.0");
    await expect(stack.up(quiet)).rejects.toThrow(/mlflow\.version: must be one of .* \(got "1\.0\.0"\)/);
    await set("mlflow.version", "3.17.2");
  });

  it("destroy takes the server away and says where the data stays", async () => {
    const seen: string[] = [];
    await stack.destroy({ onOutput: (text) => void seen.push(text) });
    expect(seen.join("")).toContain("kept: artifacts in /var/lib/mlflow/artifacts");
    expect(seen.join("")).toContain("kept: database mlflow in PostgreSQL");
    expect(await guest.run("ls /etc/systemd/system/mlflow@* 2>/dev/null || echo gone")).toBe("gone");
    await guest.run("runuser -u postgres -- psql -d mlflow -Atc 'select count(*) from experiments'");
  });
});
