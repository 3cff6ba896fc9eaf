// Made by 'npm run generate' from components/schema/schema.ts: change it there.
import type * as pulumi from "@pulumi/pulumi";

/**
 * The arguments of `MlflowServer`. All wrong values are reported at once, before any connection is opened. What may be an
 * output of another resource is a `pulumi.Input`; the rest decides which resources are created.
 */
export interface MlflowServerArgs {
  readonly host: {
    /**
     * Address or name of the VPS.
     *
     * Value: an IPv4 or IPv6 address or a host name.
     *
     * Changing it: Sets up the server on the new host; the old one stays as it is. Clients have to
     * reconnect.
     */
    readonly address: pulumi.Input<string>;
    /**
     * TCP port of SSH.
     *
     * Value: a whole number from 1 to 65535.
     *
     * Changing it: Every step runs once more on the host and finds nothing to do.
     *
     * @default 22
     */
    readonly port?: pulumi.Input<number>;
    /**
     * Login name: root, or a user with passwordless sudo.
     *
     * Value: a login name of lower-case letters, digits, '-' and '_', up to 32.
     *
     * Changing it: Every step runs once more on the host and finds nothing to do.
     */
    readonly user: pulumi.Input<string>;
    /**
     * The only SSH host key that is accepted, ed25519 or ecdsa.
     *
     * Value: one line 'ssh-ed25519 AAAA…' or 'ecdsa-sha2-nistp256 AAAA…' ('./mlflow-vps configure user@host'
     * writes it).
     *
     * Changing it: Every step runs once more on the host and finds nothing to do.
     */
    readonly hostKey: pulumi.Input<string>;
    /**
     * Private SSH key of the login.
     *
     * Value: a private SSH key in OpenSSH or PEM format. Kept secret in the state.
     *
     * Changing it: Every step runs once more on the host and finds nothing to do.
     */
    readonly privateKey: pulumi.Input<string>;
    /**
     * Passphrase of the private SSH key, where it has one.
     *
     * Value: the passphrase of the private key. Kept secret in the state.
     *
     * Changing it: Every step runs once more on the host and finds nothing to do.
     */
    readonly privateKeyPassphrase?: pulumi.Input<string>;
  };
  /**
   * Host name of the server, in place of the address in the tracking URI and the certificate.
   *
   * Value: a host name.
   *
   * Changing it: The certificate is issued for the new name, to which clients connect from then on. A new
   * instance starts beside the running one and takes over. No request is dropped.
   */
  readonly domain?: string;
  /**
   * Who may use the server; each gets a generated password.
   *
   * Value: a list of one or more different names, each a lower-case letter, then up to 31 of a-z 0-9 . _ -.
   *
   * Changing it: A new user gets a password, a removed one is refused from then on. Nothing restarts.
   *
   * @default ["mlflow"]
   */
  readonly users?: readonly string[];
  readonly mlflow?: {
    /**
     * Version of MLflow, one of those with a lock in `components/tracking/runtime/locks`.
     *
     * Value: one of 2.22.2, 3.16.1, 3.17.2.
     *
     * Changing it: The new version is installed beside the old one; the migration of the database is
     * rehearsed on a copy, then done after a dump. An older one whose schema is older is refused. No request
     * is dropped.
     *
     * @default "3.17.2"
     */
    readonly version?: "2.22.2" | "3.16.1" | "3.17.2";
  };
  readonly service?: {
    /**
     * Worker processes. `auto`: 1, with 3.5 GB of memory 2, with 7 GB 4.
     *
     * Value: auto (by the host's memory), or a whole number from 1 to 16.
     *
     * Changing it: A new instance starts beside the running one and takes over. No request is dropped. From
     * 8 or fewer to more, PostgreSQL is restarted for more connections, once.
     *
     * @default "auto"
     */
    readonly workers?: "auto" | number;
    /**
     * MLflow's job runner (server-side scorers, GenAI evaluation). `auto`: on with 7 GB of memory or more.
     *
     * Value: auto (by the host's memory), or true or false.
     *
     * Changing it: A new instance starts beside the running one and takes over. No request is dropped.
     *
     * @default "auto"
     */
    readonly jobs?: "auto" | boolean;
    /**
     * First of the service's two TCP ports on 127.0.0.1: a new instance starts on the free one.
     *
     * Value: a whole number from 1024 to 65535.
     *
     * Changing it: A new instance starts beside the running one and takes over. No request is dropped.
     *
     * @default 5000
     */
    readonly port?: number;
  };
  readonly tls?: {
    /**
     * Where the certificate comes from. `auto` is `acme` with a public `domain`, and `selfSigned` without
     * one.
     *
     * Value: one of auto, selfSigned, acme, provided, none.
     *
     * Changing it: nginx loads the new certificate. When its authority is another, clients need the new
     * `clientEnv`.
     *
     * @default "auto"
     */
    readonly mode?: "auto" | "selfSigned" | "acme" | "provided" | "none";
    /**
     * Must be true for `tls.mode` none, which sends passwords and data over the network in clear text.
     *
     * Value: true or false.
     *
     * Changing it: Nothing on the host.
     *
     * @default false
     */
    readonly allowPlainHttp?: boolean;
    /**
     * With `acme`: email address of the account at the certificate authority.
     *
     * Value: an email address.
     *
     * Changing it: The account is updated.
     */
    readonly email?: string;
    /**
     * With `acme`: directory URL of the certificate authority (RFC 8555).
     *
     * Value: the https:// URL of an ACME directory.
     *
     * Changing it: Gets a new certificate.
     *
     * @default "https://acme-v02.api.letsencrypt.org/directory"
     */
    readonly acmeDirectory?: string;
    /**
     * With `provided`: the server's certificate, and the chain to its authority.
     *
     * Value: a certificate in PEM, followed by the chain to its authority.
     *
     * Changing it: nginx loads the new one. No request is dropped.
     */
    readonly certificate?: pulumi.Input<string>;
    /**
     * With `provided`: private key of the certificate.
     *
     * Value: the certificate's private key in PEM, without a passphrase. Kept secret in the state.
     *
     * Changing it: nginx loads the new one. No request is dropped.
     */
    readonly privateKey?: pulumi.Input<string>;
  };
  readonly proxy?: {
    /**
     * TCP port that clients use.
     *
     * Value: auto (443, or 80 without TLS), or a whole number from 1 to 65535.
     *
     * Changing it: Clients connect to the new port, and the old one is closed. A new instance starts beside
     * the running one and takes over. No request is dropped.
     *
     * @default "auto"
     */
    readonly port?: "auto" | number;
    /**
     * TCP port where plain HTTP is redirected to HTTPS; 0 for none, for example where another program has
     * port 80. With `acme` the certificate authority must reach it as port 80.
     *
     * Value: a whole number from 0 to 65535.
     *
     * Changing it: nginx listens on the new port in place of the old one. Nothing restarts.
     *
     * @default 80
     */
    readonly httpPort?: number;
  };
  readonly database?: {
    /**
     * Name of the database and of the role that owns it. An existing one is adopted with its rows.
     *
     * Value: a lower-case letter, then up to 62 of a-z 0-9 _, not a name that PostgreSQL reserves or that
     * rehearsals use (mlflow_vps_rehearsal).
     *
     * Changing it: Creates a new database; the old one stays.
     *
     * @default "mlflow"
     */
    readonly name?: string;
    /**
     * TCP port of PostgreSQL on 127.0.0.1, by which the cluster is chosen. A cluster with other databases
     * keeps its own listen addresses and is never restarted.
     *
     * Value: a whole number from 1024 to 65535.
     *
     * Changing it: Creates a new database in the cluster of that port; the old one stays.
     *
     * @default 5432
     */
    readonly port?: number;
  };
  readonly artifacts?: {
    /**
     * Where the artifacts are on the host.
     *
     * Value: a directory of its own below /srv, /mnt, /media, /data or /var/lib/mlflow (but not its tmp),
     * without spaces.
     *
     * Changing it: Nothing is moved: the old directory stays as it is.
     *
     * @default "/var/lib/mlflow/artifacts"
     */
    readonly directory?: pulumi.Input<string>;
  };
  readonly data?: {
    /**
     * Let `destroy` delete database and artifacts.
     *
     * Value: true or false.
     *
     * Changing it: Nothing on the host. `destroy` uses what was last applied, so run `pulumi up` first.
     *
     * @default false
     */
    readonly deleteOnDestroy?: boolean;
  };
  readonly updates?: {
    /**
     * Install security updates of the host's packages each day.
     *
     * Value: true or false.
     *
     * Changing it: With `false`, the distribution's own settings apply again. Nothing restarts.
     *
     * @default true
     */
    readonly automatic?: boolean;
    /**
     * When they are installed, in the host's time zone.
     *
     * Value: a time of the day as HH:MM, 00:00 to 23:59.
     *
     * Changing it: Starts nothing.
     *
     * @default "04:00"
     */
    readonly time?: string;
  };
  /**
   * Close every port but those of SSH, `proxy.port` and `proxy.httpPort`.
   *
   * Value: true or false.
   *
   * Changing it: Takes effect at once; rules that would lock SSH out undo themselves. No connection ends.
   *
   * @default false
   */
  readonly firewall?: boolean;
  readonly rotation?: {
    /**
     * Number of the database's password.
     *
     * Value: a whole number from 1 to 999999.
     *
     * Changing it: Raising it generates a new password. Nothing restarts.
     *
     * @default 1
     */
    readonly database?: number;
    /**
     * Number of this user's password.
     *
     * Value: a whole number from 1 to 999999.
     *
     * Changing it: Raising it generates a new password; the old one is refused from then on. Nothing
     * restarts.
     *
     * @default 1
     */
    readonly users?: Readonly<Record<string, number>>;
  };
}
