import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import { Acme, challengeDirectory } from "./acme/acme";
import { Adoption } from "./adoption/adoption";
import { Authority } from "./certificate/authority";
import { Certificate, certificateFile } from "./certificate/certificate";
import type { Config } from "./config";
import { Database } from "./database/database";
import { Firewall } from "./firewall/firewall";
import { Packages } from "./packages/packages";
import { Preflight } from "./preflight/preflight";
import { type Entrance, hostHeaders, origin } from "./proxy/render";
import { ReverseProxy } from "./proxy/reverseProxy";
import { findRelease, Runtime } from "./runtime/runtime";
import { Service, upstreamFile } from "./service/service";
import { Updates } from "./updates/updates";

const serverPackages = ["postgresql", "nginx", "libnginx-mod-http-lua", "curl", "logrotate", "openssl"];

/** System user that the service runs as. */
const account = "mlflow";

/** An MLflow tracking server on one host: the tutorial's steps in order, and the secrets they share. */
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

  constructor(name: string, config: Config, opts?: pulumi.ComponentResourceOptions) {
    super("mlflow:index:MlflowServer", name, {}, opts);

    const child = { parent: this };
    const after = (...steps: pulumi.Resource[]) => ({ parent: this, dependsOn: steps });
    const { connection, tls } = config;
    const release = findRelease(config.mlflowVersion);
    const database = { name: config.databaseName, role: config.databaseName, port: config.databasePort };
    const names = config.domain === undefined ? [config.address] : [config.domain, config.address];
    const entrance: Entrance = { names, port: config.proxyPort, secure: tls.mode !== "none" };
    // The service knows all addresses that TLS on or off may lead to, so switching it restarts nothing.
    const ports = [...new Set([80, 443, config.proxyPort])];
    const origins = [true, false].flatMap((secure) =>
      names.flatMap((host) => ports.map((port) => origin(host, port, secure))),
    );

    const databasePassword = password(`${name}-database-password`, config.databaseRotation, child);
    const encryptionPassphrase = password(`${name}-encryption-passphrase`, 1, child);
    const users = Object.fromEntries(
      config.users.map((user) => [user.name, password(`${name}-user-${user.name}`, user.rotation, child)]),
    );

    const authority =
      tls.mode === "selfSigned" ? new Authority(`${name}-authority`, { names }, child) : undefined;

    const preflight = new Preflight(
      `${name}-preflight`,
      {
        connection,
        release: release.directory,
        artifacts: config.artifactsDirectory,
        ports: {
          proxy: config.proxyPort,
          http: config.httpPort,
          service: config.servicePort,
          database: config.databasePort,
        },
      },
      child,
    );
    // The runtime needs only Python, so it is installed beside the larger packages.
    const python = new Packages(
      `${name}-packages-python`,
      { connection, group: "python", packages: ["python3", "python3-venv", "ca-certificates"] },
      after(preflight),
    );
    const servers = new Packages(
      `${name}-packages-servers`,
      {
        connection,
        group: "servers",
        packages: [
          ...serverPackages,
          ...(tls.mode === "acme" ? ["certbot"] : []),
          ...(config.automaticUpdates ? ["unattended-upgrades"] : []),
          ...(config.firewall ? ["nftables", "iproute2"] : []),
        ],
      },
      after(python),
    );
    if (config.automaticUpdates) {
      new Updates(`${name}-updates`, { connection, time: config.updatesTime }, after(servers));
    }
    const runtime = new Runtime(`${name}-runtime`, { connection, release }, after(python));
    const adoption = new Adoption(
      `${name}-adoption`,
      {
        connection,
        release,
        account,
        database: database.name,
        databasePort: database.port,
        artifacts: config.artifactsDirectory,
      },
      // When it stops the old server, everything that the new one needs is there.
      after(runtime, servers),
    );
    const databaseStep = new Database(
      `${name}-database`,
      {
        connection,
        database: database.name,
        role: database.role,
        port: database.port,
        password: databasePassword,
        account,
        deleteData: config.deleteData,
      },
      after(adoption),
    );
    const service = new Service(
      `${name}-service`,
      {
        connection,
        release,
        releaseGeneration: runtime.generation,
        account,
        database,
        artifacts: config.artifactsDirectory,
        port: config.servicePort,
        allowedHosts: hostHeaders(names, ports),
        origins,
        workers: config.workers,
        jobs: config.jobs,
        encryptionPassphrase,
        deleteData: config.deleteData,
      },
      after(databaseStep),
    );
    const certificate =
      tls.mode === "none"
        ? []
        : [
            new Certificate(
              `${name}-certificate`,
              {
                connection,
                names,
                pem: authority?.pem ?? (tls.mode === "provided" ? tls.pem : undefined),
                // Only the stack's own is renewed by the next up; certbot looks after its own, and a person after a
                // provided one.
                daysNeeded: tls.mode === "selfSigned" ? 14 : 0,
              },
              after(servers),
            ),
          ];
    const proxy = new ReverseProxy(
      `${name}-proxy`,
      {
        connection,
        ...entrance,
        httpPort: config.httpPort,
        upstreamFile,
        certificateFile,
        challengeDirectory: tls.mode === "acme" ? challengeDirectory : undefined,
        strictTransport: config.domain !== undefined && (tls.mode === "acme" || tls.mode === "provided"),
        users: pulumi.all(users),
      },
      after(service, ...certificate),
    );
    const open = [];
    if (config.firewall) {
      const firewall = {
        connection,
        ports: [config.proxyPort, ...(config.httpPort === undefined ? [] : [config.httpPort])],
      };
      const trial = new Firewall(`${name}-firewall-trial`, { ...firewall, phase: "trial" }, after(proxy));
      open.push(new Firewall(`${name}-firewall-kept`, { ...firewall, phase: "kept" }, after(trial)));
    }
    if (tls.mode === "acme") {
      new Acme(`${name}-acme`, { connection, ...tls, certificateFile }, after(proxy, ...open));
    }

    this.trackingUri = pulumi.output(origin(names[0] ?? config.address, config.proxyPort, entrance.secure));
    this.caCertificate = pulumi.output(
      authority?.certificate ?? (tls.mode === "provided" ? tls.authority : undefined) ?? "",
    );
    this.users = pulumi.secret(pulumi.all(users));
    this.clientEnv = pulumi.secret(
      pulumi
        .all([this.trackingUri, this.users, this.caCertificate])
        .apply(([uri, passwords, ca]) =>
          renderClientEnv(uri, config.users[0]?.name ?? "", passwords, ca !== ""),
        ),
    );
    this.mlflowVersion = pulumi.output(release.version);
    this.artifactsDirectory = pulumi.output(config.artifactsDirectory);
    this.databaseName = pulumi.output(database.name);
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

/** 32 letters and digits: 190 bits. Raising `rotation` makes a new one. */
function password(name: string, rotation: number, opts: pulumi.CustomResourceOptions): pulumi.Output<string> {
  const keepers = { rotation: String(rotation) };
  return new random.RandomPassword(name, { length: 32, special: false, keepers }, opts).result;
}

/**
 * Variables that MLflow's client reads, for a shell or a dotenv file; no value needs quoting.
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
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the reader of the file puts the directory in
    ...(ownAuthority ? ["MLFLOW_TRACKING_SERVER_CERT_PATH=${PWD}/mlflow-ca.pem"] : []),
    "",
  ].join("\n");
}
