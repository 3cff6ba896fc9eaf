/** Settings that are in files: a key such as `host.privateKeyFile` names the file with the value of another key. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { resolve } from "node:path";
import { problemOf } from "../components/schema/check";
import type { Problem } from "../components/schema/problem";
import { holder, type Key, keys, type Setting, schema } from "../components/schema/schema";

export interface FromFiles {
  /** Values by their own key. */
  readonly values: ReadonlyMap<string, string>;
  /** The key that named the file, by the key of the value. */
  readonly sources: ReadonlyMap<string, Key>;
  readonly problems: readonly Problem[];
}

/** A path as people write it: relative to a directory, or below the home directory with `~/`. */
export function expandPath(path: string, directory: string): string {
  return resolve(directory, path.replace(/^~(?=\/)/, homedir()));
}

/**
 * Reads each file whose value is needed and not given itself.
 *
 * @param directory where relative paths start
 */
export function readFiles(given: ReadonlyMap<string, unknown>, directory: string): FromFiles {
  const values = new Map<string, string>();
  const sources = new Map<string, Key>();
  const problems: Problem[] = [];
  for (const source of keys) {
    const key = holder(source);
    const { default: usual }: Setting = schema[source];
    const path = given.get(source) ?? usual;
    if (key === undefined || typeof path !== "string" || given.has(key) || isIdle(key, given)) {
      continue;
    }
    sources.set(key, source);
    const read = readValue(key, path, directory);
    if ("value" in read) {
      values.set(key, read.value);
    } else {
      problems.push({ key: source, reason: read.problem });
    }
  }
  return { values, sources, problems };
}

/** The file of a certificate that is not used may be missing. */
const isIdle = (key: Key, given: ReadonlyMap<string, unknown>) =>
  key.startsWith("tls.") && given.get("tls.mode") !== "provided";

function readValue(
  key: Key,
  path: string,
  directory: string,
): { readonly value: string } | { readonly problem: string } {
  let value: string;
  try {
    value = readFileSync(expandPath(path, directory), "utf8").trim();
  } catch (error) {
    return {
      problem: path.includes("PRIVATE KEY")
        ? "must be the path of a file that holds the key, not the key itself"
        : `${path} cannot be read (${(error as Error).message})`,
    };
  }
  const { type }: Setting = schema[key];
  return problemOf(key, value) === undefined
    ? { value }
    : { problem: `${path} must hold ${type.description}` };
}
