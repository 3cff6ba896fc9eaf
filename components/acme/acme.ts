import { dirname, join } from "node:path";
import type * as pulumi from "@pulumi/pulumi";
import { drainFile, managed } from "../step/script";
import { type HostArgs, Step } from "../step/step";

/** Where certbot puts its answers to the certificate authority; nginx serves them on port 80. */
export const challengeDirectory = "/var/lib/mlflow-vps/acme";

/** What certbot calls the certificate, and so where it keeps it. */
const lineage = "mlflow-vps";
/** certbot runs what is in this directory after each renewal, whichever certificate it is for. */
const hookFile = "/etc/letsencrypt/renewal-hooks/deploy/mlflow-vps";

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
          lineage,
          hookFile,
          hook: renderHook(args.certificateFile),
        },
      },
      opts,
    );
  }
}

/**
 * What certbot runs after a renewal: the new certificate takes the old one's place whole, then nginx reloads, once
 * clients have had the time to end their connections themselves. When the reload fails, the check of the certificate
 * names it.
 */
export function renderHook(certificateFile: string): string {
  return `#!/bin/sh
${managed}
set -eu
[ "$RENEWED_LINEAGE" = /etc/letsencrypt/live/${lineage} ] || exit 0
partial=$(mktemp ${certificateFile}.XXXXXX)
trap 'rm -f "$partial" ${drainFile}' EXIT
trap 'exit 1' HUP INT TERM
cat "$RENEWED_LINEAGE/privkey.pem" "$RENEWED_LINEAGE/fullchain.pem" >"$partial"
mv -f "$partial" ${certificateFile}
systemctl is-active --quiet nginx.service || exit 0
install -d -m 0755 ${dirname(drainFile)}
: >${drainFile}
sleep 3
systemctl reload nginx.service
sleep 3`;
}
