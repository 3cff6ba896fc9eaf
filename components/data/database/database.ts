import * as pulumi from "@pulumi/pulumi";
import { type HostArgs, Step } from "../../step/step";

export interface DatabaseArgs extends HostArgs {
  /** Name of the database. One of that name that is already there is adopted with all its rows. */
  readonly database: string;
  /** Role that owns the database; it gets no other rights. */
  readonly role: string;
  /** Password of the role. Changing it takes effect at once; open connections stay. */
  readonly password: pulumi.Input<string>;
  /** TCP port of PostgreSQL on 127.0.0.1. */
  readonly port: number;
  /** System user of the service, who may read the password file. */
  readonly account: string;
  /** Drop database and role when the step is removed; applied by `up`, before a destroy. */
  readonly deleteData: boolean;
}

/** Where libpq finds the password on the host: mode 0600, owned by the service's system user. */
export const passwordFile = "/etc/mlflow-vps/pgpass";

/** One line of a libpq password file; see "The Password File" in PostgreSQL's manual. */
export function passwordLine(port: number, database: string, role: string, password: string): string {
  const escaped = (text: string) => text.replace(/[\\:]/g, "\\$&");
  return ["127.0.0.1", String(port), database, role, password].map(escaped).join(":");
}

/** The database and the role that owns it, with a generated password, reachable from the host itself only. */
export class Database extends Step {
  constructor(name: string, args: DatabaseArgs, opts?: pulumi.ComponentResourceOptions) {
    const { connection, database, role, password, port, account, deleteData } = args;
    super(
      "mlflow:database:Database",
      name,
      {
        connection,
        step: "database",
        folder: __dirname,
        scripts: ["access", "owner", "password", "database"],
        uses: ["commands", "accounts", "postgres", "scratch"],
        settings: { database, role, databasePort: port, account, passwordFile, deleteData },
        payload: {
          password,
          passwordLine: pulumi.output(password).apply((text) => passwordLine(port, database, role, text)),
        },
      },
      opts,
    );
  }
}
