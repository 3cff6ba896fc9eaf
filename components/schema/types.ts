/** Kinds of values. The description of each says in words what it allows, for messages and for the docs. */
import { isIPv6 } from "node:net";
import { utils } from "ssh2";
import { z } from "zod";

export const text = (allowed: string) => z.string().describe(allowed);

export const matching = (pattern: RegExp, allowed: string) => z.string().regex(pattern).describe(allowed);

export const wholeNumber = (lowest: number, highest: number) =>
  z.int().min(lowest).max(highest).describe(`a whole number from ${lowest} to ${highest}`);

export const flag = z.boolean().describe("true or false");

export const oneOf = <const T extends readonly string[]>(values: T) =>
  z.enum(values).describe(`one of ${values.join(", ")}`);

/** A value that the program or the host can choose itself. */
export const orAuto = <T extends z.ZodType>(type: T, choice: string) =>
  z.union([z.literal("auto"), type]).describe(`auto (${choice}), or ${type.description}`);

/** Ports below 1024 are for servers that start as root. */
export const unprivilegedPort = wholeNumber(1024, 65535);
export const port = wholeNumber(1, 65535);

const label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
const dnsName = z.string().regex(new RegExp(`^(?![\\d.]+$)(?=.{1,253}$)${label}(\\.${label})*$`));

/** In lower case, as a browser shows it. */
export const hostName = dnsName.toLowerCase().describe("a host name");

/** In the one form in which a browser shows it. */
export const address = z
  .union([z.ipv4(), z.ipv6(), dnsName])
  .overwrite((given) =>
    isIPv6(given) ? new URL(`http://[${given}]`).hostname.slice(1, -1) : given.toLowerCase(),
  )
  .describe("an IPv4 or IPv6 address or a host name");

/** Type and key, without a comment or the end of the line after them. */
export const hostKey = z
  .string()
  .overwrite((line) => line.trimEnd())
  .regex(/^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+={0,2}([ \t].*)?$/)
  .refine((line) => !(utils.parseKey(line) instanceof Error))
  .overwrite((line) => line.split(/\s+/).slice(0, 2).join(" "))
  .describe(
    "one line 'ssh-ed25519 AAAA…' or 'ecdsa-sha2-nistp256 AAAA…' ('./mlflow-vps configure user@host' writes it)",
  );

const userName = z.string().regex(/^[a-z][a-z0-9._-]{0,31}$/);

export const users = z
  .array(userName)
  .min(1)
  .refine((names) => new Set(names).size === names.length)
  .readonly()
  .describe(
    "a list of one or more different names, each a lower-case letter, then up to 31 of a-z 0-9 . _ -",
  );

/** Users and databases of PostgreSQL's own, keywords of its pg_hba.conf, and the copy on which migrations are rehearsed. */
const reservedNames =
  /^(postgres|template[01]|pg_.*|all|none|public|replication|same(user|role|group)|mlflow_vps_rehearsal)$/;

// Nothing is appended to it, so it may have PostgreSQL's 63 bytes.
export const databaseName = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,62}$/)
  .refine((name) => !reservedNames.test(name))
  .describe(
    "a lower-case letter, then up to 62 of a-z 0-9 _, not a name that PostgreSQL reserves or that rehearsals use (mlflow_vps_rehearsal)",
  );

export const dataDirectory = z
  .string()
  .regex(/^\/(srv|mnt|media|data|var\/lib\/mlflow)(\/\w[\w.-]*)+$/)
  .refine((path) => !/^\/var\/lib\/mlflow\/tmp(\/|$)/.test(path))
  .describe(
    "a directory of its own below /srv, /mnt, /media, /data or /var/lib/mlflow (but not its tmp), without spaces",
  );
