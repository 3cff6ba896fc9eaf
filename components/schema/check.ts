import type { Problem } from "./problem";
import { rules } from "./rules";
import { type Key, keys, type Setting, schema, type Values } from "./schema";

export interface Checked {
  /** Complete and valid where there is no problem. */
  readonly values: Values;
  readonly problems: readonly Problem[];
}

const patterns = keys
  .filter((key) => key.includes("<"))
  .map((key) => ({
    key,
    pattern: new RegExp(`^${key.replaceAll(".", "\\.").replace(/<\w+>/, "(.+)")}$`),
  }));

/** The schema's key for a key that is set: `rotation.users.<name>` for `rotation.users.ada`. */
export function keyOf(given: string): Key | undefined {
  return (
    keys.find((key) => key === given && !key.includes("<")) ??
    patterns.find(({ pattern }) => pattern.test(given))?.key
  );
}

/** A key that is set, in parts; the name in it, which may have dots, is one of them. */
export function pathOf(given: string): string[] {
  const key = keyOf(given) ?? given;
  const names =
    patterns
      .find((each) => each.key === key)
      ?.pattern.exec(given)
      ?.slice(1) ?? [];
  return key.split(".").map((part) => (part.startsWith("<") ? (names.shift() ?? part) : part));
}

/**
 * Checks every value and the rules across them, and fills in the defaults.
 *
 * @param given values by key
 * @param unsettled keys whose values are not known yet, or already known to be wrong: nothing is reported about them
 */
export function check(
  given: ReadonlyMap<string, unknown>,
  unsettled: ReadonlySet<string> = new Set(),
): Checked {
  const readings = keys.map((key) => ({ key, ...readKey(key, given, unsettled) }));
  const valid = new Set(readings.filter((each) => each.valid).map(({ key }) => key));
  const values = Object.fromEntries(readings.map(({ key, value }) => [key, value])) as unknown as Values;
  const broken = rules
    .filter(({ of }) => of.every((key) => valid.has(key)))
    .flatMap(({ problems }) => problems(values));
  return {
    values,
    problems: [...unknownKeys(given), ...readings.flatMap(({ problems }) => problems), ...broken],
  };
}

/** What is wrong with a value on its own: nothing for most. */
export function problemOf(key: Key, value: unknown): string | undefined {
  const { type }: Setting = schema[key];
  return type.safeParse(value).success ? undefined : `must be ${type.description} (got ${shown(key, value)})`;
}

interface Reading {
  readonly value: unknown;
  readonly problems: readonly Problem[];
  /** Rules may read the value. */
  readonly valid: boolean;
}

function readKey(key: Key, given: ReadonlyMap<string, unknown>, unsettled: ReadonlySet<string>): Reading {
  if (!key.includes("<")) {
    return readValue(key, key, given.get(key), unsettled);
  }
  const pattern = patterns.find((each) => each.key === key)?.pattern;
  const named = [...given].flatMap(([name, value]) => {
    const part = pattern?.exec(name)?.[1];
    return part === undefined ? [] : [{ part, ...readValue(key, name, value, unsettled) }];
  });
  return {
    value: Object.fromEntries(named.map(({ part, value }) => [part, value])),
    problems: named.flatMap(({ problems }) => problems),
    valid: named.every(({ valid }) => valid),
  };
}

function readValue(key: Key, name: string, given: unknown, unsettled: ReadonlySet<string>): Reading {
  const setting: Setting = schema[key];
  const value = given === undefined ? setting.default : given;
  if (unsettled.has(name)) {
    return { value: undefined, problems: [], valid: false };
  }
  if (value === undefined) {
    const problems = setting.required
      ? [{ key: name, reason: `is required: ${setting.type.description}` }]
      : [];
    return { value, problems, valid: problems.length === 0 };
  }
  const reason = problemOf(key, value);
  return reason === undefined
    ? { value: setting.type.parse(value), problems: [], valid: true }
    : { value: undefined, problems: [{ key: name, reason }], valid: false };
}

function unknownKeys(given: ReadonlyMap<string, unknown>): Problem[] {
  return [...given.keys()]
    .filter((name) => keyOf(name) === undefined)
    .map((key) => ({ key, reason: `no such key; the keys are ${keys.join(", ")}` }));
}

/** A value as a message shows it: never a secret, nor a private key in the wrong place. */
function shown(key: Key, value: unknown): string {
  const { secret }: Setting = schema[key];
  const text = JSON.stringify(value) ?? String(value);
  return secret || text.includes("PRIVATE KEY") ? "[secret]" : text;
}
