import type * as pulumi from "@pulumi/pulumi";
import { type HostArgs, Step } from "../../step/step";

/** Systems (os-release ID and VERSION_ID) that the steps are made for. */
export const supportedSystems = ["debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04"] as const;

/** MB of memory: the service takes about 450, twice while a changed one takes over; PostgreSQL, nginx and the system the rest. */
const memoryNeeded = 1400;
/** MB of free disk before the packages and the release are there, and afterwards. */
const roomNeeded = 2500;
const roomRunning = 500;

export interface PreflightArgs extends HostArgs {
  /** Directory of the release on the host; once it is there, less free disk is needed. */
  readonly release: pulumi.Input<string>;
  /** Directory of the artifacts on the host. */
  readonly artifacts: pulumi.Input<string>;
  /** TCP ports that must be free or already held by this server's own parts. */
  readonly ports: {
    readonly proxy: number;
    readonly http?: number;
    readonly service: number;
    readonly database: number;
  };
}

/** Checks that the host meets the requirements, all problems at once; the other steps wait for it. Changes nothing. */
export class Preflight extends Step {
  constructor(name: string, args: PreflightArgs, opts?: pulumi.ComponentResourceOptions) {
    super(
      "mlflow:preflight:Preflight",
      name,
      {
        connection: args.connection,
        step: "preflight",
        folder: __dirname,
        scripts: ["preflight"],
        uses: ["privileges", "memory", "resources", "sockets", "unmanaged"],
        settings: {
          systems: supportedSystems,
          memoryNeeded,
          roomNeeded,
          roomRunning,
          release: args.release,
          artifacts: args.artifacts,
          proxyPort: args.ports.proxy,
          httpPort: args.ports.http ?? 0,
          servicePort: args.ports.service,
          databasePort: args.ports.database,
        },
        privileged: false,
        demand: true,
      },
      opts,
    );
  }
}
