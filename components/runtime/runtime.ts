import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type * as pulumi from "@pulumi/pulumi";
import { type HostArgs, Step } from "../step/step";

const locks = join(__dirname, "locks");
const home = "/opt/mlflow";

/** Versions of Python 3 that the locks serve. */
const pythons = ["3.10", "3.11", "3.12", "3.13"];

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
  const lock = readFileSync(join(locks, `${version}.txt`), "utf8");
  const digest = createHash("sha256").update(lock).digest("hex").slice(0, 8);
  return { version, lock, directory: `${home}/releases/${version}-${digest}` };
}

export interface RuntimeArgs extends HostArgs {
  /** What is installed. Another release is installed beside the old one. */
  readonly release: Release;
}

/** MLflow and everything it imports, from a lock with hashes, in an environment of its own per release. */
export class Runtime extends Step {
  constructor(name: string, args: RuntimeArgs, opts?: pulumi.ComponentResourceOptions) {
    const { version, lock, directory } = args.release;
    const uvLock = readFileSync(join(locks, "uv.txt"), "utf8");
    super(
      "mlflow:runtime:Runtime",
      name,
      {
        connection: args.connection,
        step: "runtime",
        script: join(__dirname, "runtime.sh"),
        settings: { version, release: directory },
        payload: { lock, uvLock, uv: `${home}/uv-${/^uv==(\S+)/m.exec(uvLock)?.[1]}`, pythons },
      },
      opts,
    );
  }
}
