import { X509Certificate } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import type { RequestOptions } from "node:http";
import type { LookupFunction } from "node:net";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Answer, Deployment, fingerprint, Guest, hostTool, open } from "./harness";
import { Load } from "./load";
import { Pebble, pebbleIsMissing } from "./pebble";

/**
 * The life of a server with a certificate of a public authority, in order: each test begins with what the one before
 * it left. The authority is Pebble, Let's Encrypt's test server.
 */
const missing = pebbleIsMissing();
const domain = "mlflow.example.org";
const guest = new Guest("test-acme");
const hook = "/etc/letsencrypt/renewal-hooks/deploy/mlflow-vps";
const live = "/etc/letsencrypt/live/mlflow-vps";
const serverFile = "/etc/mlflow-vps/server.pem";
/** Less than the 30 days before the end in which certbot renews, so it is always due. */
const validDays = 20;

const lookup: LookupFunction = (_name, { all }, done) =>
  all ? done(null, [{ address: guest.address, family: 4 }]) : done(null, guest.address, 4);

/** A program whose name server knows the domain, and that trusts these authorities only. */
function ask(url: string, ca: readonly string[], options: RequestOptions = {}): Promise<Answer> {
  return new Promise((done, reject) => {
    const outgoing = open(url, { ...options, agent: false, lookup, ...{ ca } });
    outgoing.on("response", (incoming) => {
      incoming.resume();
      incoming.on("end", () =>
        done({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: "" }),
      );
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

/** What the server shows to a client that trusts this authority only; fails where the client would. */
function handshake(ca: string): Promise<{ certificate: X509Certificate; protocol: string }> {
  return new Promise((done, reject) => {
    const socket = connect(
      { host: guest.address, port: 443, servername: domain, ca, ALPNProtocols: ["h2", "http/1.1"] },
      () => {
        const certificate = new X509Certificate(socket.getPeerCertificate().raw);
        socket.end();
        done({ certificate, protocol: socket.alpnProtocol || "" });
      },
    );
    socket.on("error", reject);
  });
}

describe.skipIf(missing !== undefined)(`a server with a public name${missing ? ` (${missing})` : ""}`, () => {
  const base = { domain, users: ["ada"] };
  let pebble: Pebble;
  let deployment: Deployment;
  let root = "";
  /** SHA-256 of the private key that was in use last. */
  let usedKey = "";

  beforeAll(async () => {
    await guest.down();
    await guest.up("--from", "packaged");
    pebble = new Pebble(guest);
    await pebble.start(validDays);
    await pebble.lead(domain, guest.address);
    root = await pebble.root();
    deployment = new Deployment(guest, {
      ...base,
      "tls.acmeDirectory": pebble.acmeDirectory,
      "tls.email": "ada@example.org",
    });
  });
  afterAll(async () => {
    pebble?.stop();
    await guest.down();
  });

  const uri = `https://${domain}`;
  const serial = async () => (await handshake(root)).certificate.serialNumber;
  const status = async (ca = root) =>
    (await ask(`${uri}/version`, [ca], { auth: `ada:${deployment.outputs.users.ada}` })).status;
  /** Clients that trust all these authorities send while something is done; none of their requests may fail. */
  const underLoad = async (work: () => Promise<unknown>, ca: string[] = [root]) => {
    const load = new Load({
      uri,
      user: "ada",
      password: deployment.outputs.users.ada ?? "",
      options: { lookup, ca },
    });
    const { sent, perSecond, failed, cutOff } = await load.during(work);
    console.log(`${sent} requests, ${perSecond.toFixed()} in a second, ${failed.length} failed`);
    expect(failed).toEqual([]);
    expect(cutOff).toBe(0);
    expect(perSecond).toBeGreaterThan(20);
  };

  describe("on a host without a server", () => {
    it("gets a certificate of the public authority by itself", async () => {
      const output = await deployment.up();
      expect(output).toContain(
        "a placeholder is served until the certificate authority has issued a certificate",
      );
      expect(output).toContain(`getting a certificate for ${domain}`);
      const { certificate, protocol } = await handshake(root);
      expect(certificate.checkHost(domain)).toBe(domain);
      expect(certificate.issuer).toContain("Pebble Intermediate CA");
      expect(protocol).toBe("h2");
      expect(await status()).toBe(200);
    });

    it("tells browsers to use nothing but HTTPS, and sends them there", async () => {
      const answer = await ask(`${uri}/`, [root]);
      expect(answer.status).toBe(401);
      expect(answer.headers["strict-transport-security"]).toBe("max-age=31536000");
      for (const name of [domain, guest.address]) {
        const { status, headers } = await ask(`http://${name}/#/experiments?x=1`, []);
        expect([status, headers.location]).toEqual([308, `https://${name}/`]);
      }
      const deep = await ask(`http://${domain}/ajax-api/2.0/mlflow?x=1`, []);
      expect(deep.headers.location).toBe(`${uri}/ajax-api/2.0/mlflow?x=1`);
    });

    it("asks of its clients nothing but the password", () => {
      const { clientEnv, caCertificate, trackingUri } = deployment.outputs;
      expect(trackingUri).toBe(uri);
      expect(caCertificate).toBe("");
      expect(clientEnv).not.toContain("CERT");
    });

    it("is left alone by a second apply and by the drift check", async () => {
      const before = [await fingerprint(guest), await serial(), await guest.run("find /etc/letsencrypt -ls")];
      expect(await deployment.up()).toBe("");
      expect(await deployment.drift()).toEqual([]);
      expect([
        await fingerprint(guest),
        await serial(),
        await guest.run("find /etc/letsencrypt -ls"),
      ]).toEqual(before);
    });
  });

  describe("a renewal", () => {
    it("by certbot's own timer fails no request", async () => {
      const before = await serial();
      await underLoad(() => guest.run("systemctl start certbot.service"));
      expect(await serial()).not.toBe(before);
      expect(await status()).toBe(200);
      expect(await deployment.drift()).toEqual([]);
    });

    it("that nginx could not take up, for another site was broken, is named and taken up later", async () => {
      const before = await serial();
      await guest.run("echo 'nonsense;' >/etc/nginx/conf.d/broken.conf");
      await guest.run("systemctl start certbot.service");
      expect(await serial()).toBe(before);
      expect((await deployment.drift()).join("\n")).toContain(
        `nginx has not loaded the current ${serverFile}`,
      );
      await guest.run("rm /etc/nginx/conf.d/broken.conf");
      await deployment.up();
      expect(await serial()).not.toBe(before);
      expect(await deployment.drift()).toEqual([]);
    });

    it("of somebody else's certificate leaves ours alone", async () => {
      const before = await guest.run(`sha256sum ${serverFile}`);
      await guest.run(`RENEWED_LINEAGE=/etc/letsencrypt/live/other ${hook}`);
      expect(await guest.run(`sha256sum ${serverFile}`)).toBe(before);
    });
  });

  describe("drift", () => {
    /** A certificate for the domain that the authority did not give. */
    const another = (...options: string[]) =>
      `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /root/key.pem -subj /CN=${domain} 2>/dev/null |
        openssl x509 -req -signkey /root/key.pem ${options.join(" ")} -extfile <(echo subjectAltName=DNS:${domain}) -out /root/cert.pem 2>/dev/null`;
    const asServer = `cat /root/key.pem /root/cert.pem >${serverFile}`;
    const notHandedOver = `${serverFile} does not hold the certificate that certbot got for ${domain}`;
    const timerLines = [
      "certbot.timer does not start at boot",
      "certbot.timer is not running, so the certificate will not be renewed",
    ];
    const none = () => `there is no certificate of ${pebble.acmeDirectory} for ${domain}`;
    it.each<[string, string, () => (string | RegExp)[]]>([
      [
        "the timer and the hook",
        `systemctl disable --quiet --now certbot.timer; rm ${hook}`,
        () => [`${hook} is missing`, ...timerLines],
      ],
      [
        "the hook's text and the directory of the answers",
        `echo 'exit 0' >${hook}; rm -r /var/lib/mlflow-vps`,
        () => [`${hook} was changed`, "/var/lib/mlflow-vps/acme is missing"],
      ],
      ["another certificate", `${another("-days 90")}; ${asServer}; nginx -s reload`, () => [notHandedOver]],
      [
        "another certificate that nginx has not read",
        `${another("-days 90")}; ${asServer}`,
        () => [
          `nginx has not loaded the current ${serverFile}`,
          /^a request without a password is answered with 000/,
          /^a request of user ada is answered with 000/,
          notHandedOver,
        ],
      ],
      [
        "an ended certificate",
        `${another("-days -1")}; ${asServer}; cp /root/cert.pem ${live}/cert.pem; systemctl reload nginx; sleep 1`,
        () => [
          `the certificate in ${serverFile} has expired`,
          /^a request without a password is answered with 000/,
          /^a request of user ada is answered with 000/,
          /^the certificate for mlflow.example.org expires on .*, and certbot has not renewed it: see/,
        ],
      ],
      [
        "certbot's settings",
        "sed -i 's/^authenticator = .*/authenticator = standalone/' /etc/letsencrypt/renewal/mlflow-vps.conf",
        () => ["certbot cannot renew the certificate: /etc/letsencrypt/renewal/mlflow-vps.conf was changed"],
      ],
      [
        "a certificate of certbot's that is no link",
        `cd ${live}; cp --remove-destination -L cert.pem copy; mv copy cert.pem`,
        () => [none()],
      ],
      ["certbot's certificates", "rm -r /etc/letsencrypt/live", () => [none()]],
      [
        "certbot's settings, emptied",
        "truncate -s 0 /etc/letsencrypt/renewal/mlflow-vps.conf",
        () => [none()],
      ],
      [
        "certbot",
        "DEBIAN_FRONTEND=noninteractive apt-get remove -qq certbot >/dev/null",
        () => ["package certbot is not installed", ...timerLines],
      ],
    ])("of %s is named and put right", async (_, damage, lines) => {
      await guest.run(damage);
      const expected = lines().map((line) => (typeof line === "string" ? line : expect.stringMatching(line)));
      expect(await deployment.drift()).toEqual(expected);
      await deployment.up();
      expect(await deployment.drift()).toEqual([]);
      expect(await status()).toBe(200);
    });

    it("of none of these keeps it from being renewed", async () => {
      const before = await serial();
      await guest.run("systemctl start certbot.service");
      expect(await serial()).not.toBe(before);
      expect(await deployment.drift()).toEqual([]);
    });
  });

  describe("the applying process", () => {
    it("killed while it asks for a certificate: the next up converges", async () => {
      await guest.run("rm -r /etc/letsencrypt/live");
      const hold = await guest.hold("/usr/bin/certbot", "acme");
      const up = deployment.start();
      await hold.reached();
      await up.kill();
      await hold.end();
      await deployment.up();
      expect(await deployment.drift()).toEqual([]);
      expect(await status()).toBe(200);
    });
  });

  describe("an authority that gives no certificate", () => {
    it("for the name leads elsewhere, makes up fail with the remedy; the server goes on, and the next up gets it", async () => {
      const before = await serial();
      await guest.run("rm -r /etc/letsencrypt/live");
      await pebble.lead(domain, guest.address.replace(/\.2$/, ".1"));
      const error = await deployment.upFails();
      expect(error).toContain(`Domain: ${domain}`);
      expect(error).toContain(`must reach this host as ${domain} on port 80, from everywhere`);
      expect(error).toContain("no more than 5 failures an hour");
      expect(await serial()).toBe(before);
      expect(await status()).toBe(200);
      await pebble.lead(domain, guest.address);
      await deployment.up();
      expect(await serial()).not.toBe(before);
      expect(await deployment.drift()).toEqual([]);
    });

    it("for it cannot be reached, does the same", async () => {
      const before = await serial();
      const { config } = deployment;
      deployment.config = {
        ...config,
        "tls.acmeDirectory": pebble.acmeDirectory.replace("14000", "14009"),
      };
      const error = await deployment.upFails();
      deployment.config = config;
      expect(error).toContain("no new certificate was issued; the server keeps the one it has");
      expect(error).toContain("Connection refused");
      expect(await serial()).toBe(before);
      expect(await deployment.up()).toBe("");
      expect(await serial()).toBe(before);
    });

    it("has one account of the server all the time", async () => {
      const accounts = "/etc/letsencrypt/accounts/*/dir/*/regr.json";
      expect(await guest.run(`ls ${accounts} | wc -l`)).toBe("1");
    });
  });

  describe("another mode", () => {
    let own = "";
    let provided = "";
    let files: Record<string, string>;
    const acme = () => ({ ...deployment.config, "tls.mode": undefined });

    beforeAll(() => {
      const directory = join(guest.directory, "provided");
      mkdirSync(directory, { recursive: true });
      const openssl = (...args: string[]) => hostTool("openssl", args, { cwd: directory, stdio: "pipe" });
      const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"];
      openssl("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=A company");
      const signed = ["-addext", "basicConstraints=critical,CA:FALSE", "-CA", "ca.pem", "-CAkey", "ca.key"];
      const name = ["-subj", `/CN=${domain}`, "-addext", `subjectAltName=DNS:${domain}`];
      openssl("req", "-x509", ...key, "-keyout", "server.key", "-out", "server.pem", ...name, ...signed);
      provided = readFileSync(join(directory, "ca.pem"), "utf8");
      files = {
        "tls.certificateFile": join(directory, "server.pem"),
        "tls.privateKeyFile": join(directory, "server.key"),
      };
    });

    const change = async (config: Record<string, unknown>) => {
      await rememberKey();
      deployment.config = config;
      await deployment.up();
    };

    it("a certificate of its own: it takes over, nothing of the authority's stays", async () => {
      await change({ ...deployment.config, "tls.mode": "selfSigned" });
      own = deployment.outputs.caCertificate;
      expect((await handshake(own)).certificate.checkHost(domain)).toBe(domain);
      expect(await status(own)).toBe(200);
      await expect(handshake(root)).rejects.toThrow();
      expect(await ours()).toBe("");
      expect(await deployment.drift()).toEqual([]);
      // The distribution's timer finds nothing to do, and does not fail.
      await guest.run("systemctl start certbot.service");
      expect(await deployment.drift()).toEqual([]);
    });

    it("back to the authority's: no request fails", async () => {
      await underLoad(() => change(acme()), [root, own]);
      expect(await status()).toBe(200);
      expect(await deployment.drift()).toEqual([]);
    });

    it("and to a certificate of its own: no request fails", async () => {
      await underLoad(() => change({ ...deployment.config, "tls.mode": "selfSigned" }), [root, own]);
      expect(await status(own)).toBe(200);
      expect(await ours()).toBe("");
      expect(await deployment.drift()).toEqual([]);
    });

    it("a provided certificate: no request fails", async () => {
      await underLoad(
        () => change({ ...deployment.config, ...files, "tls.mode": "provided" }),
        [own, provided],
      );
      expect(await status(provided)).toBe(200);
      expect(await deployment.drift()).toEqual([]);
    });

    it("from a provided certificate to the authority's: no request fails", async () => {
      await underLoad(() => change(acme()), [root, provided]);
      expect(await status()).toBe(200);
      expect(await deployment.drift()).toEqual([]);
    });
  });

  describe("destroy", () => {
    it("leaves nothing of ours with certbot, which goes on for others", async () => {
      await rememberKey();
      await deployment.destroy();
      expect(await ours()).toBe("");
      expect(await guest.run("ls /etc/mlflow-vps /run/mlflow-vps/drain 2>/dev/null || true")).toBe("");
      await guest.run("systemctl start certbot.service");
    });
  });

  const rememberKey = async () => {
    usedKey = (await guest.run(`sha256sum <${live}/privkey.pem || echo none`)).split(" ")[0] ?? "";
  };
  /** Files of ours with certbot; of its copies of keys, those that were ever in use. */
  const ours = () =>
    guest.run(`find /etc/letsencrypt /var/lib/mlflow-vps -name '*mlflow*' -o -path '*/acme*' 2>/dev/null || true
      sha256sum /etc/letsencrypt/keys/* 2>/dev/null | grep ${usedKey} || true`);
});
