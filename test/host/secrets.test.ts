import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { quote } from "../../components/step/script";
import { client, Deployment, Guest, searchExperiments } from "./harness";

/**
 * A server is set up, used, rotated, damaged, healed and made to fail, with every log turned up; then each place where
 * a secret could have been left is searched for all of them, the rotated ones too.
 */
const guest = new Guest("test-secrets");
const deployment = new Deployment(guest, { users: ["ada"] });
const generated = join(guest.directory, "deployment/state/generated.json");

/** Every secret there was, by what it is. */
const secrets = new Map<string, string>();
const printed: string[] = [];

/** Lines of a private key that tell it from others: without the first and the last, and long enough. */
const keyLines = (pem: string) =>
  pem.split("\n").filter((line) => !line.startsWith("-----") && line.length > 30);

function collectSecrets(): void {
  for (const [name, { result }] of Object.entries<{ result: Record<string, string> }>(
    JSON.parse(readFileSync(generated, "utf8")),
  )) {
    const { result: password, base64, privateKeyPem = "" } = result;
    // A Fernet key is written in the base64 of URLs.
    const urlSafe = base64?.replaceAll("+", "-").replaceAll("/", "_");
    for (const secret of [password ?? urlSafe ?? keyLines(privateKeyPem)].flat()) {
      secrets.set(`${name} ${secret}`, secret);
    }
  }
}

const up = async () => {
  printed.push(await deployment.up());
  collectSecrets();
};

/** Takes down every command line and environment that it sees, many times a second, until it is killed. */
const sampler = `
import os, time
own = {"self", "thread-self", str(os.getpid())}
seen = set()
with open("/root/samples", "wb", buffering=0) as samples:
    while True:
        for pid in os.listdir("/proc"):
            if not pid.isdigit() or pid in own:
                continue
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f: lines = [f.read()]
                with open(f"/proc/{pid}/cgroup", "rb") as f: service = b"/mlflow@" in f.read()
                # The service's own environment holds its passphrase, for root and itself to see.
                if not service:
                    with open(f"/proc/{pid}/environ", "rb") as f: lines.append(f.read())
            except OSError:
                continue
            for line in lines:
                if line not in seen:
                    seen.add(line)
                    samples.write(line.replace(b"\\0", b" ") + b"\\n")
        time.sleep(0.005)
`;

beforeAll(async () => {
  await guest.down();
  await guest.up("--from", "packaged"); // what installs packages and the release knows no secret
  await guest.run(`printf '%s' ${quote(sampler)} >/root/sampler.py`);
  await guest.start("exec python3 /root/sampler.py");

  await up();
  await guest.run(
    `runuser -u postgres -- psql -qc "alter system set log_statement = 'all'" -c "alter system set log_connections = on" -c 'select pg_reload_conf()'`,
  );
  deployment.config = { ...deployment.config, "rotation.database": 2, "rotation.users.ada": 2 };
  await up();
  await client(deployment, [
    "-c",
    "import mlflow; mlflow.set_experiment('secrets'); mlflow.log_metric('x', 1)",
  ]);
  const { trackingUri, users } = deployment.outputs;
  expect((await searchExperiments(trackingUri, "ada", users.ada)).status).toBe(200);
  expect((await searchExperiments(trackingUri, "ada", "wrong")).status).toBe(401);

  await guest.run(
    "cd /etc/mlflow-vps && for f in pgpass mlflow-*.env htpasswd server.pem; do echo x >>$f; done",
  );
  printed.push((await deployment.drift()).join("\n"));
  await up();
  // An apply that fails in the database, in the service and in the proxy prints what it has.
  await guest.run(
    "echo 'nonsense;' >/etc/nginx/sites-enabled/broken; echo x >>/etc/mlflow-vps/htpasswd; sed -i s/1h/2h/ /etc/nginx/sites-available/mlflow-vps",
  );
  printed.push(await deployment.upFails());
  await guest.run(
    "rm /etc/nginx/sites-enabled/broken; echo x >>$(ls /etc/mlflow-vps/mlflow-*.env); mv /opt/mlflow/releases /opt/mlflow/away; systemctl stop 'mlflow@*'",
  );
  await guest.run("mkdir -p /opt/mlflow/releases; mount -t tmpfs -o size=1m tmpfs /opt/mlflow/releases");
  printed.push(await deployment.upFails());
  await guest.run(
    "umount /opt/mlflow/releases; rmdir /opt/mlflow/releases; mv /opt/mlflow/away /opt/mlflow/releases",
  );
  await up();
  await guest.run("pkill -f /root/sampler.py");
});
afterAll(() => guest.down());

/** Names of the secrets in a text, without the secrets. */
const found = (text: string) =>
  [...secrets].filter(([, secret]) => text.includes(secret)).map(([name]) => name.split(" ")[0]);

describe("a secret", () => {
  it("is looked for in every form that there was", () => {
    const names = [...secrets.keys()].map((name) => name.split(" ")[0]);
    const count = (name: string) => names.filter((it) => it === name).length;
    expect(count("mlflow-database-password")).toBe(2);
    expect(count("mlflow-user-ada")).toBe(2);
    expect(count("mlflow-encryption-passphrase")).toBe(1);
    expect(count("mlflow-webhook-key")).toBe(1);
    expect(count("mlflow-authority-key")).toBeGreaterThan(1);
    expect(count("mlflow-authority-server-key")).toBeGreaterThan(1);
  });

  /** Where it could be left: [place, what prints all of it, something that must be there for it is really read]. */
  it.each([
    ["the process list during every up", "cat /root/samples", "mlflow-500"],
    ["the environment of logins", "cat /root/samples", "SSH_CONNECTION="],
    ["the journal", "journalctl --no-pager -o export", "mlflow@500"],
    ["nginx's logs", "cat /var/log/nginx/*", "experiments/search"],
    ["PostgreSQL's logs, with every statement", "cat /var/log/postgresql/*", "alter role"],
    ["MLflow's log", "cat /var/log/mlflow/*", "experiments/search"],
    ["the steps' logs", "cat /var/log/mlflow-vps/*", "installing MLflow"],
    ["all of /var/log", "find /var/log -type f -exec cat {} +", "mlflow"],
    [
      "files that anybody can read",
      "find / -xdev -type f -perm -o=r -not -path '/usr/*' -not -path '/opt/*' -not -path '/proc/*' -not -path '/var/lib/apt/*' -not -path '/var/cache/*' -not -path '/var/lib/dpkg/*' -exec cat {} +",
      "Managed by mlflow-vps",
    ],
    ["shell histories", "echo begin; cat /root/.*history /home/*/.*history 2>/dev/null || true", "begin"],
    [
      "temporary directories",
      "ls -la /tmp /var/tmp /dev/shm; find /tmp /var/tmp /dev/shm /run/mlflow-vps -type f -exec cat {} +",
      "/tmp",
    ],
    ["the units as systemd shows them", "systemctl show '*' --all --no-pager", "mlflow@500"],
  ])("is not in %s", async (_, command, proof) => {
    const text = await guest.run(command);
    expect({ isRead: text.includes(proof), found: found(text) }).toEqual({ isRead: true, found: [] });
  });

  it("is not in what up, a failing up and the drift check print", () => {
    const text = printed.join("\n");
    expect(text).toContain("does not hold the password");
    expect(text).toContain('unknown directive "nonsense"');
    expect(text).toContain("FAILED: installing MLflow");
    expect(found(text)).toEqual([]);
  });

  it("is on the whole disk in the file of its reader only, where nobody else can read it", async () => {
    const patterns = "/root/patterns";
    const all = [...secrets.values()].join("\n");
    const matches = await guest.run(
      `rm /root/samples; umask 077; printf '%s\\n' ${quote(all)} >${patterns}
       grep -raoHF --devices=skip --exclude-dir=proc --exclude-dir=sys --exclude=patterns -f ${patterns} / 2>/dev/null || true; rm ${patterns}`,
    );
    const held: Record<string, string[]> = {};
    for (const [name, secret] of secrets) {
      const files = matches.split("\n").filter((line) => line.endsWith(`:${secret}`));
      const key = name.split(" ")[0] ?? "";
      const paths = files.map((line) => line.slice(0, -secret.length - 1));
      held[key] = [...new Set([...(held[key] ?? []), ...paths])];
    }
    const serviceFile = await guest.run("ls /etc/mlflow-vps/mlflow-*.env");
    expect(held).toEqual({
      "mlflow-database-password": ["/etc/mlflow-vps/pgpass"],
      "mlflow-encryption-passphrase": [serviceFile],
      "mlflow-webhook-key": [serviceFile],
      "mlflow-user-ada": [], // only its hash
      "mlflow-authority-key": [],
      "mlflow-authority-server-key": ["/etc/mlflow-vps/server.pem"],
    });
    expect(
      await guest.run("cd /etc/mlflow-vps && stat -c '%n %U:%G %a' pgpass mlflow-*.env server.pem htpasswd"),
    ).toBe(
      [
        "pgpass mlflow:mlflow 600",
        `${basename(serviceFile)} root:mlflow 640`,
        "server.pem root:root 600",
        "htpasswd root:www-data 640",
      ].join("\n"),
    );
  });
});
