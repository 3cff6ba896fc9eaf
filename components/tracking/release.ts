import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { readText } from "../step/text";

/** Where the lock files are: one for each version of MLflow, and that of uv. */
export const locks = join(__dirname, "runtime/locks");
/** Where releases and their installer are on the host. */
export const home = "/opt/mlflow";

/** MLflow versions that the project ships a lock for, oldest first. */
export function supportedVersions(): string[] {
  return readdirSync(locks)
    .flatMap((file) => /^(\d+\.\d+\.\d+)\.txt$/.exec(file)?.slice(1) ?? [])
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

/** A pinned set of Python packages, and the directory on the host where it is installed. */
export interface Release {
  readonly version: string;
  readonly lock: string;
  /** Named after version and lock, so that a new lock of the same version is a release of its own. */
  readonly directory: string;
}

/** @throws when the project ships no lock for this version */
export function findRelease(version: string): Release {
  if (!supportedVersions().includes(version)) {
    throw new Error(`no lock for MLflow ${version}; there are: ${supportedVersions().join(", ")}`);
  }
  const lock = readText(locks, `${version}.txt`);
  const digest = createHash("sha256").update(lock).digest("hex").slice(0, 8);
  return { version, lock, directory: `${home}/releases/${version}-${digest}` };
}
