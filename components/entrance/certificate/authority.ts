import { isIP } from "node:net";
import * as pulumi from "@pulumi/pulumi";
import * as tls from "@pulumi/tls";

const day = 24; // hours, in which the provider counts
/** Browsers and operating systems accept at most 825 days of a private authority, 398 of a public one. */
const serverDays = 397;
const authorityDays = 3650;

export interface AuthorityArgs {
  /** Names and addresses that the server's certificate is for. */
  readonly names: pulumi.Input<readonly string[]>;
}

/**
 * A certificate authority of the stack's own, and the server's certificate signed by it. An `up` in the last 60 days
 * of the server's certificate renews it. The authority's own lasts ten years, is renewed with the same key by an `up`
 * in the last two, and the clients' copy stays valid until it expires. The keys are in the state as secrets, the
 * server's on the host too.
 */
export class Authority extends pulumi.ComponentResource {
  /** The authority's certificate in PEM: what a client must trust. */
  public readonly certificate: pulumi.Output<string>;
  /** Private key and certificate of the server in PEM. Secret. */
  public readonly pem: pulumi.Output<string>;

  constructor(name: string, args: AuthorityArgs, opts?: pulumi.ComponentResourceOptions) {
    super("mlflow:certificate:Authority", name, {}, opts);

    const child = { parent: this };
    const key = (role: string) =>
      new tls.PrivateKey(`${name}-${role}`, { algorithm: "ECDSA", ecdsaCurve: "P256" }, child);
    const names = pulumi.output(args.names);

    const authorityKey = key("key");
    const authority = new tls.SelfSignedCert(
      `${name}-certificate`,
      {
        privateKeyPem: authorityKey.privateKeyPem,
        // Not the server's name: a change of it must not change what the clients trust.
        subject: { commonName: `mlflow-vps ${pulumi.getStack()}`.slice(0, 64) },
        isCaCertificate: true,
        allowedUses: ["cert_signing", "crl_signing"],
        validityPeriodHours: authorityDays * day,
        earlyRenewalHours: 730 * day,
      },
      child,
    );
    const serverKey = key("server-key");
    const request = new tls.CertRequest(
      `${name}-server-request`,
      {
        privateKeyPem: serverKey.privateKeyPem,
        subject: { commonName: names.apply(([first = ""]) => first.slice(0, 64)) },
        dnsNames: names.apply((all) => all.filter((host) => isIP(host) === 0)),
        ipAddresses: names.apply((all) => all.filter((host) => isIP(host) !== 0)),
      },
      child,
    );
    const server = new tls.LocallySignedCert(
      `${name}-server-certificate`,
      {
        certRequestPem: request.certRequestPem,
        caPrivateKeyPem: authorityKey.privateKeyPem,
        caCertPem: authority.certPem,
        allowedUses: ["digital_signature", "key_encipherment", "server_auth"],
        validityPeriodHours: serverDays * day,
        earlyRenewalHours: 60 * day,
      },
      child,
    );

    this.certificate = authority.certPem;
    this.pem = pulumi.secret(
      pulumi.all([serverKey.privateKeyPem, server.certPem]).apply((parts) => parts.join("").trimEnd()),
    );
    this.registerOutputs({ certificate: this.certificate });
  }
}
