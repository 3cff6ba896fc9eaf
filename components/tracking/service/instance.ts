import * as pulumi from "@pulumi/pulumi";
import { type DatabaseAccess, storeUri } from "../../data/access";
import type { InstanceValues } from "../../step/instance";
import { managed } from "../../step/script";
import { readText } from "../../step/text";
import type { Release } from "../release";
import { mostWorkers, renderEnvironment, renderUnit, shareOf, sizes } from "./render";

export interface InstanceArgs {
  /** What runs. */
  readonly release: Release;
  /** System user that it runs as. */
  readonly account: string;
  /** The database that it serves. */
  readonly database: DatabaseAccess;
  /** Absolute directory of the artifacts. */
  readonly artifacts: pulumi.Input<string>;
  /** Address that it listens on. */
  readonly address: string;
  /** Addresses (host or host:port) that requests may name in their Host header, beside the host's own. */
  readonly allowedHosts: pulumi.Input<readonly string[]>;
  /** Origins of the web interface, for its own requests. */
  readonly origins: pulumi.Input<readonly string[]>;
  /** Worker processes, 1 to 16, or by the host's memory. */
  readonly workers: number | "auto";
  /** Run MLflow's job runner (server-side scorers, GenAI evaluation); or by the host's memory. */
  readonly jobs: boolean | "auto";
  /** Encrypts the secrets that users keep in MLflow. */
  readonly encryptionPassphrase: pulumi.Input<string>;
  /** Encrypts what webhooks sign with: a Fernet key. */
  readonly webhookKey: pulumi.Input<string>;
}

/** Unit, environment and launcher of an instance of the server. */
export function renderInstance(args: InstanceArgs): InstanceValues {
  const { release, account, database, artifacts, address, workers, jobs } = args;
  const temporary = "/var/lib/mlflow/tmp";
  return {
    account,
    address,
    artifacts,
    temporary,
    workers,
    jobs,
    sizes: sizes.map((size) => `${size.memory} ${size.workers} ${size.jobs}`),
    shares: Array.from({ length: mostWorkers }, (_, index) => {
      const { requests, connections, overflow } = shareOf(index + 1, release.version);
      return `${requests} ${connections} ${overflow}`;
    }),
    unit: pulumi.output(artifacts).apply((directory) => renderUnit(account, directory)),
    launcher: `${managed}\n${readText(__dirname, "serve.py").trimEnd()}`,
    environment: pulumi
      .output({
        release: release.directory,
        storeUri: storeUri(database),
        passwordFile: database.credentials.file,
        artifacts,
        temporary,
        address,
        allowedHosts: args.allowedHosts,
        origins: args.origins,
        encryptionPassphrase: args.encryptionPassphrase,
        webhookKey: args.webhookKey,
      })
      .apply(renderEnvironment),
  };
}
