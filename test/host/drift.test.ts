import { rootCertificates } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { quote } from "../../components/step/script";
import { makeCertificate } from "../certificate";
import { certificateOf, Deployment, Guest, listing, searchExperiments, send } from "./harness";
import { Load } from "./load";

/**
 * One server that is damaged and healed, whose certificates and passwords change, in order: each test begins with what
 * the one before it left.
 */
const guest = new Guest("test-drift");
const deployment = new Deployment(guest, { users: ["ada", "grace"] });

const password = (user: string) => deployment.outputs.users[user] ?? "";
const uri = () => deployment.outputs.trackingUri;
const statusOf = async (user?: string, secret?: string) =>
  (await searchExperiments(uri(), user, secret)).status;

beforeAll(() => deployment.serve());
afterAll(() => guest.down());

describe("drift", () => {
  const release = "/opt/mlflow/releases/3.17.2-*";
  const sql = (statement: string) => `runuser -u postgres -- psql -q -d mlflow -c ${quote(statement)}`;
  /** Rounds of damage, one thing per step where there is one left: [what is damaged, command, lines of the check]. */
  const rounds: [string, string, RegExp[]][][] = [
    [
      [
        "packages-python",
        "dpkg --purge --force-depends python3-venv",
        [/^package python3-venv is not installed$/],
      ],
      [
        "the role's password",
        sql("alter role mlflow password 'other'"),
        [/^role mlflow cannot log in with its password: .*password authentication failed/],
      ],
      [
        "a file of the release",
        `echo '# edited' >>${release}/lib/python3*/site-packages/mlflow/version.py`,
        [/was changed: 1 files, first lib\/python3.*\/mlflow\/version\.py$/],
      ],
      [
        "the unit",
        "sed -i 's/RestartSec=2/RestartSec=99/' /etc/systemd/system/mlflow@*.service",
        [/^\/etc\/systemd\/system\/mlflow@\d+\.service was changed$/],
      ],
      [
        "the site",
        "sed -i 's/auth_basic \"MLflow\"/auth_basic off/' /etc/nginx/sites-available/mlflow-vps; systemctl reload nginx",
        [/^\/etc\/nginx\/sites-available\/mlflow-vps was changed$/],
      ],
    ],
    [
      ["packages-servers", "dpkg --purge logrotate", [/^package logrotate is not installed$/]],
      [
        "the owner",
        sql("reassign owned by mlflow to postgres; drop owned by mlflow; drop role mlflow"),
        [/^role mlflow is missing$/, /^database mlflow belongs to postgres, not to mlflow$/],
      ],
      ["the release", `rm -rf ${release}`, [/^release \/opt\/mlflow\/releases\/3\.17\.2-\w+ is missing$/]],
      [
        "the environment",
        "chmod 777 /etc/mlflow-vps/mlflow-*.env; sed -i s/MLFLOW_WORKERS=1/MLFLOW_WORKERS=3/ /etc/mlflow-vps/mlflow-*.env",
        [/mlflow-\d+\.env has mode 777, not 640$/, /mlflow-\d+\.env was changed$/],
      ],
      [
        "the link to the site",
        "rm /etc/nginx/sites-enabled/mlflow-vps; systemctl reload nginx",
        [/^\/etc\/nginx\/sites-enabled\/mlflow-vps does not lead to/],
      ],
    ],
    [
      [
        "a table",
        sql("alter table runs owner to postgres"),
        [/^table runs belongs to postgres, not to mlflow$/],
      ],
      [
        "the role's rights",
        sql("alter role mlflow superuser"),
        [/^role mlflow has privileges beyond LOGIN$/],
      ],
      [
        "the password file",
        "chmod 644 /etc/mlflow-vps/pgpass",
        [/^\/etc\/mlflow-vps\/pgpass has mode 644, not 600$/],
      ],
      ["the service", "systemctl stop 'mlflow@*'", [/^mlflow@\d+\.service is not running$/]],
      [
        "the users",
        "sed -i '/^ada:/d' /etc/mlflow-vps/htpasswd; printf 'eve:$apr1$x$9d9Wm0QQhVqUWNuVL8KAp0' >>/etc/mlflow-vps/htpasswd",
        [/^unexpected user eve in \/etc\/mlflow-vps\/htpasswd$/, /^user ada is missing$/],
      ],
    ],
    [
      [
        "PostgreSQL's address",
        "sed -i \"s/'localhost'/'*'/\" /etc/postgresql/*/main/conf.d/mlflow-vps.conf; systemctl restart postgresql",
        [/mlflow-vps\.conf was changed$/, /^PostgreSQL listens on '\*', not on localhost$/],
      ],
      [
        "PostgreSQL's access rules",
        "sed -i '/role mlflow/d; /scram-sha-256  # mlflow-vps/d; $ a host theirs theirs 10.0.0.0/8 scram-sha-256' /etc/postgresql/*/main/pg_hba.conf",
        [/pg_hba\.conf lacks the lines/],
      ],
      [
        "the start at boot",
        "rm /etc/systemd/system/multi-user.target.wants/mlflow@*; systemctl daemon-reload",
        [/^mlflow@\d+\.service does not start at boot$/],
      ],
      [
        "the artifacts' owner",
        "chown root /var/lib/mlflow/artifacts",
        [/^\/var\/lib\/mlflow\/artifacts is root:mlflow 750, not mlflow:mlflow 750$/],
      ],
      ["nginx", "systemctl stop nginx", [/^nginx is not running$/]],
    ],
    [
      ["PostgreSQL", "systemctl stop postgresql", [/^PostgreSQL does not answer on port 5432$/]],
      [
        "a directory of the service",
        "mv /var/log/mlflow /var/log/away; mkdir /var/log/mlflow",
        [/^\/var\/log\/mlflow is root:root 755/, /^mlflow@\d+\.service cannot write to \/var\/log\/mlflow$/],
      ],
    ],
  ];

  it.each(rounds.map((round) => ({ round, what: round.map(([what]) => what).join(", ") })))(
    "of $what is named and healed",
    async ({ round }) => {
      for (const [, command] of round) {
        await guest.run(command);
      }
      const lines = await deployment.drift();
      for (const pattern of round.flatMap(([, , patterns]) => patterns)) {
        expect(lines).toContainEqual(expect.stringMatching(pattern));
      }
      await deployment.up();
      expect(await deployment.drift()).toEqual([]);
      expect(await statusOf("ada", password("ada"))).toBe(200);
      expect(await statusOf()).toBe(401);
    },
  );

  it("in PostgreSQL's access rules was healed without touching the rules of others", async () => {
    const rules = await guest.run("cat /etc/postgresql/*/main/pg_hba.conf");
    expect(rules).toContain("host theirs theirs 10.0.0.0/8 scram-sha-256");
    expect(rules).toMatch(/^local +all +postgres +peer/m);
  });

  it("does not name a secret, and is only looked at", async () => {
    await guest.run("echo x >>/etc/mlflow-vps/pgpass; echo x >>$(ls /etc/mlflow-vps/mlflow-*.env)");
    const before = await listing(guest);
    const lines = (await deployment.drift()).join("\n");
    expect(await listing(guest)).toBe(before);
    expect(lines).toContain("/etc/mlflow-vps/pgpass does not hold the password");
    for (const secret of Object.values(deployment.outputs.users)) {
      expect(lines).not.toContain(secret);
    }
    await deployment.up();
  });

  it("is seen by one login, also behind a limit of new connections, which is named where there is none left", async () => {
    const logins = async () =>
      Number(
        await guest.run("journalctl -u ssh --no-pager -o cat | grep -c '^Accepted publickey for deploy'"),
      );
    await guest.run(
      "DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends nftables >/dev/null",
    );
    const before = await logins();
    await guest.run(`nft -f - <<'NFT'
table inet limited {
  set known { type ipv4_addr; flags dynamic; }
  chain input {
    type filter hook input priority -10;
    tcp dport 22 ct state new add @known { ip saddr limit rate over 1/minute burst 1 packets } reject with tcp reset
  }
}
NFT`);
    expect(await deployment.drift()).toEqual([]);
    expect(await logins()).toBe(before + 1);
    expect(await deployment.upFails()).toMatch(
      /nothing listens there, or the host limits new connections .*; where there is a limit, wait a minute/,
    );
    await guest.run("nft delete table inet limited");
    expect(await deployment.up()).toBe("");
  });
});

describe("the certificate", () => {
  const served = async () => (await certificateOf(uri())).fingerprint256;
  const file = "/etc/mlflow-vps/server.pem";

  it("is for the address, by an authority that the client is told of, and by no other", async () => {
    const certificate = await certificateOf(uri());
    expect(certificate.subjectaltname).toBe(`IP Address:${guest.address}`);
    expect(deployment.outputs.clientEnv).toMatch(/^MLFLOW_TRACKING_SERVER_CERT_PATH=/m);
    await expect(certificateOf(uri(), rootCertificates.join("\n"))).rejects.toThrow(/unable to verify/);
  });

  it("is the way in: plain HTTP is redirected to it", async () => {
    const { status, headers } = await send(`http://${guest.address}/api/2.0/mlflow/x?y=z`);
    expect([status, headers.location]).toEqual([308, `${uri()}/api/2.0/mlflow/x?y=z`]);
    expect(headers["strict-transport-security"]).toBeUndefined(); // browsers know no authority of ours
  });

  it("is healed when it was changed, and its key is for root only", async () => {
    const before = await served();
    expect(await guest.run(`stat -c '%U:%G %a' ${file}`)).toBe("root:root 600");
    await guest.run(`openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=evil -keyout /root/k -out /root/c 2>/dev/null
      cat /root/k /root/c >${file}; chmod 644 ${file}; systemctl reload nginx`);
    const lines = await deployment.drift();
    expect(lines).toContain(`${file} has mode 644, not 600`);
    expect(lines).toContain(`${file} was changed`);
    await deployment.up();
    expect(await deployment.drift()).toEqual([]);
    expect(await served()).toBe(before);
  });

  it("is renewed without a failed request, and so is the authority's place taken by a provided one", async () => {
    const before = await served();
    const provided = makeCertificate(`IP:${guest.address}`, 30, true);
    const load = new Load({
      uri: uri(),
      user: "ada",
      password: password("ada"),
      options: { ca: [deployment.outputs.caCertificate, provided.certificate] },
    });
    await load.start();
    // The stand-in for the engine makes anew what it does not have, as the engine does near the end of a certificate.
    deployment.forget("mlflow-authority-server-certificate");
    await deployment.up();
    const renewed = await served();
    expect(renewed).not.toBe(before);

    deployment.config = {
      ...deployment.config,
      "tls.mode": "provided",
      "tls.certificate": provided.certificate,
      "tls.privateKey": provided.key,
    };
    await deployment.up();
    expect(await served()).not.toBe(renewed);
    expect(await deployment.drift()).toEqual([]);

    deployment.config = { ...deployment.config, "tls.mode": undefined };
    await deployment.up();
    expect(await served()).toBe(renewed);
    const { perSecond, failed } = await load.stop();
    expect(failed).toEqual([]);
    expect(perSecond).toBeGreaterThan(20);
    expect(await deployment.drift()).toEqual([]);
  });

  it("is for a domain too, when there is one, and clients that know the authority go on", async () => {
    const { caCertificate } = deployment.outputs;
    deployment.config = { ...deployment.config, domain: "mlflow.test" };
    await deployment.up();
    expect(deployment.outputs.trackingUri).toBe("https://mlflow.test");
    expect(deployment.outputs.caCertificate).toBe(caCertificate);
    expect((await certificateOf(`https://${guest.address}`)).subjectaltname).toBe(
      `DNS:mlflow.test, IP Address:${guest.address}`,
    );
    deployment.config = { ...deployment.config, domain: undefined };
    await deployment.up();
  });
});

describe("rotation", () => {
  const processes = () =>
    guest.run(
      "systemctl show --property MainPID --value 'mlflow@*' nginx 'postgresql@*-main' | paste -sd ' '",
    );
  const login = (secret: string) =>
    guest
      .run(`PGPASSWORD=${quote(secret)} psql -w -h 127.0.0.1 -U mlflow -d mlflow -Atc 'select 1'`)
      .catch((error: Error) => error.message);
  const storedPassword = async () => (await guest.run("cat /etc/mlflow-vps/pgpass")).split(":").at(-1) ?? "";

  it("of the database gives a new password, ends the old one and changes nothing else", async () => {
    const [users, running, old] = [deployment.outputs.users, await processes(), await storedPassword()];
    expect(await login(old)).toBe("1");
    deployment.config = { ...deployment.config, "rotation.database": 2 };
    await deployment.up();
    expect(await storedPassword()).not.toBe(old);
    expect(await login(old)).toContain("password authentication failed");
    expect(await login(await storedPassword())).toBe("1");
    expect(deployment.outputs.users).toEqual(users);
    expect(await processes()).toBe(running);
    expect(await statusOf("ada", password("ada"))).toBe(200);
    expect(await deployment.drift()).toEqual([]);
  });

  it("of a user gives a new password, ends the old one and leaves the other user alone", async () => {
    const { ada, grace } = deployment.outputs.users;
    const running = await processes();
    deployment.config = { ...deployment.config, "rotation.users.ada": 2 };
    await deployment.up();
    expect(await statusOf("ada", ada)).toBe(401);
    expect(await statusOf("ada", password("ada"))).toBe(200);
    expect(password("grace")).toBe(grace);
    expect(await statusOf("grace", grace)).toBe(200);
    expect(await processes()).toBe(running);
  });

  it("adds a user, and removes one, by the config", async () => {
    const { grace } = deployment.outputs.users;
    deployment.config = { ...deployment.config, users: ["ada", "alan"] };
    await deployment.up();
    expect(await statusOf("alan", password("alan"))).toBe(200);
    expect(await statusOf("ada", password("ada"))).toBe(200);
    expect(await statusOf("grace", grace)).toBe(401);
    expect(Object.keys(deployment.outputs.users)).toEqual(["ada", "alan"]);
  });
});
