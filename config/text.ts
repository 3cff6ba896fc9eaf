/** Values as they stand in a stack's config, or as they are typed: text, or JSON for a list. */
import { problemOf } from "../components/schema/check";
import { type Key, type Setting, schema, type Values } from "../components/schema/schema";

/** What a text may mean: itself, a flag, a list, or a number, which has one way to be written. */
function meanings(text: string): unknown[] {
  const value = parseJson(text);
  const isNumber = typeof value === "number" && String(value) === text;
  return isNumber || typeof value === "boolean" || Array.isArray(value) ? [text, value] : [text];
}

/** The value that a text stands for: what the key takes, if it takes any of what the text may mean. */
export function interpret(key: Key | undefined, text: string): unknown {
  const { type }: Partial<Setting> = key === undefined ? {} : schema[key];
  const possible = meanings(text);
  return possible.find((value) => type?.safeParse(value).success) ?? possible.at(-1);
}

export type Parsed<T> = { readonly value: T } | { readonly problem: string };

/** Reads and checks one value, which is not one of a key with a `<name>`. */
export function parseText<K extends Key>(key: K, text: string): Parsed<NonNullable<Values[K]>> {
  const value = interpret(key, text);
  const problem = problemOf(key, value);
  return problem === undefined
    ? { value: schema[key].type.parse(value) as NonNullable<Values[K]> }
    : { problem };
}

/** @returns the text itself where it is no JSON */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
