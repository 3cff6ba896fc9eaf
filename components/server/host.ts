import * as pulumi from "@pulumi/pulumi";
import { Packages } from "../host/packages/packages";
import { Preflight } from "../host/preflight/preflight";
import { Updates } from "../host/updates/updates";
import type { Connection } from "../step/ssh";
import type { Release } from "../tracking/runtime/release";
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

export interface HostPartArgs extends PartArgs {
  readonly release: Release;
  readonly endpoint: Endpoint;
}

/** The host is fit, and has the packages of the distribution and MLflow's release. */
export function prepareHost(args: HostPartArgs) {
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
  return { servers, runtime };
}

function checkHost({ name, connection, parent, settings, release, endpoint }: HostPartArgs): Preflight {
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

function serverPackages({ settings, endpoint }: HostPartArgs): string[] {
  return [
    ...["postgresql", "nginx", "libnginx-mod-http-lua", "curl", "logrotate", "openssl"],
    ...(endpoint.tls === "acme" ? ["certbot"] : []),
    ...(settings["updates.automatic"] ? ["unattended-upgrades"] : []),
    ...(settings.firewall ? ["nftables", "iproute2"] : []),
  ];
}
