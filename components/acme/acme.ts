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
  readonly domain: pulumi.Input<string>;
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
 * clients have had the time to end their connections themselves. It takes the lock of the library's reload_nginx, so
 * that neither takes the other's flag away. When the reload fails, the check of the certificate names it.
 */
export function renderHook(certificateFile: string): string {
  const runDirectory = dirname(drainFile);
  return `#!/bin/sh
${managed}
set -eu
[ "$RENEWED_LINEAGE" = /etc/letsencrypt/live/${lineage} ] || exit 0
install -d -m 0755 ${runDirectory}
exec 8>${runDirectory}/reload
flock --timeout 600 8 || {
  echo "cannot lock ${runDirectory}/reload within 10 minutes; when no reload of nginx is in progress any more, 'pulumi up --refresh' hands the certificate over" >&2
  exit 1
}
partial=${certificateFile}.renewed
trap 'rm -f "$partial" ${drainFile}' EXIT
trap 'exit 1' HUP INT TERM
rm -f "$partial"
(umask 077 && cat "$RENEWED_LINEAGE/privkey.pem" "$RENEWED_LINEAGE/fullchain.pem" >"$partial")
mv -f "$partial" ${certificateFile}
state=$(systemctl show --property ActiveState --value nginx.service)
case $state in active | reloading | refreshing) ;; *) exit 0 ;; esac
: >${drainFile}
sleep 3
systemctl reload nginx.service
sleep 3`;
}
