import { join } from "node:path";
import type * as pulumi from "@pulumi/pulumi";
import { type HostArgs, Step } from "../step/step";
import { hostHeaders, renderSite } from "./render";

export interface ReverseProxyArgs extends HostArgs {
  /** Names and addresses by which clients reach the server; the first is the one in the tracking URI. */
  readonly names: readonly string[];
  /** TCP port that nginx listens on. */
  readonly port: number;
  /** TCP port of the service on 127.0.0.1. */
  readonly servicePort: number;
  /** Who may enter: name to password. A change takes effect at once and drops no request. */
  readonly users: pulumi.Input<Readonly<Record<string, string>>>;
}

/** nginx in front of the service: the users' passwords, streaming of large artifacts, the closed paths. */
export class ReverseProxy extends Step {
  constructor(name: string, args: ReverseProxyArgs, opts?: pulumi.ComponentResourceOptions) {
    const usersFile = "/etc/mlflow-vps/htpasswd";
    super(
      "mlflow:proxy:ReverseProxy",
      name,
      {
        connection: args.connection,
        step: "proxy",
        script: join(__dirname, "proxy.sh"),
        settings: { names: args.names, port: args.port },
        payload: {
          users: args.users,
          usersFile,
          site: renderSite({ ...args, usersFile }),
          hostHeader: hostHeaders(args.names, args.port)[args.port === 80 ? 0 : 1] ?? "",
        },
      },
      opts,
    );
  }
}
