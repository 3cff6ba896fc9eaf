import * as pulumi from "@pulumi/pulumi";
import { Packages } from "../host/packages/packages";
import { Preflight } from "../host/preflight/preflight";
import { Updates } from "../host/updates/updates";
import type { Connection } from "../step/ssh";
import type { Release } from "../tracking/release";
import { Runtime } from "../tracking/runtime/runtime";
import type { Endpoint } from "./endpoint";
import type { PartArgs } from "./part";
import type { Settings } from "./settings";

/** How to log in to the host. Secret as a whole. */
export function connectionTo(settings: Settings): pulumi.Output<Connection> {
  const login = pulumi.output({
    host: settings["host.address"],
    port: settings["host.port"],
    user: settings["host.user"],
    privateKey: settings["host.privateKey"],
    privateKeyPassword: settings["host.privateKeyPassphrase"],
    hostKey: settings["host.hostKey"],
  });
  return pulumi.secret(
    login.apply(({ host, port, user, privateKey, privateKeyPassword, hostKey }) => ({
      host,
      port,
      user,
      // A key read from a file may end without a newline, which OpenSSH's format demands.
      privateKey: `${privateKey}\n`,
      ...(privateKeyPassword === undefined ? {} : { privateKeyPassword }),
      hostKey,
    })),
  );
}

/** A host that is fit, with what its roles stand on. Today one has them all. */
export interface Host {
  /** With which the names of the resources on it begin. */
  readonly name: string;
  /** Where its roles reach each other. */
  readonly address: string;
  readonly connection: pulumi.Output<Connection>;
  /** The packages of PostgreSQL, nginx and of what they are run with. */
  readonly servers: Packages;
  /** MLflow's release. */
  readonly runtime: Runtime;
}

export interface PrepareHostArgs extends PartArgs {
  readonly connection: pulumi.Output<Connection>;
  readonly release: Release;
  readonly endpoint: Endpoint;
}

/** Looks whether the host is fit, and installs the packages of the distribution and MLflow's release. */
export function prepareHost(args: PrepareHostArgs): Host {
  const { name, connection, parent, settings, release } = args;
  const preflight = checkHost(args);
  // The runtime needs only Python, so it is installed beside the larger packages.
  const python = new Packages(
    `${name}-packages-python`,
    { connection, group: "python", packages: ["python3", "python3-venv", "ca-certificates"] },
    { parent, dependsOn: preflight },
  );
  const servers = new Packages(
    `${name}-packages-servers`,
    { connection, group: "servers", packages: serverPackages(args) },
    { parent, dependsOn: python },
  );
  if (settings["updates.automatic"]) {
    new Updates(
      `${name}-updates`,
      { connection, time: settings["updates.time"] },
      { parent, dependsOn: servers },
    );
  }
  const runtime = new Runtime(`${name}-runtime`, { connection, release }, { parent, dependsOn: python });
  return { name, address: "127.0.0.1", connection, servers, runtime };
}

function checkHost({ name, connection, parent, settings, release, endpoint }: PrepareHostArgs): Preflight {
  return new Preflight(
    `${name}-preflight`,
    {
      connection,
      release: release.directory,
      artifacts: settings["artifacts.directory"],
      ports: {
        proxy: endpoint.port,
        http: endpoint.httpPort,
        service: settings["service.port"],
        database: settings["database.port"],
      },
    },
    { parent },
  );
}

function serverPackages({ settings, endpoint }: PrepareHostArgs): string[] {
  return [
    ...["postgresql", "nginx", "libnginx-mod-http-lua", "curl", "logrotate", "openssl"],
    ...(endpoint.tls === "acme" ? ["certbot"] : []),
    ...(settings["updates.automatic"] ? ["unattended-upgrades"] : []),
    ...(settings.firewall ? ["nftables", "iproute2"] : []),
  ];
}
