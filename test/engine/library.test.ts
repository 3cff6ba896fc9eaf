import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Stack } from "@pulumi/pulumi/automation";
import { afterAll, beforeAll, expect, it } from "vitest";
import { fingerprint, Guest, searchExperiments, send, trust } from "../host/harness";
import { changes, createStack, describeWithEngine, updated } from "./engine";

const project = resolve(__dirname, "../..");

/** examples/library as a user of the package has it: in a place of its own, with what npm installs. */
function installExample(directory: string): string {
  const run = (cwd: string, file: string, ...args: string[]) =>
    execFileSync(file, args, { cwd, stdio: ["ignore", "ignore", "inherit"] });
  const example = join(directory, "examples/library");
  mkdirSync(example, { recursive: true });
  for (const file of ["Pulumi.yaml", "index.ts", "package.json", "tsconfig.json"]) {
    copyFileSync(join(project, "examples/library", file), join(example, file));
  }
  run(project, "npm", "run", "--silent", "package", "--", "--silent", "--pack-destination", directory);
  // The scripts of packages would download what is there already, or is not needed.
  run(example, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error");
  return example;
}

/** A guest that root may log in to with this key, as on the VPSs of most providers, with packages that nobody owns. */
async function rent(guest: Guest, publicKey: () => string): Promise<void> {
  await guest.down();
  await guest.up("--from", "packaged");
  await guest.run(`
    rm /etc/mlflow-vps/owner
    sed -i 's/^PermitRootLogin no/PermitRootLogin prohibit-password/' /etc/ssh/sshd_config.d/10-sandbox.conf
    install -d -m 0700 /root/.ssh
    echo '${publicKey()}' >/root/.ssh/authorized_keys
    systemctl reload ssh`);
}

/** What the example's program puts out, for each of its two servers. */
type OfBoth<T> = { readonly team: T; readonly trial: T };

describeWithEngine("a program with two servers from the npm package", () => {
  const guests = { team: new Guest("test-engine-team"), trial: new Guest("test-engine-trial") };
  let directory: string;
  let stack: Stack;
  const quiet = { onOutput: () => undefined };

  const outputs = async () => {
    const { trackingUris, passwords, caCertificates } = await stack.outputs();
    const uris = trackingUris?.value as OfBoth<string>;
    const authorities = caCertificates?.value as OfBoth<string>;
    for (const server of ["team", "trial"] as const) {
      trust({ trackingUri: uris[server], caCertificate: authorities[server] });
    }
    return {
      uris,
      authorities,
      passwords: passwords?.value as OfBoth<Readonly<Record<string, string>>>,
    };
  };
  const status = async (uri: string, password = "") => (await searchExperiments(uri, "ada", password)).status;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "mlflow-vps-library-"));
    const example = installExample(directory);
    const hostKey = ({ directory }: Guest) => readFileSync(join(directory, "host_key.pub"), "utf8").trim();
    const login = join(guests.team.directory, "id_ed25519");
    for (const guest of Object.values(guests)) {
      await rent(guest, () => readFileSync(`${login}.pub`, "utf8").trim());
    }
    stack = await createStack(example);
    await stack.setAllConfig({
      teamAddress: { value: guests.team.address },
      teamHostKey: { value: hostKey(guests.team) },
      trialAddress: { value: guests.trial.address },
      trialHostKey: { value: hostKey(guests.trial) },
      privateKey: { value: readFileSync(login, "utf8"), secret: true },
    });
  });
  afterAll(async () => {
    for (const guest of Object.values(guests)) {
      await guest.down();
      rmSync(guest.directory, { recursive: true, force: true });
    }
    rmSync(directory, { recursive: true, force: true });
  });

  it("up makes both, each with an authority and passwords of its own, which are not shown", async () => {
    const { stdout } = await stack.up(quiet);
    const { uris, authorities, passwords } = await outputs();
    expect(await status(uris.team, passwords.team.ada)).toBe(200);
    expect(await status(uris.trial, passwords.trial.ada)).toBe(200);
    expect(await status(uris.team, passwords.trial.ada)).toBe(401);
    expect(await status(uris.trial, passwords.team.ada)).toBe(401);
    expect(authorities.team).not.toBe(authorities.trial);
    expect(stdout).toMatch(/^ *passwords\b/m);
    for (const password of [passwords.team, passwords.trial].flatMap(Object.values<string>)) {
      expect(stdout).not.toContain(password);
    }
  });

  it("what is logged on one server is not on the other, and they share no password of the database", async () => {
    const { uris, passwords } = await outputs();
    const created = await send(`${uris.team}/api/2.0/mlflow/experiments/create`, {
      user: "ada",
      password: passwords.team.ada,
      headers: { "Content-Type": "application/json" },
      body: '{"name": "of the team"}',
    });
    expect(created.status).toBe(200);
    const experiments = async (server: "team" | "trial") =>
      (await searchExperiments(uris[server], "ada", passwords[server].ada)).body;
    expect(await experiments("team")).toContain("of the team");
    expect(await experiments("trial")).not.toContain("of the team");
    const databasePassword = (guest: Guest) => guest.run("cut -d: -f5 /etc/mlflow-vps/pgpass");
    const both = await Promise.all(Object.values(guests).map(databasePassword));
    expect(new Set(both).size).toBe(2);
    for (const password of both) {
      expect(password).toMatch(/^\w{32}$/);
    }
  });

  it("up and preview with nothing changed do nothing", async () => {
    const before = await Promise.all(Object.values(guests).map(fingerprint));
    await stack.preview({ expectNoChanges: true, ...quiet });
    expect(await changes(stack, { refresh: true })).toEqual([]);
    expect((await stack.up(quiet)).summary.resourceChanges).toEqual({ same: expect.any(Number) });
    expect(await Promise.all(Object.values(guests).map(fingerprint))).toEqual(before);
  });

  it("refresh sees what was damaged on one server, by the probe from node_modules, and heals only that", async () => {
    const before = await fingerprint(guests.team);
    await guests.trial.run("echo '# by hand' >>/etc/nginx/sites-available/mlflow-vps");
    const seen: string[] = [];
    const onOutput = (text: string) => void seen.push(text);
    await stack.preview({ refresh: true, diff: true, onOutput });
    expect(seen.join("")).toContain('"/etc/nginx/sites-available/mlflow-vps was changed"');
    const healed: string[] = [];
    const onEvent = (event: Parameters<typeof updated>[0]) => void healed.push(...updated(event));
    await stack.up({ refresh: true, onEvent, ...quiet });
    expect(healed.sort()).toEqual(["trial-proxy-command", "trial-proxy-probe"]);
    expect(await guests.trial.run("grep -c 'by hand' /etc/nginx/sites-available/mlflow-vps || true")).toBe(
      "0",
    );
    expect(await fingerprint(guests.team)).toBe(before);
    expect(await changes(stack, { refresh: true })).toEqual([]);
  });

  it("destroy takes both away, and only the data of the one that may lose them", async () => {
    await stack.destroy(quiet);
    const left = (guest: Guest) =>
      guest.run(`ls /etc/systemd/system/mlflow@* 2>/dev/null || true
        cd /; runuser -u postgres -- psql -Atc "select datname from pg_database where datname = 'mlflow'"`);
    expect(await left(guests.team)).toBe("mlflow");
    expect(await left(guests.trial)).toBe("");
  });
});
