import type * as pulumi from "@pulumi/pulumi";
import { Adoption } from "../data/adoption/adoption";
import { Database } from "../data/database/database";
import type { Release } from "../tracking/runtime/release";
import { type PartArgs, password } from "./part";

export interface DataPartArgs extends PartArgs {
  readonly release: Release;
  /** System user of the service, who owns the data. */
  readonly account: string;
  /** When the data of a server made by hand are taken over, everything that serves them next is there. */
  readonly dependsOn: readonly pulumi.Resource[];
}

/** The database and its role, new, or with what a server made by hand has kept. */
export function keepData(args: DataPartArgs) {
  const { name, connection, parent, settings, release, account } = args;
  const database = {
    name: settings["database.name"],
    role: settings["database.name"],
    port: settings["database.port"],
  };
  const adoption = new Adoption(
    `${name}-adoption`,
    {
      connection,
      release,
      account,
      database: database.name,
      databasePort: database.port,
      artifacts: settings["artifacts.directory"],
    },
    { parent, dependsOn: [...args.dependsOn] },
  );
  const step = new Database(
    `${name}-database`,
    {
      connection,
      database: database.name,
      role: database.role,
      port: database.port,
      password: password(args, "database-password", settings["rotation.database"]),
      account,
      deleteData: settings["data.deleteOnDestroy"],
    },
    { parent, dependsOn: adoption },
  );
  return { database, step };
}
