import type * as pulumi from "@pulumi/pulumi";
import { hostHeaders, origin } from "../entrance/proxy/render";
import { httpPort, proxyPort, tlsMode } from "../schema/derived";
import type { Settings } from "./settings";

/** Where clients reach the server. */
export interface Endpoint {
  /** Names and addresses; the first is the one in the tracking URI. */
  readonly names: pulumi.Output<readonly string[]>;
  /** TCP port that clients use. */
  readonly port: number;
  /** TCP port where plain HTTP is redirected to HTTPS; nothing where it is not. */
  readonly httpPort?: number;
  /** Where the certificate comes from. */
  readonly tls: ReturnType<typeof tlsMode>;
  /** Whether the port speaks TLS. */
  readonly secure: boolean;
}

export function endpointOf(settings: Settings): Endpoint {
  const tls = tlsMode(settings);
  return {
    names: settings["host.address"].apply((address) =>
      settings.domain === undefined ? [address] : [settings.domain, address],
    ),
    port: proxyPort(settings),
    httpPort: httpPort(settings),
    tls,
    secure: tls !== "none",
  };
}

/** What a client may name in its request: all that TLS on or off may lead to, so switching it restarts nothing. */
export function namesInRequests({ names, port }: Endpoint) {
  const ports = [...new Set([80, 443, port])];
  return {
    allowedHosts: names.apply((all) => hostHeaders(all, ports)),
    origins: names.apply((all) =>
      [true, false].flatMap((secure) =>
        all.flatMap((host) => ports.map((each) => origin(host, each, secure))),
      ),
    ),
  };
}
