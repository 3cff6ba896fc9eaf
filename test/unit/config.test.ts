import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { check } from "../../components/schema/check";
import { httpPort, proxyPort, tlsMode } from "../../components/schema/derived";
import { flatten } from "../../components/schema/flat";
import {
  type Key,
  keys,
  requiredKeys,
  type Setting,
  schema,
  type Values,
} from "../../components/schema/schema";
import { connectionTo } from "../../components/server/host";
import { settle } from "../../components/server/settings";
import type { Connection } from "../../components/step/ssh";
import { supportedVersions } from "../../components/tracking/release";
import { parseConfig } from "../../config/stackConfig";
import { makeCertificate } from "../certificate";
import { ecdsaHostKey, encryptedLoginKey, hostKey, loginKey, otherHostKey, passphrase, pinned } from "./keys";
import { commandType, passwordType, runProgram, settled } from "./mocks";

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

/** What the server makes of this config: complete with the defaults. */
const parse = (raw: Raw): Values => check(new Map(flatten(parseConfig(raw, directory)))).values;
const connectionOf = (raw: Raw): Promise<Connection> =>
  settled(connectionTo(settle("test", parseConfig(raw, directory)).settings));

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

/** What a key allows, in words. */
const allowed = (name: string): string => (schema[name as Key] as Setting).type.description ?? "";

/** A value of the config as a message shows it: a number, a flag and a list are no text. */
const got = (raw: string): string =>
  /^((0|-?[1-9]\d*)(\.\d+)?|true|false|\[(\d+|["[].*)?\])$/s.test(raw) ? raw : JSON.stringify(raw);

interface Case {
  /** Values as they stand in the stack's config, and what the program makes of them. */
  readonly right: readonly (readonly [raw: string, parsed: unknown])[];
  readonly wrong: readonly string[];
  readonly pick: (values: Values, connection: Connection) => unknown;
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
const path = (raw: string) => new RegExp(`${raw.replace(/[.]/g, "\\.")} cannot be read \\(\\S`);

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
    pick: (values, connection) =>
      connection.host === values["host.address"] ? values["host.address"] : "two addresses",
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
      [`${pinned(hostKey.public)}\n`, pinned(hostKey.public)], // as a provider or a file brings it
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
        ? `host.hostKeyFile: ${raw} must hold ${allowed("host.hostKey")}`
        : path(raw),
  },
  "host.privateKey": {
    right: [[loginKey.private, `${loginKey.private}\n`]],
    wrong: ["hunter2", "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----"],
    pick: (_, { privateKey }) => privateKey,
    message: () => "host.privateKey: must be a private SSH key in OpenSSH or PEM format",
  },
  "host.privateKeyFile": {
    beside: without(least, "host.privateKey"),
    right: [["keys/id_ed25519", `${loginKey.private.trim()}\n`]],
    wrong: ["keys/missing", "keys", "keys/empty"],
    pick: (_, { privateKey }) => privateKey,
    message: (raw) =>
      raw === "keys/empty"
        ? "host.privateKeyFile: must be a private SSH key in OpenSSH or PEM format"
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
    pick: ({ users }) => users,
  },
  "mlflow.version": {
    right: supportedVersions().map((version) => [version, version]),
    wrong: ["2.0.0", "latest", "3.17", "v3.17.2", "3.17.2.txt", "../3.17.2", "3"],
    pick: (values) => values["mlflow.version"],
  },
  "service.workers": {
    right: [...wholeNumber(1, 16).right, ["auto", "auto"]],
    wrong: [...wholeNumber(1, 16).wrong, "Auto"],
    pick: (values) => values["service.workers"],
  },
  "service.jobs": {
    right: [
      ["true", true],
      ["false", false],
      ["auto", "auto"],
    ],
    wrong: ["yes", "1", "True", "null", '["true"]'],
    pick: (values) => values["service.jobs"],
  },
  "service.port": { ...wholeNumber(1024, 65535), pick: (values) => values["service.port"] },
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
    pick: tlsMode,
  },
  "tls.allowPlainHttp": {
    // That it allows plain HTTP is told below.
    right: yesOrNo.right.map(([raw]) => [raw, "selfSigned"] as const),
    wrong: yesOrNo.wrong,
    pick: tlsMode,
  },
  "tls.email": {
    beside: { ...least, domain: "mlflow.example.org" },
    right: [["ada@example.org", "ada@example.org"]],
    wrong: ["ada", "ada@example", "@example.org", "a b@example.org"],
    pick: (values) => values["tls.email"],
  },
  "tls.acmeDirectory": {
    beside: { ...least, domain: "mlflow.example.org" },
    right: ["https://acme.example.org/directory", "https://192.0.2.1:14000/dir"].map((it) => [it, it]),
    wrong: ["http://acme.example.org/directory", "acme.example.org", "https://a b/", "https://a/$(id)"],
    pick: (values) => values["tls.acmeDirectory"],
  },
  "tls.certificate": {
    beside: provided,
    right: [[server.certificate, "provided"]],
    wrong: ["hunter2", "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----"],
    pick: tlsMode,
    message: () => "tls.certificate: must be a certificate in PEM, followed by the chain to its authority",
  },
  "tls.certificateFile": {
    beside: without(provided, "tls.certificate"),
    right: [["keys/server.crt", "provided"]],
    wrong: ["keys/missing.crt", "keys"],
    pick: tlsMode,
    message: path,
  },
  "tls.privateKey": {
    beside: provided,
    right: [[server.key, "provided"]],
    wrong: ["hunter2", "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----"],
    pick: tlsMode,
    message: () => "tls.privateKey: must be the certificate's private key in PEM, without a passphrase",
  },
  "tls.privateKeyFile": {
    beside: without(provided, "tls.privateKey"),
    right: [["keys/server.key", "provided"]],
    wrong: ["keys/missing.key", "keys"],
    pick: tlsMode,
    message: path,
  },
  "proxy.port": {
    ...wholeNumber(1, 65535),
    right: [...wholeNumber(1, 65535).right, ["auto", 443]],
    pick: proxyPort,
  },
  "proxy.httpPort": {
    ...wholeNumber(0, 65535),
    right: [
      ["65535", 65535],
      ["80", 80],
      ["0", undefined],
    ],
    pick: httpPort,
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
    pick: (values) => values["database.name"],
  },
  "database.port": { ...wholeNumber(1024, 65535), pick: (values) => values["database.port"] },
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
    pick: (values) => values["artifacts.directory"],
  },
  "data.deleteOnDestroy": { ...yesOrNo, pick: (values) => values["data.deleteOnDestroy"] },
  "updates.automatic": { ...yesOrNo, pick: (values) => values["updates.automatic"] },
  "updates.time": {
    right: ["00:00", "04:00", "09:59", "19:30", "23:59"].map((it) => [it, it]),
    wrong: ["4:00", "24:00", "04:60", "04", "0400", "04:00:00", "4am", "240", "*:00", "04:00 UTC", "04:00\n"],
    pick: (values) => values["updates.time"],
  },
  firewall: {
    right: [
      ["true", true],
      ["false", false],
    ],
    wrong: ["yes", "on", "1", "TRUE", "[]"],
    pick: ({ firewall }) => firewall,
  },
  "rotation.database": { ...wholeNumber(1, 999_999), pick: (values) => values["rotation.database"] },
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
    expect([...Object.keys(table), "rotation.users.<name>"].sort()).toEqual([...keys].sort());
    for (const { right, wrong } of Object.values(table)) {
      expect(right.length).toBeGreaterThan(0);
      expect(wrong.length).toBeGreaterThan(0);
    }
  });

  test.each(cases("right"))("$name takes $shown", async ({ name, raw, parsed, it }) => {
    const config = { ...(it.beside ?? least), [name]: raw };
    expect(it.pick(parse(config), await connectionOf(config))).toEqual(parsed);
  });

  test.each(cases("wrong"))("$name refuses $shown, and says what is allowed", ({ name, raw, it }) => {
    const message = refusal({ ...(it.beside ?? least), [name]: raw });
    const expected = it.message?.(raw) ?? `${name}: must be ${allowed(name)} (got ${got(raw)})`;
    expect(problems(message)).toEqual([
      typeof expected === "string" ? expected : expect.stringMatching(expected),
    ]);
    expect(allowed(name)).not.toBe("");
  });

  test.each(Object.entries(table))(
    "%s, when empty, is as if it were left out",
    (name, { beside = least }) => {
      const result = (raw: Raw) => {
        try {
          return parse(raw);
        } catch (error) {
          return (error as Error).message;
        }
      };
      vi.stubEnv("HOME", join(directory, "home"));
      expect(result({ ...beside, [name]: "" })).toEqual(result(without(beside, name)));
    },
  );

  test("that is left out has its default", async () => {
    const values = parse(least);
    expect({ ...values, "host.hostKey": "", "host.privateKey": "" }).toEqual({
      "host.address": "192.0.2.10",
      "host.port": 22,
      "host.user": "deploy",
      "host.hostKey": "",
      "host.privateKey": "",
      "host.privateKeyFile": "~/.ssh/id_ed25519",
      users: ["mlflow"],
      "mlflow.version": "3.17.2",
      "service.workers": "auto",
      "service.jobs": "auto",
      "service.port": 5000,
      "tls.mode": "auto",
      "tls.allowPlainHttp": false,
      "tls.acmeDirectory": "https://acme-v02.api.letsencrypt.org/directory",
      "proxy.port": "auto",
      "proxy.httpPort": 80,
      "database.name": "mlflow",
      "database.port": 5432,
      "artifacts.directory": "/var/lib/mlflow/artifacts",
      "data.deleteOnDestroy": false,
      "updates.automatic": true,
      "updates.time": "04:00",
      firewall: false,
      "rotation.database": 1,
      "rotation.users.<name>": {},
    });
    expect([tlsMode(values), proxyPort(values), httpPort(values)]).toEqual(["selfSigned", 443, 80]);
    expect(await connectionOf(least)).toMatchObject({ port: 22 });
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
      new RegExp(`^the configuration has ${expected.length} wrong values, nothing was changed:\n`),
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
      requiredKeys.map((name) => `${name}: is required: ${allowed(name)}`).sort(),
    );
  });

  test("with a key that does not exist names those that do", () => {
    const [line, ...more] = problems(refusal({ ...least, "proxy.prot": "80" }));
    expect(line).toMatch(/^proxy\.prot: no such key; the keys are /);
    for (const name of keys) {
      expect(line).toContain(name);
    }
    expect(more).toEqual([]);
  });

  test.each(["toString", "constructor", "host", "rotation", "rotation.user.ada", "Domain"])(
    "with the key '%s' is refused, because there is no such key",
    (name) => {
      expect(problems(refusal({ ...least, [name]: "x" }))).toEqual([
        expect.stringMatching(`^${name}: no such key`),
      ]);
    },
  );

  test("with a version of MLflow that has no lock lists those that have one", () => {
    expect(refusal({ ...least, "mlflow.version": "3.18.0" })).toContain(
      `mlflow.version: must be one of ${supportedVersions().join(", ")} (got "3.18.0")`,
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
    expect(problems(message)).toEqual([`${one}: must be another port than ${other} (got ${port} for both)`]);
  });

  test("with a port that is another one's default names both", () => {
    expect(refusal({ ...least, "service.port": "5432" })).toContain(
      "database.port: must be another port than service.port (got 5432 for both)",
    );
    expect(refusal({ ...least, "service.port": "5431" })).toContain(
      "database.port: must be another port than service.port + 1 (got 5432 for both)",
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
    expect(await isSecret(connectionTo(settle("test", parseConfig(least, directory)).settings))).toBe(true);
  });
});

describe("where the certificate comes from", () => {
  const mode = (raw: Raw) => tlsMode(parse({ ...least, ...raw }));

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

  test("cannot be nowhere without saying so", () => {
    expect(problems(refusal({ ...least, "tls.mode": "none" }))).toEqual([
      expect.stringMatching(/^tls\.mode: none sends passwords .* set tls\.allowPlainHttp to true/),
    ]);
    const plain = parse({ ...least, "tls.mode": "none", "tls.allowPlainHttp": "true" });
    expect([proxyPort(plain), httpPort(plain)]).toEqual([80, undefined]);
  });

  test("cannot be a public authority without a domain, or without a port where it looks", () => {
    expect(problems(refusal({ ...least, "tls.mode": "acme" }))).toEqual([expect.stringMatching(/domain/)]);
    const closed = { ...least, domain: "mlflow.example.org", "proxy.httpPort": "0" };
    expect(problems(refusal(closed))).toEqual([
      expect.stringMatching(/^proxy\.httpPort: must be a port \(got 0\)/),
    ]);
  });

  test("leaves port 80 to whoever wants it, when plain HTTP is not redirected", () => {
    expect(httpPort(parse({ ...least, "proxy.httpPort": "0", "service.port": "8080" }))).toBeUndefined();
    expect(problems(refusal({ ...least, "proxy.port": "80" }))).toEqual([
      "proxy.httpPort: must be another port than proxy.port (got 80 for both)",
    ]);
  });
});

describe("a provided certificate", () => {
  test("is secret together with its key", async () => {
    const run = await runProgram(provided);
    const { inputs, secrets } = run.find(commandType, "mlflow-certificate-command");
    expect(inputs.stdin).toContain(`declare -r pem='${server.key.trim()}\n${server.certificate.trim()}'\n`);
    expect(secrets).toContain("stdin");
  });

  test.each([
    ["with another key", { "tls.privateKey": otherServer.key }, /^tls\.privateKey: does not belong to/],
    [
      "for another name",
      { domain: "other.example.org" },
      /^tls\.certificate: must be for other\.example\.org \(got one for .*mlflow\.example\.org.*\)$/,
    ],
    ["without its key", { "tls.privateKey": "" }, /^tls\.privateKey: is required with tls\.mode provided: /],
    [
      "that is missing",
      { "tls.certificate": "" },
      /^tls\.certificate: is required with tls\.mode provided: /,
    ],
  ])("%s is refused", (_, change, expected) => {
    expect(problems(refusal({ ...provided, ...change }))).toEqual([expect.stringMatching(expected)]);
  });

  test("that has expired is refused", () => {
    vi.useFakeTimers({ now: Date.now() + 40 * 24 * 3600 * 1000, toFake: ["Date"] });
    try {
      expect(problems(refusal(provided))).toEqual([expect.stringMatching(/^tls\.certificate: expired on /)]);
    } finally {
      vi.useRealTimers();
    }
  });

  test("brings the authority that clients must trust, when that is in the chain", async () => {
    const { certificate, key } = makeCertificate("IP:192.0.2.10", 30, true);
    const trusted = async (chain: string) => {
      const run = await runProgram({ ...provided, "tls.certificate": chain, "tls.privateKey": key });
      return run.outputs.caCertificate?.value;
    };
    const [leaf = "", root] = certificate.split(/(?<=-----END CERTIFICATE-----\n)/);
    expect(await trusted(certificate)).toBe(root);
    expect(await trusted(leaf)).toBe("");
  });
});

describe("users", () => {
  test("have a rotation of their own, 1 at first", async () => {
    const run = await runProgram({
      ...least,
      users: '["ada","grace.h"]',
      "rotation.users.grace.h": "3",
    });
    const rotations = ["ada", "grace.h"].map(
      (user) => run.find(passwordType, `mlflow-user-${user}`).inputs.keepers,
    );
    expect(rotations).toEqual([{ rotation: "1" }, { rotation: "3" }]);
  });

  test("cannot be rotated when they are not there", () => {
    expect(problems(refusal({ ...least, users: '["ada","grace"]', "rotation.users.bob": "2" }))).toEqual([
      "rotation.users.bob: there is no user 'bob' in users (ada, grace)",
    ]);
  });

  test.each(["0", "1000000", "x", "1.5", "true"])("cannot be rotated to '%s'", (raw) => {
    expect(problems(refusal({ ...least, "rotation.users.mlflow": raw }))).toEqual([
      `rotation.users.mlflow: must be a whole number from 1 to 999999 (got ${got(raw)})`,
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
    const plain = parse({ ...dotted, "rotation.users.ada": "2", "rotation.database": "4" });
    const typed = nest({
      ...dotted,
      "proxy.port": 8080,
      "data.deleteOnDestroy": true,
      "rotation.users.ada": 2,
      "rotation.database": 4,
    });
    const nested = parse(typed);
    expect(nested).toEqual(plain);
    expect(await connectionOf(typed)).toEqual(await connectionOf(dotted));
    expect([plain["proxy.port"], plain["data.deleteOnDestroy"], plain["rotation.database"]]).toEqual([
      8080,
      true,
      4,
    ]);
  });

  test("are checked as dotted ones are", () => {
    expect(problems(refusal({ ...least, proxy: '{"port":"none","x":{"y":1}}' }))).toEqual([
      expect.stringMatching(/^proxy\.x\.y: no such key/),
      `proxy.port: must be ${allowed("proxy.port")} (got "none")`,
    ]);
  });

  test("are the only ones: the same key with and without --path is refused", () => {
    expect(problems(refusal({ ...least, "proxy.port": "8080", proxy: '{"port":8081}' }))).toEqual([
      "proxy.port: is set twice, with and without --path; remove one with 'pulumi config rm proxy.port'",
    ]);
  });

  test("yield when they are defaults of Pulumi.yaml, which the engine passes on in this form", async () => {
    const config = {
      ...least,
      "proxy.port": "8080",
      proxy: '{"port":"auto"}',
      host: '{"hostKey":"","hostKeyFile":"","privateKeyPassphrase":""}',
      domain: "",
    };
    expect(parse(config)["proxy.port"]).toBe(8080);
    expect(parse(config).domain).toBeUndefined();
    expect(await connectionOf(config)).toMatchObject({ hostKey: pinned(hostKey.public) });
    expect(await connectionOf(config)).not.toHaveProperty("privateKeyPassword");
  });
});

describe("files", () => {
  const bare = without(least, "host.privateKey", "host.hostKey");

  test("with ~ are looked for in the home directory, where the default private key is too", async () => {
    vi.stubEnv("HOME", join(directory, "home"));
    const config = { ...bare, "host.hostKeyFile": "~/host_key.pub" };
    expect(await connectionOf(config)).toMatchObject({
      hostKey: pinned(hostKey.public),
      privateKey: `${loginKey.private.trim()}\n`,
    });
  });

  test("with an absolute path are taken from there", async () => {
    const config = {
      ...bare,
      "host.hostKeyFile": join(directory, "keys/host_key.pub"),
      "host.privateKeyFile": join(directory, "keys/id_ed25519"),
    };
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
    const config = {
      ...least,
      "host.hostKey": otherHostKey.public,
      "host.hostKeyFile": "keys/missing.pub",
      "host.privateKeyFile": "keys/missing",
    };
    expect(await connectionOf(config)).toMatchObject({ hostKey: pinned(otherHostKey.public) });
  });
});

describe("the private key", () => {
  test("with a passphrase, without being told it, says how to tell", () => {
    const expected = (name: string) => [
      `${name}: the key has a passphrase: set host.privateKeyPassphrase ('pulumi config set --path --secret host.privateKeyPassphrase')`,
    ];
    expect(problems(refusal({ ...least, "host.privateKey": encryptedLoginKey.private }))).toEqual(
      expected("host.privateKey"),
    );
    const inFile = { ...without(least, "host.privateKey"), "host.privateKeyFile": "keys/encrypted" };
    expect(problems(refusal(inFile))).toEqual(expected("host.privateKeyFile"));
  });

  test("with the passphrase is taken, and the passphrase goes with it", async () => {
    const config = {
      ...without(least, "host.privateKey"),
      "host.privateKeyFile": "keys/encrypted",
      "host.privateKeyPassphrase": passphrase,
    };
    expect(await connectionOf(config)).toMatchObject({ privateKeyPassword: passphrase });
  });

  test("without a passphrase leaves none in the connection", async () => {
    expect(Object.keys(await connectionOf(least)).sort()).toEqual([
      "host",
      "hostKey",
      "port",
      "privateKey",
      "user",
    ]);
  });

  test("is not the public half of it", () => {
    expect(problems(refusal({ ...least, "host.privateKey": loginKey.public }))).toEqual([
      "host.privateKey: must be a private SSH key in OpenSSH or PEM format",
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
    const library = readFileSync(join(__dirname, "../../components/step/library/scratch.sh"), "utf8");
    const name = /^readonly scratch_database=(\w+)$/m.exec(library)?.[1] ?? "";
    expect(problems(refusal({ ...least, "database.name": name }))).toEqual([
      expect.stringMatching(
        `^database\\.name: must be a lower-case letter, then up to 62 of .* \\(got "${name}"\\)$`,
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
    expect(parse({ ...least, "host.address": "2001:DB8:0:0:0:0:0:A" })["host.address"]).toBe("2001:db8::a");
  });
});
