import * as pulumi from "@pulumi/pulumi";
import { type HostArgs, Step } from "../../step/step";
import type { DatabaseAccess } from "../access";

export interface DatabaseArgs extends HostArgs {
  /**
   * How the service reaches the database, and as whom. A database of that name that is already there is adopted with all
   * its rows, in UTF-8; the role owns it, and gets no other rights.
   */
  readonly access: DatabaseAccess;
  /** IPv4 address from which the service comes. */
  readonly client: string;
  /** Connections that PostgreSQL must take; where it has to be told to take more, it is restarted. */
  readonly connections: number;
  /** Password of the role. Changing it takes effect at once; open connections stay. */
  readonly password: pulumi.Input<string>;
  /** Drop database and role when the step is removed; applied by `up`, before a destroy. */
  readonly deleteData: boolean;
}

/** One line of a libpq password file; see "The Password File" in PostgreSQL's manual. */
export function passwordLine(
  { address, port, name, role }: Omit<DatabaseAccess, "credentials">,
  password: string,
): string {
  const escaped = (text: string) => text.replace(/[\\:]/g, "\\$&");
  return [address, String(port), name, role, password].map(escaped).join(":");
}

/**
 * The database and the role that owns it, with a generated password, reachable from the host itself only.
 *
 * It writes the credentials too: between a password in PostgreSQL that is new and a file that is not, every new connection
 * of the service would be refused, so one step changes both within milliseconds.
 */
export class Database extends Step {
  constructor(name: string, args: DatabaseArgs, opts?: pulumi.ComponentResourceOptions) {
    const { connection, access, client, connections, password, deleteData } = args;
    super(
      "mlflow:database:Database",
      name,
      {
        connection,
        step: "database",
        folder: __dirname,
        scripts: ["cluster", "access", "encoding", "owner", "password", "database"],
        uses: ["commands", "accounts", "postgres", "scratch", "dumps"],
        settings: {
          database: access.name,
          role: access.role,
          databasePort: access.port,
          account: access.credentials.owner,
          passwordFile: access.credentials.file,
          connections,
          deleteData,
        },
        payload: {
          databaseAddress: access.address,
          clientAddress: client,
          password,
          passwordLine: pulumi.output(password).apply((text) => passwordLine(access, text)),
        },
      },
      opts,
    );
  }
}
