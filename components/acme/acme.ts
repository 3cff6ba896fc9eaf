import { join } from "node:path";
import type * as pulumi from "@pulumi/pulumi";
import { managed } from "../step/script";
import { type HostArgs, Step } from "../step/step";

/** Where certbot puts its answers to the certificate authority; nginx serves them on port 80. */
export const challengeDirectory = "/var/lib/mlflow-vps/acme";

export interface AcmeArgs extends HostArgs {
  /** Public name that the certificate is for. */
  readonly domain: string;
  /** Mail address of the account; without one the authority can not write to anybody. */
  readonly email?: string;
  /** Directory URL of the certificate authority (RFC 8555). */
  readonly directory: string;
  /** Where nginx expects private key and certificate chain. */
  readonly certificateFile: string;
}

/** A certificate of a public authority by certbot, renewed by its own timer; a hook hands each new one to nginx. */
export class Acme extends Step {
  constructor(name: string, args: AcmeArgs, opts?: pulumi.ComponentResourceOptions) {
    super(
      "mlflow:acme:Acme",
      name,
      {
        connection: args.connection,
        step: "acme",
        script: join(__dirname, "acme.sh"),
        settings: { domain: args.domain, email: args.email ?? "", directory: args.directory },
        payload: {
          certificateFile: args.certificateFile,
          challengeDirectory,
          hook: renderHook(args.certificateFile),
        },
      },
      opts,
    );
  }
}

/** What certbot runs after it got a certificate: the new one takes the old one's place whole, then nginx reloads. */
export function renderHook(certificateFile: string): string {
  return `#!/bin/sh
${managed}
set -eu
umask 077
partial=$(mktemp ${certificateFile}.XXXXXX)
trap 'rm -f "$partial"' EXIT
cat "$RENEWED_LINEAGE/privkey.pem" "$RENEWED_LINEAGE/fullchain.pem" >"$partial"
mv -f "$partial" ${certificateFile}
systemctl reload nginx.service`;
}
