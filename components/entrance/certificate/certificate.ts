import type * as pulumi from "@pulumi/pulumi";
import { type HostArgs, Step } from "../../step/step";

/** Where private key and certificate chain are on the host; only root can read it. */
export const certificateFile = "/etc/mlflow-vps/server.pem";

export interface CertificateArgs extends HostArgs {
  /** Names and addresses that the certificate is for. */
  readonly names: pulumi.Input<readonly string[]>;
  /** Private key and certificate chain in PEM; none where an ACME client gets them. Changing it drops no request. */
  readonly pem?: pulumi.Input<string>;
  /** The check reports a certificate that expires within this many days. */
  readonly daysNeeded: number;
}

/** Private key and certificate on the host, which a running nginx loads without dropping a request. */
export class Certificate extends Step {
  constructor(name: string, args: CertificateArgs, opts?: pulumi.ComponentResourceOptions) {
    super(
      "mlflow:certificate:Certificate",
      name,
      {
        connection: args.connection,
        step: "certificate",
        folder: __dirname,
        scripts: ["certificate"],
        uses: ["commands", "nginx", "reload", "certificates"],
        settings: { names: args.names, daysNeeded: args.daysNeeded },
        payload: { certificateFile, pem: args.pem ?? "" },
      },
      opts,
    );
  }
}
