/** What several settings together determine. */
import type { Values } from "./schema";

/** Names for which no public authority gives certificates. Source: IANA's special-use domain names, RFC 6762. */
const privateNames =
  /(^|\.)(local|localhost|internal|intranet|private|corp|home|lan|test|example|invalid|onion|home\.arpa)$/;

/** `tls.mode`, chosen where it is left to the program. */
export function tlsMode({
  "tls.mode": mode,
  domain,
}: Pick<Values, "tls.mode" | "domain">): Exclude<Values["tls.mode"], "auto"> {
  if (mode !== "auto") {
    return mode;
  }
  return domain?.includes(".") && !privateNames.test(domain) ? "acme" : "selfSigned";
}

/** The TCP port that clients use. */
export function proxyPort(values: Pick<Values, "proxy.port" | "tls.mode" | "domain">): number {
  const { "proxy.port": port } = values;
  return port === "auto" ? (tlsMode(values) === "none" ? 80 : 443) : port;
}

/** The TCP port where plain HTTP is redirected to HTTPS; nothing where it is not. */
export function httpPort(values: Pick<Values, "proxy.httpPort" | "tls.mode" | "domain">): number | undefined {
  const { "proxy.httpPort": port } = values;
  return tlsMode(values) === "none" || port === 0 ? undefined : port;
}
