import type * as pulumi from "@pulumi/pulumi";
import { type HostArgs, Step } from "../../step/step";
import { readText } from "../../step/text";
import { type InstanceArgs, renderInstance } from "./instance";
import { renderLogRotation, renderRestartRule } from "./render";

export interface ServiceArgs extends HostArgs, InstanceArgs {
  /** Raised when the release was healed in place: what runs may not be what is on the disk now, and is replaced. */
  readonly releaseGeneration: pulumi.Input<number>;
  /** First of two TCP ports: a changed service starts on the free one, then takes over. */
  readonly port: number;
  /** Names the instance that serves, in nginx's words; part of the upstream of the site. */
  readonly upstreamFile: string;
  /** Delete the artifacts when the step is removed; applied by `up`, before a destroy. */
  readonly deleteData: boolean;
}

/** The tracking server: a systemd unit, its environment, its logs, and the proof that its API answers. */
export class Service extends Step {
  constructor(name: string, args: ServiceArgs, opts?: pulumi.ComponentResourceOptions) {
    const { connection, release, account, database, artifacts, port, workers, jobs, deleteData } = args;
    super(
      "mlflow:service:Service",
      name,
      {
        connection,
        step: "service",
        healedWith: [args.releaseGeneration],
        folder: __dirname,
        scripts: [
          "serving",
          "health",
          "jobs",
          "lifecycle",
          "promotion",
          "retention",
          "earlier",
          "webhooks",
          "service",
        ],
        uses: [
          "commands",
          "systemd",
          "accounts",
          "deletion",
          "processes",
          "sockets",
          "postgres",
          "nginx",
          "reload",
          "keys",
          "instances",
        ],
        settings: {
          version: release.version,
          release: release.directory,
          port,
          artifacts,
          workers,
          jobs,
          deleteData,
        },
        payload: {
          ...renderInstance(args),
          database: database.name,
          databasePort: database.port,
          upstreamFile: args.upstreamFile,
          queuedJobs: readText(__dirname, "queued_jobs.py"),
          logRotation: renderLogRotation(account),
          restartRule: renderRestartRule(),
        },
      },
      opts,
    );
  }
}
