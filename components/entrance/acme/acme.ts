import type * as pulumi from "@pulumi/pulumi";
import { declare, managed, readScripts } from "../../step/script";
import { type HostArgs, Step } from "../../step/step";

/** Where certbot puts its answers to the certificate authority; nginx serves them on port 80. */
export const challengeDirectory = "/var/lib/mlflow-vps/acme";

/** certbot's name for the certificate, and so for its directories. */
const lineage = "mlflow-vps";
/** certbot runs what is in this directory after each renewal, whichever certificate it is for. */
const hookFile = "/etc/letsencrypt/renewal-hooks/deploy/mlflow-vps";

export interface AcmeArgs extends HostArgs {
  /** Public name that the certificate is for. */
  readonly domain: pulumi.Input<string>;
  /** Mail address of the account; without one the authority has nobody to write to. */
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
        folder: __dirname,
        scripts: ["acme"],
        uses: ["commands", "systemd", "nginx", "certificates"],
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
 * What certbot runs after a renewal: the new certificate takes the old one's place, then nginx reloads. It is made of the
 * same library as the steps, so that there is one way to reload, under one lock.
 */
export function renderHook(certificateFile: string): string {
  const values = { step: "acme", lineage, certificateFile };
  const body = readScripts({ folder: __dirname, scripts: ["hook"] });
  return ["#!/bin/bash", managed, declare(values, ["reload"], body), "hand_over </dev/null"].join("\n");
}
