import * as pulumi from "@pulumi/pulumi";
import { Acme, challengeDirectory } from "../entrance/acme/acme";
import { Authority } from "../entrance/certificate/authority";
import { Certificate, certificateFile } from "../entrance/certificate/certificate";
import { ownAuthority } from "../entrance/certificate/provided";
import { ReverseProxy } from "../entrance/proxy/reverseProxy";
import { Firewall } from "../host/firewall/firewall";
import { schema } from "../schema/schema";
import type { Endpoint } from "./endpoint";
import { password, type RoleArgs } from "./part";
import type { TrackingNode } from "./trackingNode";

export interface GatewayArgs extends RoleArgs {
  readonly endpoint: Endpoint;
  readonly tracking: TrackingNode;
}

/** What a client needs: a name and a password, and whom to trust. */
export interface ClientAccess {
  /** User name to password. */
  readonly users: pulumi.Output<Record<string, string>>;
  /** The certificate in PEM that clients must trust; empty where they know its authority already. */
  readonly authority: pulumi.Output<string>;
}

/** Lets users in: nginx with TLS and their passwords, and the firewall. */
export function gateway(args: GatewayArgs): ClientAccess {
  const users = pulumi.all(passwords(args));
  const { pem, authority } = issueCertificate(args);
  const certificate = args.endpoint.secure ? [installCertificate(args, pem)] : [];
  const proxy = installProxy(args, users, certificate);
  const firewall = args.settings.firewall ? [closePorts(args, proxy)] : [];
  if (args.endpoint.tls === "acme") {
    requestCertificate(args, [proxy, ...firewall]);
  }
  return { users, authority };
}

function passwords(args: GatewayArgs): Record<string, pulumi.Output<string>> {
  const { users, "rotation.users.<name>": rotations } = args.settings;
  const { default: first } = schema["rotation.users.<name>"];
  return Object.fromEntries(
    users.map((user) => [user, password(args, `user-${user}`, rotations[user] ?? first)]),
  );
}

/** Private key and certificate chain in PEM, where they do not come later or not at all. */
function issueCertificate({ name, parent, settings, endpoint }: GatewayArgs): {
  readonly pem?: pulumi.Output<string>;
  readonly authority: pulumi.Output<string>;
} {
  const { "tls.certificate": chain, "tls.privateKey": key } = settings;
  switch (endpoint.tls) {
    case "selfSigned": {
      const own = new Authority(`${name}-authority`, { names: endpoint.names }, { parent });
      return { pem: own.pem, authority: own.certificate };
    }
    case "provided":
      return {
        pem: pulumi.secret(
          pulumi.all([key, chain]).apply((parts) => parts.map((pem = "") => pem.trim()).join("\n")),
        ),
        authority: chain.apply((pem = "") => ownAuthority(pem) ?? ""),
      };
    default:
      return { authority: pulumi.output("") };
  }
}

function installCertificate(
  { parent, host, endpoint }: GatewayArgs,
  pem: pulumi.Output<string> | undefined,
): Certificate {
  return new Certificate(
    `${host.name}-certificate`,
    {
      connection: host.connection,
      names: endpoint.names,
      pem,
      // Only the stack's own is renewed by the next up; certbot looks after its own, and a person after a provided one.
      daysNeeded: endpoint.tls === "selfSigned" ? 14 : 0,
    },
    { parent, dependsOn: host.servers },
  );
}

function installProxy(
  { parent, host, settings, endpoint, tracking }: GatewayArgs,
  users: pulumi.Output<Record<string, string>>,
  certificate: readonly Certificate[],
): ReverseProxy {
  const { names, port, httpPort, secure, tls } = endpoint;
  return new ReverseProxy(
    `${host.name}-proxy`,
    {
      connection: host.connection,
      names,
      port,
      secure,
      httpPort,
      upstreamFile: tracking.upstream,
      certificateFile,
      challengeDirectory: tls === "acme" ? challengeDirectory : undefined,
      strictTransport: settings.domain !== undefined && (tls === "acme" || tls === "provided"),
      users,
    },
    { parent, dependsOn: [tracking.ready, ...certificate] },
  );
}

function closePorts({ parent, host, endpoint }: GatewayArgs, proxy: ReverseProxy): Firewall {
  const { port, httpPort } = endpoint;
  const rules = { connection: host.connection, ports: [port, ...(httpPort === undefined ? [] : [httpPort])] };
  const trial = new Firewall(
    `${host.name}-firewall-trial`,
    { ...rules, phase: "trial" },
    { parent, dependsOn: proxy },
  );
  return new Firewall(
    `${host.name}-firewall-kept`,
    { ...rules, phase: "kept" },
    { parent, dependsOn: trial },
  );
}

function requestCertificate(
  { parent, host, settings, endpoint }: GatewayArgs,
  dependsOn: pulumi.Resource[],
): Acme {
  return new Acme(
    `${host.name}-acme`,
    {
      connection: host.connection,
      domain: endpoint.names.apply(([first = ""]) => first),
      email: settings["tls.email"],
      directory: settings["tls.acmeDirectory"],
      certificateFile,
    },
    { parent, dependsOn },
  );
}
