import * as pulumi from "@pulumi/pulumi";
import type { MlflowServerArgs } from "./args";
import { origin } from "./entrance/proxy/render";
import { databaseNode } from "./server/databaseNode";
import { endpointOf } from "./server/endpoint";
import { gateway } from "./server/gateway";
import { connectionTo, prepareHost } from "./server/host";
import { settle } from "./server/settings";
import { trackingNode } from "./server/trackingNode";
import { findRelease } from "./tracking/release";

/** System user that the service runs as. */
const account = "mlflow";

/** An MLflow tracking server on one host: packages, data, the service, and the entrance for its users. */
export class MlflowServer extends pulumi.ComponentResource {
  /** Where clients and browsers find the server. */
  public readonly trackingUri: pulumi.Output<string>;
  /** User name to password. Secret. */
  public readonly users: pulumi.Output<Record<string, string>>;
  /** The variables that a client of the first user needs, as text for a `.env` file. Secret. */
  public readonly clientEnv: pulumi.Output<string>;
  /** The certificate in PEM that clients must trust; empty where they know its authority already. */
  public readonly caCertificate: pulumi.Output<string>;
  /** Version of MLflow that serves. */
  public readonly mlflowVersion: pulumi.Output<string>;
  /** Where the artifacts are on the host. */
  public readonly artifactsDirectory: pulumi.Output<string>;
  /** Name of the database on the host. */
  public readonly databaseName: pulumi.Output<string>;

  /**
   * @throws `pulumi.InputPropertiesError` that lists every wrong argument; then nothing was made. Where some are outputs, the
   * program fails with it once they are known
   */
  constructor(name: string, args: MlflowServerArgs, opts?: pulumi.ComponentResourceOptions) {
    const { settings, sound } = settle(name, args);
    // The server waits for what its arguments turn out to be, and its children wait for it.
    const waiting = { dependsOn: sound.apply(() => []) };
    super("mlflow:index:MlflowServer", name, {}, pulumi.mergeOptions(opts, waiting));

    const release = findRelease(settings["mlflow.version"]);
    const endpoint = endpointOf(settings);
    const part = { name, settings, parent: this };

    // One host has all roles.
    const host = prepareHost({ ...part, connection: connectionTo(settings), release, endpoint });
    const data = databaseNode({ ...part, host, release, account });
    const tracking = trackingNode({ ...part, host, release, account, data, endpoint });
    const { users, authority } = gateway({ ...part, host, endpoint, tracking });

    this.trackingUri = endpoint.names.apply(([first = ""]) => origin(first, endpoint.port, endpoint.secure));
    this.users = pulumi.secret(users);
    this.caCertificate = authority;
    this.clientEnv = pulumi.secret(
      pulumi
        .all([this.trackingUri, users, authority])
        .apply(([uri, passwords, ca]) => renderClientEnv(uri, settings.users[0] ?? "", passwords, ca !== "")),
    );
    this.mlflowVersion = pulumi.output(release.version);
    this.artifactsDirectory = settings["artifacts.directory"];
    this.databaseName = pulumi.output(data.database.name);
    this.registerOutputs({
      trackingUri: this.trackingUri,
      users: this.users,
      clientEnv: this.clientEnv,
      caCertificate: this.caCertificate,
      mlflowVersion: this.mlflowVersion,
      artifactsDirectory: this.artifactsDirectory,
      databaseName: this.databaseName,
    });
  }
}

/**
 * Variables that MLflow's client reads, for a shell, a dotenv file, docker's --env-file or systemd's EnvironmentFile: nothing in a
 * value is quoted or expanded by any of them.
 *
 * @param ownAuthority the client must be told whom to trust: the output `caCertificate`, put beside as mlflow-ca.pem
 */
export function renderClientEnv(
  uri: string,
  user: string,
  passwords: Readonly<Record<string, string>>,
  ownAuthority: boolean,
): string {
  return [
    `MLFLOW_TRACKING_URI=${uri}`,
    `MLFLOW_TRACKING_USERNAME=${user}`,
    `MLFLOW_TRACKING_PASSWORD=${passwords[user]}`,
    // Relative to where the client runs: not every reader of such files knows variables.
    ...(ownAuthority ? ["MLFLOW_TRACKING_SERVER_CERT_PATH=mlflow-ca.pem"] : []),
    "",
  ].join("\n");
}
