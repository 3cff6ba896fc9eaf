import * as pulumi from "@pulumi/pulumi";
import { type HostArgs, Step } from "../../step/step";
import { readPython } from "../../step/text";
import { type Entrance, origin, renderSite } from "./render";

export interface ReverseProxyArgs extends HostArgs, Omit<Entrance, "names"> {
  /** Names and addresses; the first is the one in the tracking URI. */
  readonly names: pulumi.Input<readonly string[]>;
  /** File with the address of the service, in nginx's syntax; the service step writes it. */
  readonly upstreamFile: string;
  /** File with private key and certificate chain, used where the port speaks TLS. */
  readonly certificateFile: string;
  /** TCP port whose requests are redirected to HTTPS; none without it. */
  readonly httpPort?: number;
  /** Directory of the ACME client's answers, served on the HTTP port; nothing where there is none. */
  readonly challengeDirectory?: string;
  /** Tell browsers to use nothing but HTTPS for a year. */
  readonly strictTransport: boolean;
  /** The users: name to password. A change takes effect at once and drops no request. */
  readonly users: pulumi.Input<Readonly<Record<string, string>>>;
}

/** nginx in front of the service: TLS, the users' passwords, streaming of large artifacts, the closed paths. */
export class ReverseProxy extends Step {
  constructor(name: string, args: ReverseProxyArgs, opts?: pulumi.ComponentResourceOptions) {
    const usersFile = "/etc/mlflow-vps/htpasswd";
    const names = pulumi.output(args.names);
    super(
      "mlflow:proxy:ReverseProxy",
      name,
      {
        connection: args.connection,
        step: "proxy",
        folder: __dirname,
        scripts: ["users", "site", "obstacles", "answers", "proxy"],
        uses: ["commands", "systemd", "nginx", "reload"],
        settings: {
          names,
          port: args.port,
          secure: args.secure,
          ...(args.httpPort === undefined ? {} : { httpPort: args.httpPort }),
        },
        payload: {
          users: args.users,
          usersFile,
          site: names.apply((all) => renderSite({ ...args, names: all, usersFile })),
          certificateFile: args.certificateFile,
          rivals: readPython(__dirname, "rivals.py"),
          uri: names.apply(([first = ""]) => origin(first, args.port, args.secure)),
        },
      },
      opts,
    );
  }
}
