import type * as pulumi from "@pulumi/pulumi";
import { Adoption } from "../data/adoption/adoption";
import { Database, passwordFile } from "../data/database/database";
import { rehearsal, Schema } from "../data/schema/schema";
import type { Release } from "../tracking/runtime/release";
import type { Runtime } from "../tracking/runtime/runtime";
import { type InstanceArgs, renderInstance, storeUri } from "../tracking/service/instance";
import { type PartArgs, password } from "./part";

export interface DataPartArgs extends PartArgs {
  readonly release: Release;
  readonly runtime: Runtime;
  /** System user of the service, who owns the data. */
  readonly account: string;
  /** When the data of a server made by hand are taken over, everything that serves them next is there. */
  readonly dependsOn: readonly pulumi.Resource[];
}

/** The database and its role, new, or with what a server made by hand has kept; with the schema of the release. */
export function keepData(args: DataPartArgs) {
  const { name, connection, parent, settings, release, account } = args;
  const database = {
    name: settings["database.name"],
    role: settings["database.name"],
    port: settings["database.port"],
    passwordFile,
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
  const made = new Database(
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
  const step = bringToSchema(args, database, [made, args.runtime]);
  return { database, step };
}

/** With the release that is to serve, before it does. */
function bringToSchema(
  { name, connection, parent, settings, release, account }: DataPartArgs,
  database: InstanceArgs["database"],
  dependsOn: pulumi.Resource[],
): Schema {
  const copy = { ...database, name: rehearsal.database, passwordFile: rehearsal.passwordFile };
  return new Schema(
    `${name}-schema`,
    {
      connection,
      release,
      database,
      uris: { database: storeUri(database), copy: storeUri(copy) },
      rehearsed: renderInstance({
        release,
        account,
        database: copy,
        artifacts: rehearsal.artifacts,
        address: rehearsal.address,
        allowedHosts: [`${rehearsal.address}:*`],
        origins: [`http://${rehearsal.address}`],
        workers: "auto",
        jobs: false,
        encryptionPassphrase: "unused", // no secret of the copy is read
      }),
      deleteData: settings["data.deleteOnDestroy"],
    },
    { parent, dependsOn },
  );
}
