import { z } from "zod";
import { supportedVersions } from "../tracking/release";
import {
  address,
  databaseName,
  dataDirectory,
  flag,
  hostKey,
  hostName,
  matching,
  oneOf,
  orAuto,
  port,
  text,
  unprivilegedPort,
  users,
  wholeNumber,
} from "./types";

/** One setting, and everything about it. */
export interface Setting {
  /** Which values are allowed; its description says so in words. */
  readonly type: z.ZodType;
  /** The value of a setting that is not set. */
  readonly default?: unknown;
  /** It must be set. */
  readonly required?: true;
  /** Its meaning, in a sentence or two. */
  readonly meaning: string;
  /** What changing it does on the host. */
  readonly change: string;
  /** In the stack's config it is set with --secret; messages never repeat it. */
  readonly secret?: true;
  /** It may be an output of another resource. Any other value decides which resources are created. */
  readonly input?: true;
  /** Only in a stack's config: the path of a file that holds the value of this key. */
  readonly holds?: string;
}

/** A key of the stack's config that names a file with the value of another one. */
const fileOf = <const K extends string>(key: K) => ({
  type: text("the path of a readable file"),
  holds: key,
  meaning: `File with the value of \`${key}\`, in place of it; the path is relative to the project, or begins with \`~/\`.`,
  change: `As for \`${key}\`.`,
});

const runsAgain = "Every step runs once more on the host and finds nothing to do.";
const takesOver = "A new instance starts beside the running one and takes over. No request is dropped.";
const rotation = wholeNumber(1, 999_999);

/**
 * Every setting, by its key in the stack's config; the arguments of `MlflowServer` are the same, as nested objects.
 * `<name>` stands for a name that the key itself holds. `npm run generate` makes the docs and Pulumi.yaml from it.
 */
export const schema = {
  "host.address": {
    type: address,
    required: true,
    input: true,
    meaning: "Address or name of the VPS.",
    change: "Sets up the server on the new host; the old one stays as it is. Clients have to reconnect.",
  },
  "host.port": {
    type: port,
    default: 22,
    input: true,
    meaning: "TCP port of SSH.",
    change: runsAgain,
  },
  "host.user": {
    type: matching(
      /^[a-z_][a-z0-9_-]{0,31}$/,
      "a login name of lower-case letters, digits, '-' and '_', up to 32",
    ),
    required: true,
    input: true,
    meaning: "Login name: root, or a user with passwordless sudo.",
    change: runsAgain,
  },
  "host.hostKey": {
    type: hostKey,
    required: true,
    input: true,
    meaning: "The only SSH host key that is accepted, ed25519 or ecdsa.",
    change: runsAgain,
  },
  "host.hostKeyFile": fileOf("host.hostKey"),
  "host.privateKey": {
    type: text("a private SSH key in OpenSSH or PEM format"),
    required: true,
    input: true,
    secret: true,
    meaning: "Private SSH key of the login.",
    change: runsAgain,
  },
  "host.privateKeyFile": { ...fileOf("host.privateKey"), default: "~/.ssh/id_ed25519" },
  "host.privateKeyPassphrase": {
    type: text("the passphrase of the private key"),
    input: true,
    secret: true,
    meaning: "Passphrase of the private SSH key, where it has one.",
    change: runsAgain,
  },
  domain: {
    type: hostName,
    meaning: "Host name of the server, in place of the address in the tracking URI and the certificate.",
    change: `The certificate is issued for the new name, to which clients connect from then on. ${takesOver}`,
  },
  users: {
    type: users,
    default: ["mlflow"],
    meaning: "Who may use the server; each gets a generated password.",
    change: "A new user gets a password, a removed one is refused from then on. Nothing restarts.",
  },
  "mlflow.version": {
    type: oneOf(supportedVersions()),
    default: "3.17.2",
    meaning: "Version of MLflow, one of those with a lock in `components/tracking/runtime/locks`.",
    change:
      "The new version is installed beside the old one; the migration of the database is rehearsed on a copy, then done after a dump. An older one whose schema is older is refused. No request is dropped.",
  },
  "service.workers": {
    type: orAuto(wholeNumber(1, 16), "by the host's memory"),
    default: "auto",
    meaning: "Worker processes. `auto`: 1, with 3.5 GB of memory 2, with 7 GB 4.",
    change: `${takesOver} From 8 or fewer to more, PostgreSQL is restarted for more connections, once.`,
  },
  "service.jobs": {
    type: orAuto(flag, "by the host's memory"),
    default: "auto",
    meaning:
      "MLflow's job runner (server-side scorers, GenAI evaluation). `auto`: on with 7 GB of memory or more.",
    change: takesOver,
  },
  "service.port": {
    type: unprivilegedPort,
    default: 5000,
    meaning: "First of the service's two TCP ports on 127.0.0.1: a new instance starts on the free one.",
    change: takesOver,
  },
  "tls.mode": {
    type: oneOf(["auto", "selfSigned", "acme", "provided", "none"]),
    default: "auto",
    meaning:
      "Where the certificate comes from. `auto` is `acme` with a public `domain`, and `selfSigned` without one.",
    change:
      "nginx loads the new certificate. When its authority is another, clients need the new `clientEnv`.",
  },
  "tls.allowPlainHttp": {
    type: flag,
    default: false,
    meaning:
      "Must be true for `tls.mode` none, which sends passwords and data over the network in clear text.",
    change: "Nothing on the host.",
  },
  "tls.email": {
    type: z.email().describe("an email address"),
    meaning: "With `acme`: email address of the account at the certificate authority.",
    change: "The account is updated.",
  },
  "tls.acmeDirectory": {
    type: matching(/^https:\/\/[\w.:[\]-]+(\/[\w./-]*)?$/, "the https:// URL of an ACME directory"),
    default: "https://acme-v02.api.letsencrypt.org/directory",
    meaning: "With `acme`: directory URL of the certificate authority (RFC 8555).",
    change: "Gets a new certificate.",
  },
  "tls.certificate": {
    type: text("a certificate in PEM, followed by the chain to its authority"),
    input: true,
    meaning: "With `provided`: the server's certificate, and the chain to its authority.",
    change: "nginx loads the new one. No request is dropped.",
  },
  "tls.certificateFile": fileOf("tls.certificate"),
  "tls.privateKey": {
    type: text("the certificate's private key in PEM, without a passphrase"),
    input: true,
    secret: true,
    meaning: "With `provided`: private key of the certificate.",
    change: "nginx loads the new one. No request is dropped.",
  },
  "tls.privateKeyFile": fileOf("tls.privateKey"),
  "proxy.port": {
    type: orAuto(port, "443, or 80 without TLS"),
    default: "auto",
    meaning: "TCP port that clients use.",
    change: `Clients connect to the new port, and the old one is closed. ${takesOver}`,
  },
  "proxy.httpPort": {
    type: wholeNumber(0, 65535),
    default: 80,
    meaning:
      "TCP port where plain HTTP is redirected to HTTPS; 0 for none, for example where another program has port 80. With `acme` the certificate authority must reach it as port 80.",
    change: "nginx listens on the new port in place of the old one. Nothing restarts.",
  },
  "database.name": {
    type: databaseName,
    default: "mlflow",
    meaning: "Name of the database and of the role that owns it. An existing one is adopted with its rows.",
    change: "Creates a new database; the old one stays.",
  },
  "database.port": {
    type: unprivilegedPort,
    default: 5432,
    meaning:
      "TCP port of PostgreSQL on 127.0.0.1, by which the cluster is chosen. A cluster with other databases keeps its own listen addresses and is never restarted.",
    change: "Creates a new database in the cluster of that port; the old one stays.",
  },
  "artifacts.directory": {
    type: dataDirectory,
    default: "/var/lib/mlflow/artifacts",
    input: true,
    meaning: "Where the artifacts are on the host.",
    change: "Nothing is moved: the old directory stays as it is.",
  },
  "data.deleteOnDestroy": {
    type: flag,
    default: false,
    meaning: "Let `destroy` delete database and artifacts.",
    change: "Nothing on the host. `destroy` uses what was last applied, so run `pulumi up` first.",
  },
  "updates.automatic": {
    type: flag,
    default: true,
    meaning: "Install security updates of the host's packages each day.",
    change: "With `false`, the distribution's own settings apply again. Nothing restarts.",
  },
  "updates.time": {
    type: z.iso.time({ precision: -1 }).describe("a time of the day as HH:MM, 00:00 to 23:59"),
    default: "04:00",
    meaning: "When they are installed, in the host's time zone.",
    change: "Starts nothing.",
  },
  firewall: {
    type: flag,
    default: false,
    meaning: "Close every port but those of SSH, `proxy.port` and `proxy.httpPort`.",
    change: "Takes effect at once; rules that would lock SSH out undo themselves. No connection ends.",
  },
  "rotation.database": {
    type: rotation,
    default: 1,
    meaning: "Number of the database's password.",
    change: "Raising it generates a new password. Nothing restarts.",
  },
  "rotation.users.<name>": {
    type: rotation,
    default: 1,
    meaning: "Number of this user's password.",
    change: "Raising it generates a new password; the old one is refused from then on. Nothing restarts.",
  },
} as const satisfies Readonly<Record<string, Setting>>;

export type Schema = typeof schema;
export type Key = keyof Schema;
export const keys = Object.keys(schema) as Key[];

type ValueOf<S extends Setting> = S extends { readonly default: unknown } | { readonly required: true }
  ? z.output<S["type"]>
  : z.output<S["type"]> | undefined;

/** All values, complete with the defaults. A key with a `<name>` has one for each name. */
export type Values = {
  readonly [K in Key]: K extends `${string}<${string}`
    ? Readonly<Record<string, ValueOf<Schema[K]>>>
    : ValueOf<Schema[K]>;
};

/** The keys that must be set: neither they nor a file in their place have a default. */
export const requiredKeys: readonly Key[] = keys.filter((key) => {
  const { required }: Setting = schema[key];
  return required && !keys.some((file) => holder(file) === key && "default" in schema[file]);
});

/** The key whose value is in the file that this one names. */
export function holder(key: Key): Key | undefined {
  const { holds }: Setting = schema[key];
  return keys.find((other) => other === holds);
}
