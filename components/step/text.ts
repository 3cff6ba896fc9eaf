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

/** Reads a Python program that may import the library's reader of nginx's configuration: its text stands in the import's place. */
export function readPython(...path: readonly string[]): string {
  return readText(...path).replace(/^from nginx_configuration import .*\n/m, () =>
    readText(__dirname, "library", "nginx_configuration.py"),
  );
}
