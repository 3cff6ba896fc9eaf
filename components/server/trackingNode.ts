import type * as pulumi from "@pulumi/pulumi";
import type { Release } from "../tracking/release";
import { Service } from "../tracking/service/service";
import type { DatabaseNode } from "./databaseNode";
import { type Endpoint, namesInRequests } from "./endpoint";
import { fernetKey, password, type RoleArgs } from "./part";

export interface TrackingNodeArgs extends RoleArgs {
  readonly release: Release;
  /** System user of the service. */
  readonly account: string;
  readonly data: DatabaseNode;
  readonly endpoint: Endpoint;
}

/** What the gateway needs of this role. */
export interface TrackingNode {
  /** File on the host that names, for nginx, who answers requests. */
  readonly upstream: string;
  /** Until then nobody answers. */
  readonly ready: pulumi.Resource;
}

/** Runs MLflow itself, on a port that only the host reaches. */
export function trackingNode(args: TrackingNodeArgs): TrackingNode {
  const { settings, parent, host, release, account, data } = args;
  const upstream = "/etc/mlflow-vps/upstream.conf";
  const ready = new Service(
    `${host.name}-service`,
    {
      connection: host.connection,
      release,
      releaseGeneration: host.runtime.generation,
      account,
      database: data.database,
      artifacts: settings["artifacts.directory"],
      address: host.address,
      port: settings["service.port"],
      upstreamFile: upstream,
      ...namesInRequests(args.endpoint),
      workers: settings["service.workers"],
      jobs: settings["service.jobs"],
      encryptionPassphrase: password(args, "encryption-passphrase", 1),
      webhookKey: fernetKey(args, "webhook-key"),
      deleteData: settings["data.deleteOnDestroy"],
    },
    { parent, dependsOn: data.ready },
  );
  return { upstream, ready };
}
