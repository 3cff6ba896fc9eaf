/** What `configure` knows of the program's config: keys, their values and defaults. */
import { type Key, schema, type Values } from "../../components/schema/schema";
import { parseText } from "../../config/text";

export { expandPath } from "../../config/files";
export type { Key as SettingName };

/**
 * The value of a config key, given as text: JSON for a list.
 *
 * @param name what the error calls it
 * @throws when the key does not allow it
 */
export function parseSetting<Name extends Key>(
  key: Name,
  raw: string,
  name: string = key,
): NonNullable<Values[Name]> {
  const parsed = parseText(key, raw);
  if ("problem" in parsed) {
    throw new Error(`${name}: ${parsed.problem}`);
  }
  return parsed.value;
}

/** What a setting means, for a flag or a question, and how it is given. */
export const meaningOf = (key: Key, note: string) => `${schema[key].meaning.replace(/\.$/, "")} (${note})`;

export const defaults = {
  "host.port": schema["host.port"].default,
  "host.privateKeyFile": schema["host.privateKeyFile"].default,
  users: schema.users.default,
} as const;

/** What a private key must be, in words. */
export const privateKeyAllowed = schema["host.privateKey"].type.description;

export interface Target {
  readonly user?: string;
  readonly address: string;
}

/** @throws when it is not `user@host` or `host`, with a name or an address, an IPv6 one with or without brackets */
export function parseTarget(text: string): Target {
  const at = text.lastIndexOf("@");
  const host = text.slice(at + 1).replace(/^\[(.*:.*)\]$/, "$1");
  return {
    ...(at < 0 ? {} : { user: parseSetting("host.user", text.slice(0, at), "user@host") }),
    address: parseSetting("host.address", host, "user@host"),
  };
}

/** Names, separated by commas. */
export const parseUsers = (text: string, name = "users") =>
  parseSetting("users", JSON.stringify(text.split(",").map((user) => user.trim())), name);

/** A name, or an empty text for none, which `-` says too. */
export const parseDomain = (text: string, name = "domain") =>
  text === "-" || text === "" ? "" : parseSetting("domain", text, name);
