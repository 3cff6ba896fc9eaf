import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { passwordFile } from "../../data/database/database";
import { managed } from "../../step/script";
import { type HostArgs, Step } from "../../step/step";
import type { Release } from "../runtime/release";
import { renderEnvironment, renderLogRotation, renderRestartRule, renderUnit, sizes } from "./render";

export interface ServiceArgs extends HostArgs {
  /** What runs. Changing it rehearses the migration on a copy of the database, then migrates. */
  readonly release: Release;
  /** Raised when the release was healed in place: what runs may not be what is on the disk now, and is replaced. */
  readonly releaseGeneration: pulumi.Input<number>;
  /** System user of the service. */
  readonly account: string;
  /** Where the service finds its database; its password is in the password file of the database step. */
  readonly database: { readonly name: string; readonly role: string; readonly port: number };
  /** Absolute directory of the artifacts. Changing it moves nothing. */
  readonly artifacts: pulumi.Input<string>;
  /** First of two TCP ports on 127.0.0.1: a changed service starts on the free one, then takes over. */
  readonly port: number;
  /** Addresses (host or host:port) that requests may name in their Host header. */
  readonly allowedHosts: pulumi.Input<readonly string[]>;
  /** Origins of the web interface, for its own requests. */
  readonly origins: pulumi.Input<readonly string[]>;
  /** Worker processes, 1 to 16, or by the host's memory. */
  readonly workers: number | "auto";
  /** Run MLflow's job runner (server-side scorers, GenAI evaluation); or by the host's memory. */
  readonly jobs: boolean | "auto";
  /** Encrypts the secrets that users keep in MLflow. A new one makes the old secrets unreadable. */
  readonly encryptionPassphrase: pulumi.Input<string>;
  /** Delete the artifacts when the step is removed; applied by `up`, before a destroy. */
  readonly deleteData: boolean;
}

/** Names the instance that serves, in nginx's words; part of the upstream of the site. */
export const upstreamFile = "/etc/mlflow-vps/upstream.conf";

/** The tracking server: a systemd unit, its environment, its logs, and the proof that its API answers. */
export class Service extends Step {
  constructor(name: string, args: ServiceArgs, opts?: pulumi.ComponentResourceOptions) {
    const { connection, release, account, database, artifacts, port, workers, jobs, deleteData } = args;
    const temporary = "/var/lib/mlflow/tmp";
    const address = `${database.role}@127.0.0.1:${database.port}/${database.name}`;
    const storeUri = `postgresql+psycopg2://${address}`;
    super(
      "mlflow:service:Service",
      name,
      {
        connection,
        step: "service",
        healedWith: [args.releaseGeneration],
        folder: __dirname,
        scripts: [
          "instances",
          "health",
          "jobs",
          "lifecycle",
          "promotion",
          "schema",
          "migration",
          "retention",
          "earlier",
          "service",
        ],
        uses: [
          "commands",
          "privileges",
          "systemd",
          "accounts",
          "deletion",
          "resources",
          "processes",
          "sockets",
          "postgres",
          "scratch",
          "dumps",
          "nginx",
          "reload",
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
          account,
          passwordFile,
          storeUri,
          database: database.name,
          role: database.role,
          databasePort: database.port,
          upstreamFile,
          temporary,
          sizes: sizes.map((size) => `${size.memory} ${size.workers} ${size.jobs}`),
          unit: pulumi.output(artifacts).apply((directory) => renderUnit(account, directory)),
          launcher: `${managed}\n${readFileSync(join(__dirname, "serve.py"), "utf8").trimEnd()}`,
          smokeTest: readFileSync(join(__dirname, "smoke.py"), "utf8"),
          queuedJobs: readFileSync(join(__dirname, "queued_jobs.py"), "utf8"),
          logRotation: renderLogRotation(account),
          restartRule: renderRestartRule(),
          environment: pulumi
            .output({
              release: release.directory,
              storeUri,
              passwordFile,
              artifacts,
              temporary,
              allowedHosts: args.allowedHosts,
              origins: args.origins,
              encryptionPassphrase: args.encryptionPassphrase,
            })
            .apply(renderEnvironment),
        },
      },
      opts,
    );
  }
}
