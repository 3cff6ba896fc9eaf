import type * as pulumi from "@pulumi/pulumi";
import { type HostArgs, Step } from "../../step/step";

export interface PackagesArgs extends HostArgs {
  /** Which group this is; several groups install side by side with other steps. */
  readonly group: string;
  /** Names of distribution packages; those that are missing are installed, without recommended ones. */
  readonly packages: readonly string[];
}

/** Distribution packages, installed with apt once its lock is free. They stay when the server is removed. */
export class Packages extends Step {
  constructor(name: string, args: PackagesArgs, opts?: pulumi.ComponentResourceOptions) {
    super(
      "mlflow:packages:Packages",
      name,
      {
        connection: args.connection,
        step: `packages-${args.group}`,
        folder: __dirname,
        scripts: ["packages"],
        uses: ["commands", "systemd"],
        settings: { packages: args.packages },
      },
      opts,
    );
  }
}
