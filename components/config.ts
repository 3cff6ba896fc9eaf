import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP, isIPv6 } from "node:net";
import { homedir } from "node:os";
import { resolve } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { utils } from "ssh2";
import { supportedVersions } from "./runtime/runtime";
import type { Connection } from "./step/ssh";

/** What the program is told, checked and complete. See the table of config keys in the README. */
export interface Config {
  readonly connection: pulumi.Output<Connection>;
  readonly address: string;
  readonly domain?: string;
  readonly tls: Tls;
  readonly users: readonly { readonly name: string; readonly rotation: number }[];
  readonly mlflowVersion: string;
  readonly workers: number | "auto";
  readonly jobs: boolean | "auto";
  readonly servicePort: number;
  readonly proxyPort: number;
  /** Where plain HTTP is sent on to HTTPS; nothing where it is not. */
  readonly httpPort?: number;
  readonly databaseName: string;
  readonly databasePort: number;
  readonly databaseRotation: number;
  readonly artifactsDirectory: string;
  readonly deleteData: boolean;
  readonly automaticUpdates: boolean;
  readonly updatesTime: string;
  readonly firewall: boolean;
}

/** Where the server's certificate comes from. */
export type Tls =
  | { readonly mode: "selfSigned" }
  | {
      readonly mode: "acme";
      /** The public name that the certificate is for. */
      readonly domain: string;
      readonly email?: string;
      readonly directory: string;
    }
  | {
      readonly mode: "provided";
      /** Private key and certificate chain in PEM. */
      readonly pem: pulumi.Output<string>;
      /** The certificate that a client must trust, where the chain holds it. */
      readonly authority?: string;
    }
  | { readonly mode: "none" };

const tlsModes = ["auto", "selfSigned", "acme", "provided", "none"] as const;
type TlsMode = (typeof tlsModes)[number];

/** One config key: the type that a value must have, and which values are allowed. */
export interface Key<T> {
  /** Turns a value as it stands in the stack's config into its type; undefined when it has another type. */
  readonly parse: (raw: string) => T | undefined;
  /** In words, for the message about a wrong value. */
  readonly allowed: string;
  readonly accepts?: (value: T) => boolean;
  readonly fallback?: T;
}

/** The value, or undefined when the key does not allow it. */
export function parseValue<T>(key: Key<T>, raw: string): T | undefined {
  const value = key.parse(raw);
  return value !== undefined && key.accepts?.(value) !== false ? value : undefined;
}

export function refusal<T>(name: string, key: Key<T>, shown: string): string {
  return `${name}: ${shown} is given; allowed is ${key.allowed}`;
}

const text = (key: Omit<Key<string>, "parse">): Key<string> => ({ parse: (raw) => raw, ...key });
const integer = (lowest: number, highest: number, fallback?: number): Key<number> => ({
  parse: (raw) => (/^-?\d{1,9}$/.test(raw) ? Number(raw) : undefined),
  allowed: `a whole number from ${lowest} to ${highest}`,
  accepts: (value) => value >= lowest && value <= highest,
  fallback,
});
const flag = (fallback: boolean): Key<boolean> => ({
  parse: (raw) => (raw === "true" || raw === "false" ? raw === "true" : undefined),
  allowed: "true or false",
  fallback,
});
const orAuto = <T>(meaning: string, key: Key<T>): Key<T | "auto"> => ({
  parse: (raw) => (raw === "auto" ? raw : key.parse(raw)),
  allowed: `auto (${meaning}), or ${key.allowed}`,
  accepts: (value) => value === "auto" || key.accepts?.(value) !== false,
  fallback: "auto",
});
const byMemory = "by the host's memory";

const label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
const hostName = new RegExp(`^(?=.{1,253}$)${label}(\\.${label})*$`);
/** Users and databases of PostgreSQL's own, keywords of its pg_hba.conf, and the copy on which migrations are rehearsed. */
const reservedNames =
  /^(postgres|template[01]|pg_.*|all|none|public|replication|same(user|role|group)|mlflow_vps_rehearsal)$/;
const userName = /^[a-z][a-z0-9._-]{0,31}$/;

/** Every key that stands on its own; `rotation.users.<name>` comes on top. */
export const keys = {
  "host.address": text({
    allowed: "an IPv4 or IPv6 address or a host name",
    accepts: (value) => (isIP(value) !== 0 && !value.includes("%")) || isHostName(value),
  }),
  "host.port": integer(1, 65535, 22),
  "host.user": text({
    allowed: "a login name of lower-case letters, digits, '-' and '_'",
    accepts: (value) => /^[a-z_][a-z0-9_-]{0,31}$/.test(value),
  }),
  "host.hostKey": text({
    allowed: "one line 'ssh-ed25519 AAAA…' or 'ecdsa-sha2-nistp256 AAAA…' ('npm run configure' writes it)",
    accepts: isHostKey,
  }),
  "host.hostKeyFile": text({ allowed: "the path of a readable file that holds one such line" }),
  "host.privateKey": text({ allowed: "a private SSH key in OpenSSH or PEM format" }),
  "host.privateKeyFile": text({
    allowed: "the path of a readable private SSH key",
    fallback: "~/.ssh/id_ed25519",
  }),
  "host.privateKeyPassphrase": text({ allowed: "the passphrase of the private key" }),
  domain: text({ allowed: "a host name that leads to the server", accepts: isHostName }),
  users: {
    parse: parseList,
    allowed:
      "a list of one or more different names, each of a lower-case letter, then up to 31 of a-z 0-9 . _ -",
    accepts: (value: readonly string[]) =>
      value.length > 0 && value.every((name) => userName.test(name)) && new Set(value).size === value.length,
    fallback: ["mlflow"],
  } as Key<readonly string[]>,
  "mlflow.version": text({
    allowed: `one of ${supportedVersions().join(", ")}`,
    accepts: (value) => supportedVersions().includes(value),
    fallback: "3.17.2",
  }),
  "service.workers": orAuto(byMemory, integer(1, 16)),
  "service.jobs": orAuto(byMemory, flag(false)),
  "service.port": integer(1024, 65535, 5000),
  "tls.mode": {
    parse: (raw: string) => tlsModes.find((mode) => mode === raw),
    allowed: `one of ${tlsModes.join(", ")}`,
    fallback: "auto",
  } as Key<TlsMode>,
  "tls.allowPlainHttp": flag(false),
  "tls.email": text({
    allowed: "a mail address",
    accepts: (value) => /^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(value),
  }),
  "tls.acmeDirectory": text({
    allowed: "the https:// URL of an ACME directory",
    accepts: (value) => /^https:\/\/[\w.:[\]-]+(\/[\w./-]*)?$/.test(value),
    fallback: "https://acme-v02.api.letsencrypt.org/directory",
  }),
  "tls.certificate": text({ allowed: "a certificate in PEM, the chain to its authority after it" }),
  "tls.certificateFile": text({ allowed: "the path of a readable file that holds one" }),
  "tls.privateKey": text({ allowed: "the certificate's private key in PEM, without a passphrase" }),
  "tls.privateKeyFile": text({ allowed: "the path of a readable file that holds it" }),
  "proxy.port": orAuto("443, or 80 without TLS", integer(1, 65535)),
  "proxy.httpPort": integer(0, 65535, 80),
  "database.name": text({
    // Nothing is appended to it, so it may have PostgreSQL's 63 bytes.
    allowed:
      "a lower-case letter, then up to 62 of a-z 0-9 _, and no name that means something to PostgreSQL or is used for rehearsals (mlflow_vps_rehearsal)",
    accepts: (value) => /^[a-z][a-z0-9_]{0,62}$/.test(value) && !reservedNames.test(value),
    fallback: "mlflow",
  }),
  "database.port": integer(1024, 65535, 5432),
  "artifacts.directory": text({
    allowed:
      "a directory of its own below /srv, /mnt, /media, /data or /var/lib/mlflow (but not its tmp), without spaces",
    accepts: (value) =>
      /^\/(srv|mnt|media|data|var\/lib\/mlflow)(\/\w[\w.-]*)+$/.test(value) &&
      !/^\/var\/lib\/mlflow\/tmp(\/|$)/.test(value),
    fallback: "/var/lib/mlflow/artifacts",
  }),
  "data.deleteOnDestroy": flag(false),
  "updates.automatic": flag(true),
  "updates.time": text({
    allowed: "a time of the day as HH:MM, 00:00 to 23:59",
    accepts: (value) => /^([01]\d|2[0-3]):[0-5]\d$/.test(value),
    fallback: "04:00",
  }),
  firewall: flag(false),
  "rotation.database": integer(1, 999_999, 1),
} satisfies Record<
  string,
  | Key<string>
  | Key<number>
  | Key<boolean>
  | Key<number | "auto">
  | Key<boolean | "auto">
  | Key<readonly string[]>
  | Key<TlsMode>
>;

/** The keys without which nothing can be done; `pulumi new` asks for them. */
export const required = ["host.address", "host.user", "host.hostKey"] as const;

const userRotation = "rotation.users.";
const userRotationKey = integer(1, 999_999, 1);

/**
 * Checks the stack's config.
 *
 * @param raw config values of this project by key, as the engine gives them: text, or JSON for lists and objects
 * @param directory where relative paths start
 * @throws one error that lists every wrong value: its key, what was given, what is allowed
 */
export function parseConfig(raw: Readonly<Record<string, string>>, directory: string): Config {
  const problems: string[] = [];
  const given = flatten(raw, problems);

  const read = <T>(name: string, key: Key<T>): T | undefined => {
    const value = given.get(name);
    if (value === undefined) {
      return key.fallback;
    }
    const parsed = parseValue(key, value);
    if (parsed === undefined) {
      problems.push(refusal(name, key, shown(name, value)));
    }
    return parsed ?? key.fallback;
  };
  const demand = <T>(name: string, key: Key<T>, substitute: T): T => {
    if (!given.has(name) && key.fallback === undefined) {
      problems.push(`${name}: nothing is given; needed is ${key.allowed}`);
    }
    return read(name, key) ?? substitute;
  };
  const readFile = (name: string, path: string): string | undefined => {
    try {
      return readFileSync(expandPath(path, directory), "utf8").trim();
    } catch (error) {
      problems.push(
        path.includes("PRIVATE KEY")
          ? `${name}: is given a key; allowed is the path of a file that holds it`
          : `${name}: ${path} can not be read (${(error as Error).message})`,
      );
      return undefined;
    }
  };

  for (const name of given.keys()) {
    if (!Object.hasOwn(keys, name) && !name.startsWith(userRotation)) {
      problems.push(
        `${name}: there is no such key; there are ${Object.keys(keys).join(", ")}, ${userRotation}<name>`,
      );
    }
  }

  const address = demand("host.address", keys["host.address"], "");
  const hostKeyFile = read("host.hostKeyFile", keys["host.hostKeyFile"]);
  let hostKey: string | undefined;
  if (hostKeyFile !== undefined && !given.has("host.hostKey")) {
    hostKey = readFile("host.hostKeyFile", hostKeyFile);
    if (hostKey !== undefined && !isHostKey(hostKey)) {
      problems.push(`host.hostKeyFile: ${hostKeyFile} does not hold ${keys["host.hostKey"].allowed}`);
    }
  } else {
    hostKey = demand("host.hostKey", keys["host.hostKey"], "");
  }

  const readTls = (domain: string | undefined, address: string): Tls => {
    const name = domain ?? address;
    const given = read("tls.mode", keys["tls.mode"]);
    const mode =
      given === "auto" ? (domain !== undefined && isPublic(domain) ? "acme" : "selfSigned") : given;
    // Read in every mode, so that a wrong value never hides.
    const allowPlainHttp = read("tls.allowPlainHttp", keys["tls.allowPlainHttp"]);
    const email = read("tls.email", keys["tls.email"]);
    const directory = read("tls.acmeDirectory", keys["tls.acmeDirectory"]) ?? "";
    switch (mode) {
      case "acme":
        if (!isHostName(name)) {
          problems.push(
            `tls.mode: acme is given without a domain; allowed is a domain with it, or another mode`,
          );
        }
        if (read("proxy.httpPort", keys["proxy.httpPort"]) === 0) {
          problems.push(
            "proxy.httpPort: 0 is given; allowed is a port, where the certificate authority looks (tls.mode acme)",
          );
        }
        return { mode, domain: name, email, directory };
      case "provided":
        return { mode, ...readProvided(name) };
      case "none":
        if (!allowPlainHttp) {
          problems.push(
            "tls.mode: none is given, which sends passwords over the network readable; allowed is that with tls.allowPlainHttp: true only",
          );
        }
        return { mode };
      default:
        return { mode: "selfSigned" };
    }
  };
  const readPem = (name: "tls.certificate" | "tls.privateKey"): string => {
    const path = read(`${name}File`, keys[`${name}File`]);
    if (!given.has(name) && path !== undefined) {
      return readFile(`${name}File`, path) ?? "";
    }
    return demand(name, keys[name], "");
  };
  const readProvided = (name: string) => {
    const certificate = readPem("tls.certificate").trim();
    const key = readPem("tls.privateKey").trim();
    if (certificate !== "" && key !== "") {
      problems.push(...providedProblems(name, certificate, key));
    }
    return { pem: pulumi.secret(`${key}\n${certificate}`), authority: ownAuthority(certificate) };
  };

  const privateKeyFile = demand("host.privateKeyFile", keys["host.privateKeyFile"], "");
  const keySource = given.has("host.privateKey") ? "host.privateKey" : "host.privateKeyFile";
  const privateKey = given.get("host.privateKey") ?? readFile("host.privateKeyFile", privateKeyFile);
  const privateKeyPassword = read("host.privateKeyPassphrase", keys["host.privateKeyPassphrase"]);
  if (privateKey !== undefined) {
    const parsed = utils.parseKey(privateKey, privateKeyPassword);
    if (parsed instanceof Error || !parsed.isPrivateKey()) {
      problems.push(
        parsed instanceof Error && /encrypted|passphrase/i.test(parsed.message)
          ? `${keySource}: the key has ${privateKeyPassword === undefined ? "a" : "another"} passphrase; set it with 'pulumi config set --secret host.privateKeyPassphrase'`
          : `${keySource}: is not ${keys["host.privateKey"].allowed}`,
      );
    }
  }

  const users = demand("users", keys.users, []);
  const rotations = new Map<string, number>();
  for (const name of given.keys()) {
    if (name.startsWith(userRotation)) {
      const user = name.slice(userRotation.length);
      const rotation = read(name, userRotationKey);
      if (!users.includes(user)) {
        problems.push(`${name}: there is no user '${user}' in users (${users.join(", ")})`);
      }
      rotations.set(user, rotation ?? 1);
    }
  }

  const canonicalAddress = canonical(address);
  const domain = read("domain", keys.domain)?.toLowerCase();
  const tls = readTls(domain, canonicalAddress);

  const proxyPort = demand("proxy.port", keys["proxy.port"], "auto");
  const httpPort = demand("proxy.httpPort", keys["proxy.httpPort"], 0);
  const ports = {
    "proxy.port": proxyPort === "auto" ? (tls.mode === "none" ? 80 : 443) : proxyPort,
    ...(tls.mode === "none" || httpPort === 0 ? {} : { "proxy.httpPort": httpPort }),
    "service.port": demand("service.port", keys["service.port"], 0),
    "database.port": demand("database.port", keys["database.port"], 0),
    "host.port": demand("host.port", keys["host.port"], 0),
  };
  // The service has two ports: a changed one starts beside the one that it follows.
  const taken = { ...ports, "service.port + 1": ports["service.port"] + 1 };
  for (const [name, port] of Object.entries(taken)) {
    const other = Object.entries(taken).find(([key, value]) => value === port && key !== name);
    if (other !== undefined && name < other[0]) {
      problems.push(`${name}: ${port} is given for ${other[0]} too; allowed is a port of its own`);
    }
  }

  const config: Omit<Config, "connection"> = {
    address: canonicalAddress,
    domain,
    tls,
    users: users.map((name) => ({ name, rotation: rotations.get(name) ?? 1 })),
    mlflowVersion: demand("mlflow.version", keys["mlflow.version"], ""),
    workers: demand("service.workers", keys["service.workers"], "auto"),
    jobs: demand("service.jobs", keys["service.jobs"], "auto"),
    servicePort: ports["service.port"],
    proxyPort: ports["proxy.port"],
    httpPort: ports["proxy.httpPort"],
    databaseName: demand("database.name", keys["database.name"], ""),
    databasePort: ports["database.port"],
    databaseRotation: demand("rotation.database", keys["rotation.database"], 1),
    artifactsDirectory: demand("artifacts.directory", keys["artifacts.directory"], ""),
    deleteData: demand("data.deleteOnDestroy", keys["data.deleteOnDestroy"], false),
    automaticUpdates: demand("updates.automatic", keys["updates.automatic"], true),
    updatesTime: demand("updates.time", keys["updates.time"], ""),
    firewall: demand("firewall", keys.firewall, false),
  };
  const user = demand("host.user", keys["host.user"], "");

  if (problems.length > 0) {
    throw new pulumi.RunError(
      `the configuration has ${problems.length === 1 ? "a wrong value" : `${problems.length} wrong values`}, nothing was touched:\n` +
        problems.map((problem) => `  - ${problem}`).join("\n"),
    );
  }
  return {
    ...config,
    connection: pulumi.secret({
      host: config.address,
      port: ports["host.port"],
      user,
      // A key read from a file may end without a newline, which OpenSSH's format demands.
      privateKey: `${privateKey ?? ""}\n`,
      ...(privateKeyPassword === undefined ? {} : { privateKeyPassword }),
      hostKey: (hostKey ?? "").split(/\s+/).slice(0, 2).join(" "),
    }),
  };
}

/** Reads the config of the stack that is being deployed. */
export function readConfig(): Config {
  const prefix = `${pulumi.getProject()}:`;
  const own = Object.entries(pulumi.runtime.allConfig())
    .filter(([key]) => key.startsWith(prefix))
    .map(([key, value]) => [key.slice(prefix.length), value] as const);
  return parseConfig(Object.fromEntries(own), resolve(__dirname, ".."));
}

/** A path as people write it: relative to a directory, or below the home directory with `~/`. */
export function expandPath(path: string, directory: string): string {
  return resolve(directory, path.replace(/^~(?=\/)/, homedir()));
}

const secretKeys = new Set(["host.privateKey", "host.privateKeyPassphrase", "tls.privateKey"]);

/** A value for a message, unless it is a secret, or a private key in the wrong place. */
function shown(name: string, value: string): string {
  return secretKeys.has(name) || value.includes("PRIVATE KEY") ? "[secret]" : JSON.stringify(value);
}

/** Names for which no public authority gives certificates. Source: IANA's special-use domain names, RFC 6762. */
const privateNames =
  /(^|\.)(local|localhost|internal|intranet|private|corp|home|lan|test|example|invalid|onion|home\.arpa)$/;

function isPublic(name: string): boolean {
  return name.includes(".") && !privateNames.test(name);
}

/** What keeps clients from accepting a provided certificate. */
function providedProblems(name: string, certificate: string, key: string): string[] {
  let parsed: X509Certificate;
  try {
    parsed = new X509Certificate(certificate);
  } catch {
    return [`tls.certificate: is not ${keys["tls.certificate"].allowed}`];
  }
  try {
    if (!parsed.checkPrivateKey(createPrivateKey(key))) {
      return ["tls.privateKey: does not belong to tls.certificate"];
    }
  } catch {
    return [`tls.privateKey: is not ${keys["tls.privateKey"].allowed}`];
  }
  const covers = isIP(name) === 0 ? parsed.checkHost(name) : parsed.checkIP(name);
  return [
    ...(covers === undefined
      ? [`tls.certificate: is for ${parsed.subjectAltName ?? "nothing"}; allowed is one for ${name}`]
      : []),
    ...(Date.parse(parsed.validTo) < Date.now() ? [`tls.certificate: has ended on ${parsed.validTo}`] : []),
  ];
}

/** The certificate at the end of the chain when it signed itself, and so is none that clients know already. */
function ownAuthority(chain: string): string | undefined {
  const last = chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)?.at(-1);
  try {
    const parsed = last === undefined ? undefined : new X509Certificate(last);
    return parsed?.checkIssued(parsed) ? `${last}\n` : undefined;
  } catch {
    return undefined; // named by providedProblems
  }
}

/** A name or address as a browser shows it. */
function canonical(address: string): string {
  return isIPv6(address) ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address.toLowerCase();
}

function isHostName(name: string): boolean {
  return hostName.test(name) && !/^[\d.]+$/.test(name);
}

function isHostKey(line: string): boolean {
  return (
    /^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+={0,2}([ \t].*)?$/.test(line) &&
    !(utils.parseKey(line) instanceof Error)
  );
}

function parseList(raw: string): readonly string[] | undefined {
  try {
    const value: unknown = JSON.parse(raw);
    return Array.isArray(value) && value.every((item) => typeof item === "string") ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Config as a flat list of dotted keys. `rotation: {"users": {"ada": 2}}`, as `pulumi config set --path` writes it and
 * as the engine passes on its defaults, is `rotation.users.ada: 2`; an empty text stands for nothing given.
 */
function flatten(raw: Readonly<Record<string, string>>, problems: string[]): Map<string, string> {
  const nested = new Map<string, string>();
  const put = (key: string, value: unknown) => {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [part, inner] of Object.entries(value)) {
        put(`${key}.${part}`, inner);
      }
    } else if (value !== "") {
      nested.set(key, typeof value === "string" ? value : JSON.stringify(value));
    }
  };
  const plain = Object.entries(raw).filter(([, value]) => value !== "" && !value.startsWith("{"));
  for (const [key, value] of Object.entries(raw)) {
    if (value.startsWith("{")) {
      put(key, parseObject(value));
    }
  }
  for (const [key, value] of plain) {
    const other = nested.get(key);
    const fallback: unknown = (keys as Record<string, Key<unknown>>)[key]?.fallback;
    if (other !== undefined && other !== value && other !== String(fallback)) {
      problems.push(
        `${key}: is given twice, with and without --path; remove one with 'pulumi config rm ${key}'`,
      );
    }
    nested.set(key, value);
  }
  return nested;
}

function parseObject(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
