import { createPrivateKey, X509Certificate } from "node:crypto";
import { isIP } from "node:net";

/** What is wrong with a certificate, or with the private key that came with it. */
export interface CertificateProblem {
  readonly of: "certificate" | "privateKey";
  readonly reason: string;
}

/** What keeps clients of this name or address from accepting a certificate, its chain after it. */
export function certificateProblems(name: string, chain: string, privateKey: string): CertificateProblem[] {
  const certificate = attempt(() => new X509Certificate(chain));
  const key = attempt(() => createPrivateKey(privateKey));
  if (certificate === undefined) {
    return [
      { of: "certificate", reason: "must be a certificate in PEM, followed by the chain to its authority" },
    ];
  }
  if (key === undefined) {
    return [
      { of: "privateKey", reason: "must be the certificate's private key in PEM, without a passphrase" },
    ];
  }
  if (!certificate.checkPrivateKey(key)) {
    return [{ of: "privateKey", reason: "does not belong to the certificate" }];
  }
  const covers = isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name);
  const expired = Date.parse(certificate.validTo) < Date.now();
  return [
    ...(covers ? [] : [`must be for ${name} (got one for ${certificate.subjectAltName ?? "nothing"})`]),
    ...(expired ? [`expired on ${certificate.validTo}`] : []),
  ].map((reason) => ({ of: "certificate", reason }));
}

/** The certificate at the end of the chain when it signed itself, so that clients cannot know it already. */
export function ownAuthority(chain: string): string | undefined {
  const last = chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)?.at(-1);
  const parsed = last === undefined ? undefined : attempt(() => new X509Certificate(last));
  return parsed?.checkIssued(parsed) ? `${last}\n` : undefined;
}

/** Nothing where it throws: Node tells a text that is no certificate or key by an error. */
function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}
