import type * as pulumi from "@pulumi/pulumi";
import type { Release } from "../tracking/runtime/release";
import type { Runtime } from "../tracking/runtime/runtime";
import { Service, type ServiceArgs } from "../tracking/service/service";
import { type Endpoint, namesInRequests } from "./endpoint";
import { type PartArgs, password } from "./part";

export interface TrackingPartArgs extends PartArgs {
  readonly release: Release;
  readonly runtime: Runtime;
  /** System user of the service. */
  readonly account: string;
  readonly database: ServiceArgs["database"];
  readonly endpoint: Endpoint;
  readonly dependsOn: pulumi.Resource;
}

/** MLflow itself, on a port that only the host reaches. */
export function serveTracking(args: TrackingPartArgs): Service {
  const { name, connection, parent, settings, release, account, database } = args;
  return new Service(
    `${name}-service`,
    {
      connection,
      release,
      releaseGeneration: args.runtime.generation,
      account,
      database,
      artifacts: settings["artifacts.directory"],
      port: settings["service.port"],
      ...namesInRequests(args.endpoint),
      workers: settings["service.workers"],
      jobs: settings["service.jobs"],
      encryptionPassphrase: password(args, "encryption-passphrase", 1),
      deleteData: settings["data.deleteOnDestroy"],
    },
    { parent, dependsOn: args.dependsOn },
  );
}
