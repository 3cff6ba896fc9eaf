import { readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Reads a text that comes with the project: a script, a program, a lock.
 *
 * @returns the same for every checkout: git may end lines with CRLF on the machine where `up` runs (core.autocrlf), which
 * bash on the host does not understand, and by which a lock would be another release
 */
export function readText(...path: readonly string[]): string {
  return readFileSync(join(...path), "utf8").replaceAll("\r\n", "\n");
}
