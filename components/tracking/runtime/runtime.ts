import type * as pulumi from "@pulumi/pulumi";
import { type HostArgs, Step } from "../../step/step";
import { readText } from "../../step/text";
import { home, locks, type Release } from "../release";

/** Versions of Python 3 that the locks serve. */
const pythons = ["3.10", "3.11", "3.12", "3.13"];

export interface RuntimeArgs extends HostArgs {
  /** What is installed. Another release is installed beside the old one. */
  readonly release: Release;
}

/** MLflow and everything it imports, from a lock with hashes, in an environment of its own per release. */
export class Runtime extends Step {
  constructor(name: string, args: RuntimeArgs, opts?: pulumi.ComponentResourceOptions) {
    const { version, lock, directory } = args.release;
    const uvLock = readText(locks, "uv.txt");
    super(
      "mlflow:runtime:Runtime",
      name,
      {
        connection: args.connection,
        step: "runtime",
        folder: __dirname,
        scripts: ["runtime"],
        uses: ["commands"],
        settings: { version, release: directory },
        payload: { lock, uvLock, uv: `${home}/uv-${/^uv==(\S+)/m.exec(uvLock)?.[1]}`, pythons },
      },
      opts,
    );
  }
}
