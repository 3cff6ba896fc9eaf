import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { type Config, keys, parseConfig, required } from "../../components/config";
import { supportedVersions } from "../../components/runtime/runtime";
import type { Connection } from "../../components/step/ssh";
import { makeCertificate } from "../certificate";
import { ecdsaHostKey, encryptedLoginKey, hostKey, loginKey, otherHostKey, passphrase, pinned } from "./keys";
import { runProgram, settled } from "./mocks";

type Raw = Readonly<Record<string, string>>;

/** As little as the program can do with. */
const least: Raw = {
  "host.address": "192.0.2.10",
  "host.user": "deploy",
  "host.hostKey": hostKey.public,
  "host.privateKey": loginKey.private,
};

const server = makeCertificate("IP:192.0.2.10,DNS:mlflow.example.org");
const otherServer = makeCertificate("IP:192.0.2.10");
const provided: Raw = {
  ...least,
  "tls.mode": "provided",
  "tls.certificate": server.certificate,
  "tls.privateKey": server.key,
};

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "mlflow-vps-config-"));
  mkdirSync(join(directory, "keys"));
  writeFileSync(join(directory, "keys/host_key.pub"), `${hostKey.public} root@vps\n`);
  writeFileSync(join(directory, "keys/id_ed25519"), loginKey.private);
  writeFileSync(join(directory, "keys/encrypted"), encryptedLoginKey.private);
  writeFileSync(join(directory, "keys/empty"), "");
  writeFileSync(join(directory, "keys/server.crt"), server.certificate);
  writeFileSync(join(directory, "keys/server.key"), server.key);
  mkdirSync(join(directory, "home/.ssh"), { recursive: true });
  writeFileSync(join(directory, "home/.ssh/id_ed25519"), loginKey.private);
  writeFileSync(join(directory, "home/host_key.pub"), hostKey.public);
});
afterAll(() => rmSync(directory, { recursive: true }));
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

const parse = (raw: Raw): Config => parseConfig(raw, directory);
const connectionOf = (config: Config): Promise<Connection> => settled(config.connection);

/** The message about this config, which must not be accepted. */
function refusal(raw: Raw): string {
  try {
    parse(raw);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("this config was accepted");
}

/** The lines about single values in such a message. */
const problems = (message: string): string[] =>
  message
    .split("\n")
    .filter((line) => line.startsWith("  - "))
    .map((line) => line.slice(4));

const without = (raw: Raw, ...names: string[]): Raw =>
  Object.fromEntries(Object.entries(raw).filter(([name]) => !names.includes(name)));

interface Case {
  /** Values as they stand in the stack's config, and what the program makes of them. */
  readonly right: readonly (readonly [raw: string, parsed: unknown])[];
  readonly wrong: readonly string[];
  readonly pick: (config: Config, connection: Connection) => unknown;
  /** Config beside the key, where the least is not it. */
  readonly beside?: Raw;
  /** Where the message is not that of all keys. */
  readonly message?: (raw: string) => string | RegExp;
}

const wholeNumber = (lowest: number, highest: number) => ({
  right: [
    [String(lowest), lowest],
    [String(highest), highest],
  ] as const,
  wrong: [String(lowest - 1), String(highest + 1), "-1", "1.5", "1e3", "0x10", " 7", "seven", "true", "[7]"],
});
const yesOrNo = {
  right: [
    ["true", true],
    ["false", false],
  ] as const,
  wrong: ["yes", "no", "1", "0", "TRUE", "null", "[]"],
};
const path = (raw: string) => new RegExp(`${raw.replace(/[.]/g, "\\.")} can not be read \\(\\S`);

const table: Readonly<Record<string, Case>> = {
  "host.address": {
    right: ["192.0.2.10", "2001:db8::10", "vps", "vps.example.org", "10-0-0-1.example.org"].map((it) => [
      it,
      it,
    ]),
    wrong: [
      "300.0.0.1",
      "192.0.2",
      "2001:db8::g",
      "fe80::1%eth0",
      "[2001:db8::10]",
      "a b",
      "http://vps",
      "vps:22",
      "vps_1",
      "-vps",
      "vps.",
      "deploy@vps",
      "$(id)",
      "a;b",
      "vps\n",
      `${"a".repeat(64)}.org`,
    ],
    pick: (config, connection) => (connection.host === config.address ? config.address : "two addresses"),
  },
  "host.port": { ...wholeNumber(1, 65535), pick: (_, { port }) => port },
  "host.user": {
    right: ["root", "deploy", "_ci", "a-b_c1", "a".repeat(32)].map((it) => [it, it]),
    wrong: ["Deploy", "1user", "-user", "a b", "user;id", "user'", "us.er", "a".repeat(33), "root\n"],
    pick: (_, { user }) => user,
  },
  "host.hostKey": {
    right: [
      [hostKey.public, pinned(hostKey.public)],
      [`${pinned(hostKey.public)} root@vps with words`, pinned(hostKey.public)],
      [ecdsaHostKey.public, pinned(ecdsaHostKey.public)],
    ],
    wrong: [
      "ssh-ed25519",
      "ssh-ed25519 AAAA",
      pinned(hostKey.public).replace("ssh-ed25519", "ssh-rsa"),
      pinned(hostKey.public).replace("ssh-ed25519", "ecdsa-sha2-nistp256"),
      `192.0.2.10 ${pinned(hostKey.public)}`,
      "SHA256:uNiVztksCsDhcc0u9e8BrwDDvMdGBIRyzM0NzSgNgWM",
      ` ${pinned(hostKey.public)}`,
    ],
    pick: (_, connection) => connection.hostKey,
  },
  "host.hostKeyFile": {
    beside: without(least, "host.hostKey"),
    right: [
      ["keys/host_key.pub", pinned(hostKey.public)],
      ["./keys/../keys/host_key.pub", pinned(hostKey.public)],
    ],
    wrong: ["keys/missing.pub", "keys", "~user/host_key.pub", "keys/empty", "keys/id_ed25519"],
    pick: (_, connection) => connection.hostKey,
    message: (raw) =>
      ["keys/empty", "keys/id_ed25519"].includes(raw)
        ? `host.hostKeyFile: ${raw} does not hold ${keys["host.hostKey"].allowed}`
        : path(raw),
  },
  "host.privateKey": {
    right: [[loginKey.private, `${loginKey.private}\n`]],
    wrong: ["hunter2", "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----"],
    pick: (_, { privateKey }) => privateKey,
    message: () => "host.privateKey: is not a private SSH key in OpenSSH or PEM format",
  },
  "host.privateKeyFile": {
    beside: without(least, "host.privateKey"),
    right: [["keys/id_ed25519", `${loginKey.private.trim()}\n`]],
    wrong: ["keys/missing", "keys", "keys/empty"],
    pick: (_, { privateKey }) => privateKey,
    message: (raw) =>
      raw === "keys/empty"
        ? "host.privateKeyFile: is not a private SSH key in OpenSSH or PEM format"
        : path(raw),
  },
  "host.privateKeyPassphrase": {
    beside: { ...least, "host.privateKey": encryptedLoginKey.private },
    right: [[passphrase, passphrase]],
    wrong: ["hunter2"],
    pick: (_, { privateKeyPassword }) => privateKeyPassword,
    message: () => /^host\.privateKey\w*: .*passphrase/,
  },
  domain: {
    right: ["mlflow.example.org", "mlflow", "xn--bcher-kva.example"].map((it) => [it, it]),
    wrong: [
      "http://mlflow.example.org",
      "mlflow.example.org/",
      "mlflow.example.org:80",
      "*.example.org",
      "a b",
      "a..b",
      ".org",
      "mlflow_1.example.org",
      "bücher.example",
      "a;}",
      "2001:db8::10",
    ],
    pick: ({ domain }) => domain,
  },
  users: {
    right: [
      ['["mlflow"]', ["mlflow"]],
      ['["ada","grace.h","edsger-w_d"]', ["ada", "grace.h", "edsger-w_d"]],
      [`["${"a".repeat(32)}"]`, ["a".repeat(32)]],
    ],
    wrong: [
      "ada",
      "ada,grace",
      "[]",
      '["ada","ada"]',
      '["Ada"]',
      '["1ada"]',
      '[""]',
      '["a:b"]',
      '["a b"]',
      '["a\\nb"]',
      "[1]",
      '[["ada"]]',
      "null",
      "true",
      `["${"a".repeat(33)}"]`,
    ],
    pick: ({ users }) => users.map(({ name }) => name),
  },
  "mlflow.version": {
    right: supportedVersions().map((version) => [version, version]),
    wrong: ["2.0.0", "latest", "3.17", "v3.17.2", "3.17.2.txt", "../3.17.2", "3"],
    pick: ({ mlflowVersion }) => mlflowVersion,
  },
  "service.workers": {
    right: [...wholeNumber(1, 16).right, ["auto", "auto"]],
    wrong: [...wholeNumber(1, 16).wrong, "Auto"],
    pick: ({ workers }) => workers,
  },
  "service.jobs": {
    right: [
      ["true", true],
      ["false", false],
      ["auto", "auto"],
    ],
    wrong: ["yes", "1", "True", "null", '["true"]'],
    pick: ({ jobs }) => jobs,
  },
  "service.port": { ...wholeNumber(1024, 65535), pick: ({ servicePort }) => servicePort },
  "tls.mode": {
    beside: { ...provided, domain: "mlflow.example.org", "tls.allowPlainHttp": "true" },
    right: [
      ["auto", "acme"],
      ["selfSigned", "selfSigned"],
      ["acme", "acme"],
      ["provided", "provided"],
      ["none", "none"],
    ],
    wrong: ["selfsigned", "letsencrypt", "true", "off", "https", "[]"],
    pick: ({ tls }) => tls.mode,
  },
  "tls.allowPlainHttp": {
    // That it allows plain HTTP is told below.
    right: yesOrNo.right.map(([raw]) => [raw, "selfSigned"] as const),
    wrong: yesOrNo.wrong,
    pick: ({ tls }) => tls.mode,
  },
  "tls.email": {
    beside: { ...least, domain: "mlflow.example.org" },
    right: [["ada@example.org", "ada@example.org"]],
    wrong: ["ada", "ada@example", "@example.org", "a b@example.org"],
    pick: ({ tls }) => (tls.mode === "acme" ? tls.email : "not used"),
  },
  "tls.acmeDirectory": {
    beside: { ...least, domain: "mlflow.example.org" },
    right: ["https://acme.example.org/directory", "https://192.0.2.1:14000/dir"].map((it) => [it, it]),
    wrong: ["http://acme.example.org/directory", "acme.example.org", "https://a b/", "https://a/$(id)"],
    pick: ({ tls }) => (tls.mode === "acme" ? tls.directory : "not used"),
  },
  "tls.certificate": {
    beside: provided,
    right: [[server.certificate, "provided"]],
    wrong: ["hunter2", "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----"],
    pick: ({ tls }) => tls.mode,
    message: () => "tls.certificate: is not a certificate in PEM, the chain to its authority after it",
  },
  "tls.certificateFile": {
    beside: without(provided, "tls.certificate"),
    right: [["keys/server.crt", "provided"]],
    wrong: ["keys/missing.crt", "keys"],
    pick: ({ tls }) => tls.mode,
    message: path,
  },
  "tls.privateKey": {
    beside: provided,
    right: [[server.key, "provided"]],
    wrong: ["hunter2", "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----"],
    pick: ({ tls }) => tls.mode,
    message: () => "tls.privateKey: is not the certificate's private key in PEM, without a passphrase",
  },
  "tls.privateKeyFile": {
    beside: without(provided, "tls.privateKey"),
    right: [["keys/server.key", "provided"]],
    wrong: ["keys/missing.key", "keys"],
    pick: ({ tls }) => tls.mode,
    message: path,
  },
  "proxy.port": {
    ...wholeNumber(1, 65535),
    right: [...wholeNumber(1, 65535).right, ["auto", 443]],
    pick: ({ proxyPort }) => proxyPort,
  },
  "proxy.httpPort": {
    ...wholeNumber(0, 65535),
    right: [
      ["65535", 65535],
      ["80", 80],
      ["0", undefined],
    ],
    pick: ({ httpPort }) => httpPort,
  },
  "database.name": {
    right: ["mlflow", "tracking_2", "a", "a".repeat(63)].map((it) => [it, it]),
    wrong: [
      "MLflow",
      "2tracking",
      "track-ing",
      "a b",
      "a'b",
      'a"b',
      "a;b",
      "postgres",
      "template0",
      "template1",
      "pg_mlflow",
      "mlflow_vps_rehearsal",
      "a".repeat(64),
      "ä".repeat(32),
    ],
    pick: ({ databaseName }) => databaseName,
  },
  "database.port": { ...wholeNumber(1024, 65535), pick: ({ databasePort }) => databasePort },
  "artifacts.directory": {
    right: ["/var/lib/mlflow/artifacts", "/mnt/disk-1/mlflow_3.x"].map((it) => [it, it]),
    wrong: [
      "artifacts",
      "./a/b",
      "~/artifacts",
      "/",
      "/srv",
      "/srv/",
      "/srv/mlflow/",
      "/srv//mlflow",
      "/srv/../etc",
      "/srv/./mlflow",
      "/srv/.mlflow",
      "/srv/my artifacts",
      "/srv/a'b",
      "/srv/$HOME",
      "s3://bucket/a",
    ],
    pick: ({ artifactsDirectory }) => artifactsDirectory,
  },
  "data.deleteOnDestroy": { ...yesOrNo, pick: ({ deleteData }) => deleteData },
  "updates.automatic": { ...yesOrNo, pick: ({ automaticUpdates }) => automaticUpdates },
  "updates.time": {
    right: ["00:00", "04:00", "09:59", "19:30", "23:59"].map((it) => [it, it]),
    wrong: ["4:00", "24:00", "04:60", "04", "0400", "04:00:00", "4am", "240", "*:00", "04:00 UTC", "04:00\n"],
    pick: ({ updatesTime }) => updatesTime,
  },
  firewall: {
    right: [
      ["true", true],
      ["false", false],
    ],
    wrong: ["yes", "on", "1", "TRUE", "[]"],
    pick: ({ firewall }) => firewall,
  },
  "rotation.database": { ...wholeNumber(1, 999_999), pick: ({ databaseRotation }) => databaseRotation },
};

const cases = (kind: "right" | "wrong") =>
  Object.entries(table).flatMap(([name, it]) =>
    it[kind].map((value) => {
      const [raw, parsed] = typeof value === "string" ? [value, undefined] : value;
      return { name, raw, parsed, shown: raw.slice(0, 40).replaceAll("\n", "\\n"), it };
    }),
  );

describe("each key", () => {
  test("is in the table of right and wrong values", () => {
    expect(Object.keys(table).sort()).toEqual(Object.keys(keys).sort());
    for (const { right, wrong } of Object.values(table)) {
      expect(right.length).toBeGreaterThan(0);
      expect(wrong.length).toBeGreaterThan(0);
    }
  });

  test.each(cases("right"))("$name takes $shown", async ({ name, raw, parsed, it }) => {
    const config = parse({ ...(it.beside ?? least), [name]: raw });
    expect(it.pick(config, await connectionOf(config))).toEqual(parsed);
  });

  test.each(cases("wrong"))("$name refuses $shown, and says what is allowed", ({ name, raw, it }) => {
    const message = refusal({ ...(it.beside ?? least), [name]: raw });
    const { allowed } = (keys as Record<string, { allowed: string }>)[name] ?? { allowed: "" };
    const expected = it.message?.(raw) ?? `${name}: ${JSON.stringify(raw)} is given; allowed is ${allowed}`;
    expect(problems(message)).toEqual([
      typeof expected === "string" ? expected : expect.stringMatching(expected),
    ]);
    expect(allowed).not.toBe("");
  });

  test.each(Object.entries(table))(
    "%s, when empty, is as if it were left out",
    (name, { beside = least }) => {
      const result = (raw: Raw) => {
        try {
          const { connection: _, ...config } = parse(raw);
          return config;
        } catch (error) {
          return (error as Error).message;
        }
      };
      vi.stubEnv("HOME", join(directory, "home"));
      expect(result({ ...beside, [name]: "" })).toEqual(result(without(beside, name)));
    },
  );

  test("that is left out has its default", async () => {
    const { connection: _, ...config } = parse(least);
    expect(config).toEqual({
      address: "192.0.2.10",
      tls: { mode: "selfSigned" },
      users: [{ name: "mlflow", rotation: 1 }],
      mlflowVersion: "3.17.2",
      workers: "auto",
      jobs: "auto",
      servicePort: 5000,
      proxyPort: 443,
      httpPort: 80,
      databaseName: "mlflow",
      databasePort: 5432,
      databaseRotation: 1,
      artifactsDirectory: "/var/lib/mlflow/artifacts",
      deleteData: false,
      automaticUpdates: true,
      updatesTime: "04:00",
      firewall: false,
    });
    expect(await connectionOf(parse(least))).toMatchObject({ port: 22 });
  });
});

describe("a wrong config", () => {
  test("is reported in one message with every wrong value", () => {
    const wrong = { ...least };
    const expected: string[] = [];
    for (const [name, { wrong: values, message }] of Object.entries(table)) {
      if (message === undefined && values[0] !== undefined) {
        wrong[name] = values[0];
        expected.push(name);
      }
    }
    const message = refusal(wrong);
    expect(
      problems(message)
        .map((line) => line.slice(0, line.indexOf(":")))
        .sort(),
    ).toEqual(expected.sort());
    expect(message).toMatch(
      new RegExp(`^the configuration has ${expected.length} wrong values, nothing was touched:\n`),
    );
    expect(expected.length).toBeGreaterThan(12);
  });

  test("is refused before anything is made or any connection is opened", async () => {
    const connect = vi.spyOn(Socket.prototype, "connect");
    const made: string[] = [];
    await expect(
      runProgram(
        { ...least, "proxy.port": "none" },
        {
          during: async ({ name }) => {
            made.push(name);
          },
        },
      ),
    ).rejects.toThrow("proxy.port");
    expect(made).toEqual([]);
    expect(connect).not.toHaveBeenCalled();
  });

  test("lists all keys that are needed and not given", () => {
    vi.stubEnv("HOME", join(directory, "home"));
    expect(problems(refusal({})).sort()).toEqual(
      required.map((name) => `${name}: nothing is given; needed is ${keys[name].allowed}`).sort(),
    );
  });

  test("with a key that does not exist names those that do", () => {
    const [line, ...more] = problems(refusal({ ...least, "proxy.prot": "80" }));
    expect(line).toMatch(/^proxy\.prot: there is no such key; there are /);
    for (const name of [...Object.keys(keys), "rotation.users.<name>"]) {
      expect(line).toContain(name);
    }
    expect(more).toEqual([]);
  });

  test.each(["toString", "constructor", "host", "rotation", "rotation.user.ada", "Domain"])(
    "with the key '%s' is refused, for there is no such key",
    (name) => {
      expect(problems(refusal({ ...least, [name]: "x" }))).toEqual([
        expect.stringMatching(`^${name}: there is no such key`),
      ]);
    },
  );

  test("with a version of MLflow that has no lock lists those that have one", () => {
    expect(refusal({ ...least, "mlflow.version": "3.18.0" })).toContain(
      `mlflow.version: "3.18.0" is given; allowed is one of ${supportedVersions().join(", ")}`,
    );
  });

  test.each([
    ["proxy.port", "service.port", 8080],
    ["proxy.httpPort", "service.port", 8080],
    ["database.port", "service.port", 5432],
    ["host.port", "proxy.port", 22],
    ["database.port", "proxy.port", 5432],
  ])("with %s and %s on one port names both", (one, other, port) => {
    const message = refusal({ ...least, [one]: String(port), [other]: String(port) });
    expect(problems(message)).toEqual([
      `${one}: ${port} is given for ${other} too; allowed is a port of its own`,
    ]);
  });

  test("with a port that is another one's default names both", () => {
    expect(refusal({ ...least, "service.port": "5432" })).toContain(
      "database.port: 5432 is given for service.port too",
    );
    expect(refusal({ ...least, "service.port": "5431" })).toContain(
      "database.port: 5432 is given for service.port + 1 too",
    );
  });
});

describe("secrets", () => {
  const marker = "hunter2";

  test.each([
    ["host.privateKey", `${marker} is no key`],
    ["host.privateKey", loginKey.private.slice(0, 200)],
    ["host.privateKeyPassphrase", marker],
    ["tls.privateKey", `-----BEGIN PRIVATE KEY-----\n${marker}`],
  ])("in a wrong %s are not repeated in the message", (name, value) => {
    const message = refusal({
      ...least,
      "tls.mode": "provided",
      "tls.certificate": server.certificate,
      "host.privateKey": encryptedLoginKey.private,
      "proxy.port": "wrong too",
      [name]: value,
    });
    expect(message).toContain("proxy.port");
    for (const line of [marker, ...encryptedLoginKey.private.split("\n"), ...value.split("\n")]) {
      expect(line === "" || !message.includes(line)).toBe(true);
    }
  });

  test.each(["host.privateKeyFile", "host.hostKey", "host.hostKeyFile", "host.user"])(
    "are not repeated when a private key was pasted into %s",
    (name) => {
      const message = refusal({
        ...without(least, "host.privateKey", "host.hostKey"),
        [name]: loginKey.private,
      });
      expect(message).toContain(name);
      expect(message).not.toContain(loginKey.private.split("\n")[1]);
    },
  );

  test("make the connection secret as a whole", async () => {
    const { isSecret } = await import("@pulumi/pulumi");
    expect(await isSecret(parse(least).connection)).toBe(true);
  });
});

describe("where the certificate comes from", () => {
  const mode = (raw: Raw) => parse({ ...least, ...raw }).tls.mode;

  test.each(["mlflow.example.org", "a.b", "mlflow.my-lab.de"])(
    "is a public authority for the public domain %s",
    (domain) => expect(mode({ domain })).toBe("acme"),
  );

  test.each(["mlflow", "mlflow.local", "mlflow.lan", "mlflow.internal", "a.home.arpa", "mlflow.example"])(
    "is an authority of the stack's own for %s, which no public one would sign",
    (domain) => expect(mode({ domain })).toBe("selfSigned"),
  );

  test("is an authority of the stack's own for an address or a host's name without a domain", () => {
    expect(mode({})).toBe("selfSigned");
    expect(mode({ "host.address": "vps.example.org" })).toBe("selfSigned");
  });

  test("can not be nowhere without saying so", () => {
    expect(problems(refusal({ ...least, "tls.mode": "none" }))).toEqual([
      expect.stringMatching(/^tls\.mode: none is given, which sends passwords .* tls\.allowPlainHttp: true/),
    ]);
    const plain = parse({ ...least, "tls.mode": "none", "tls.allowPlainHttp": "true" });
    expect([plain.proxyPort, plain.httpPort]).toEqual([80, undefined]);
  });

  test("can not be a public authority without a domain, or without a port where it looks", () => {
    expect(problems(refusal({ ...least, "tls.mode": "acme" }))).toEqual([expect.stringMatching(/domain/)]);
    const closed = { ...least, domain: "mlflow.example.org", "proxy.httpPort": "0" };
    expect(problems(refusal(closed))).toEqual([expect.stringMatching(/^proxy\.httpPort: 0 is given/)]);
  });

  test("leaves port 80 to whoever wants it, when plain HTTP is not sent on", () => {
    expect(parse({ ...least, "proxy.httpPort": "0", "service.port": "8080" }).httpPort).toBeUndefined();
    expect(problems(refusal({ ...least, "proxy.port": "80" }))).toEqual([
      "proxy.httpPort: 80 is given for proxy.port too; allowed is a port of its own",
    ]);
  });
});

describe("a provided certificate", () => {
  test("is secret together with its key", async () => {
    const { isSecret } = await import("@pulumi/pulumi");
    const { tls } = parse(provided);
    expect(tls.mode === "provided" && (await isSecret(tls.pem))).toBe(true);
    expect(tls.mode === "provided" && (await settled(tls.pem))).toBe(
      `${server.key.trim()}\n${server.certificate.trim()}`,
    );
  });

  test.each([
    ["with another key", { "tls.privateKey": otherServer.key }, /^tls\.privateKey: does not belong to/],
    [
      "for another name",
      { domain: "other.example.org" },
      /^tls\.certificate: is for .*example\.org.*; allowed is one for other\.example\.org$/,
    ],
    ["without its key", { "tls.privateKey": "" }, /^tls\.privateKey: nothing is given/],
    ["that is missing", { "tls.certificate": "" }, /^tls\.certificate: nothing is given/],
  ])("%s is refused", (_, change, expected) => {
    expect(problems(refusal({ ...provided, ...change }))).toEqual([expect.stringMatching(expected)]);
  });

  test("that has ended is refused", () => {
    vi.useFakeTimers({ now: Date.now() + 40 * 24 * 3600 * 1000, toFake: ["Date"] });
    try {
      expect(problems(refusal(provided))).toEqual([
        expect.stringMatching(/^tls\.certificate: has ended on /),
      ]);
    } finally {
      vi.useRealTimers();
    }
  });

  test("brings the authority that clients must trust, when that is in the chain", () => {
    const { certificate, key } = makeCertificate("IP:192.0.2.10", 30, true);
    const { tls } = parse({ ...provided, "tls.certificate": certificate, "tls.privateKey": key });
    const [leaf, root] = certificate.split(/(?<=-----END CERTIFICATE-----\n)/);
    expect(tls.mode === "provided" && tls.authority).toBe(root);
    const alone = parse({ ...provided, "tls.certificate": leaf ?? "", "tls.privateKey": key }).tls;
    expect(alone.mode === "provided" && alone.authority).toBeUndefined();
  });
});

describe("users", () => {
  const users = (raw: Raw) => parse({ ...least, users: '["ada","grace.h"]', ...raw }).users;

  test("have a rotation of their own, 1 at first", () => {
    expect(users({ "rotation.users.grace.h": "3" })).toEqual([
      { name: "ada", rotation: 1 },
      { name: "grace.h", rotation: 3 },
    ]);
  });

  test("cannot be rotated when they are not there", () => {
    expect(problems(refusal({ ...least, users: '["ada","grace"]', "rotation.users.bob": "2" }))).toEqual([
      "rotation.users.bob: there is no user 'bob' in users (ada, grace)",
    ]);
  });

  test.each(["0", "1000000", "x", "1.5", "true"])("cannot be rotated to '%s'", (raw) => {
    expect(problems(refusal({ ...least, "rotation.users.mlflow": raw }))).toEqual([
      `rotation.users.mlflow: ${JSON.stringify(raw)} is given; allowed is a whole number from 1 to 999999`,
    ]);
  });
});

describe("keys that were set with --path", () => {
  /** The config with each dotted key nested in an object, as `pulumi config set --path` stores it. */
  function nest(raw: Readonly<Record<string, unknown>>): Raw {
    const nested: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(raw)) {
      const parts = name.split(".");
      let at = nested;
      for (const part of parts.slice(0, -1)) {
        at[part] ??= {};
        at = at[part] as Record<string, unknown>;
      }
      at[parts.at(-1) ?? ""] = value;
    }
    return Object.fromEntries(
      Object.entries(nested).map(([name, value]) => [
        name,
        typeof value === "object" ? JSON.stringify(value) : String(value),
      ]),
    );
  }

  const dotted = { ...least, users: '["ada"]', "proxy.port": "8080", "data.deleteOnDestroy": "true" };

  test("are the same as dotted ones", async () => {
    const { connection: first, ...plain } = parse({
      ...dotted,
      "rotation.users.ada": "2",
      "rotation.database": "4",
    });
    const { connection: second, ...nested } = parse(
      nest({
        ...dotted,
        "proxy.port": 8080,
        "data.deleteOnDestroy": true,
        "rotation.users.ada": 2,
        "rotation.database": 4,
      }),
    );
    expect(nested).toEqual(plain);
    expect(await settled(second)).toEqual(await settled(first));
    expect(plain).toMatchObject({ proxyPort: 8080, deleteData: true, databaseRotation: 4 });
  });

  test("are checked as dotted ones are", () => {
    expect(problems(refusal({ ...least, proxy: '{"port":"none","x":{"y":1}}' }))).toEqual([
      expect.stringMatching(/^proxy\.x\.y: there is no such key/),
      `proxy.port: "none" is given; allowed is ${keys["proxy.port"].allowed}`,
    ]);
  });

  test("are the only ones: the same key with and without --path is refused", () => {
    expect(problems(refusal({ ...least, "proxy.port": "8080", proxy: '{"port":8081}' }))).toEqual([
      "proxy.port: is given twice, with and without --path; remove one with 'pulumi config rm proxy.port'",
    ]);
  });

  test("yield when they are defaults of Pulumi.yaml, which the engine passes on in this form", async () => {
    const config = parse({
      ...least,
      "proxy.port": "8080",
      proxy: '{"port":"auto"}',
      host: '{"hostKey":"","hostKeyFile":"","privateKeyPassphrase":""}',
      domain: "",
    });
    expect(config.proxyPort).toBe(8080);
    expect(config.domain).toBeUndefined();
    expect(await connectionOf(config)).toMatchObject({ hostKey: pinned(hostKey.public) });
    expect(await connectionOf(config)).not.toHaveProperty("privateKeyPassword");
  });
});

describe("files", () => {
  const bare = without(least, "host.privateKey", "host.hostKey");

  test("with ~ are looked for in the home directory, where the default private key is too", async () => {
    vi.stubEnv("HOME", join(directory, "home"));
    const config = parse({ ...bare, "host.hostKeyFile": "~/host_key.pub" });
    expect(await connectionOf(config)).toMatchObject({
      hostKey: pinned(hostKey.public),
      privateKey: `${loginKey.private.trim()}\n`,
    });
  });

  test("with an absolute path are taken from there", async () => {
    const config = parse({
      ...bare,
      "host.hostKeyFile": join(directory, "keys/host_key.pub"),
      "host.privateKeyFile": join(directory, "keys/id_ed25519"),
    });
    expect(await connectionOf(config)).toMatchObject({ hostKey: pinned(hostKey.public) });
  });

  test("with a relative path start where the project is", async () => {
    await expect(
      runProgram({
        ...bare,
        "host.hostKeyFile": "test/unit/missing.pub",
        "host.privateKeyFile": "test/unit/missing",
      }),
    ).rejects.toThrow(join(__dirname, "missing.pub"));
  });

  test("are not read where the key itself is given", async () => {
    const config = parse({
      ...least,
      "host.hostKey": otherHostKey.public,
      "host.hostKeyFile": "keys/missing.pub",
      "host.privateKeyFile": "keys/missing",
    });
    expect(await connectionOf(config)).toMatchObject({ hostKey: pinned(otherHostKey.public) });
  });
});

describe("the private key", () => {
  test("with a passphrase, without being told it, says how to tell", () => {
    const expected = (name: string) => [
      `${name}: the key has a passphrase; set it with 'pulumi config set --secret host.privateKeyPassphrase'`,
    ];
    expect(problems(refusal({ ...least, "host.privateKey": encryptedLoginKey.private }))).toEqual(
      expected("host.privateKey"),
    );
    const inFile = { ...without(least, "host.privateKey"), "host.privateKeyFile": "keys/encrypted" };
    expect(problems(refusal(inFile))).toEqual(expected("host.privateKeyFile"));
  });

  test("with the passphrase is taken, and the passphrase goes with it", async () => {
    const config = parse({
      ...without(least, "host.privateKey"),
      "host.privateKeyFile": "keys/encrypted",
      "host.privateKeyPassphrase": passphrase,
    });
    expect(await connectionOf(config)).toMatchObject({ privateKeyPassword: passphrase });
  });

  test("without a passphrase leaves none in the connection", async () => {
    expect(Object.keys(await connectionOf(parse(least))).sort()).toEqual([
      "host",
      "hostKey",
      "port",
      "privateKey",
      "user",
    ]);
  });

  test("is not the public half of it", () => {
    expect(problems(refusal({ ...least, "host.privateKey": loginKey.public }))).toEqual([
      "host.privateKey: is not a private SSH key in OpenSSH or PEM format",
    ]);
  });
});

describe("values that are well formed and would do harm", () => {
  // Keywords of pg_hba.conf, where the name stands unquoted, and names that PostgreSQL allows no role.
  test.each(["all", "sameuser", "samerole", "samegroup", "replication", "public", "none"])(
    "are refused: a database called '%s'",
    (name) => {
      expect(refusal({ ...least, "database.name": name })).toContain("database.name");
    },
  );

  test("are refused: the database on which migrations are rehearsed", () => {
    const library = readFileSync(join(__dirname, "../../components/step/library/postgres.sh"), "utf8");
    const name = /^readonly scratch_database=(\w+)$/m.exec(library)?.[1] ?? "";
    expect(problems(refusal({ ...least, "database.name": name }))).toEqual([
      expect.stringMatching(
        `^database\\.name: "?${name}"? is given; allowed is a lower-case letter, then up to 62 of `,
      ),
    ]);
  });

  test.each([
    "/var/lib/mlflow/tmp",
    "/var/lib/mlflow/tmp/artifacts",
    "/opt/mlflow/releases",
    "/opt/mlflow/releases/a",
  ])("are refused: artifacts in %s, which destroy removes", (path) => {
    expect(refusal({ ...least, "artifacts.directory": path })).toContain("artifacts.directory");
  });

  test.each(["/var/lib", "/etc/ssl", "/usr/local", "/home/deploy"])(
    "are refused: %s as the artifacts' directory, which would get another owner and mode",
    (path) => {
      expect(refusal({ ...least, "artifacts.directory": path })).toContain("artifacts.directory");
    },
  );

  test("are brought into the form in which a browser names the server", () => {
    expect(parse({ ...least, domain: "MLflow.Example.ORG" }).domain).toBe("mlflow.example.org");
    expect(parse({ ...least, "host.address": "2001:DB8:0:0:0:0:0:A" }).address).toBe("2001:db8::a");
  });
});
