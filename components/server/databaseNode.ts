import type * as pulumi from "@pulumi/pulumi";
import type { DatabaseAccess } from "../data/access";
import { Adoption } from "../data/adoption/adoption";
import { Database } from "../data/database/database";
import { rehearsal, Schema } from "../data/schema/schema";
import type { Release } from "../tracking/release";
import { renderInstance } from "../tracking/service/instance";
import { connectionsFor } from "../tracking/service/render";
import { password, type RoleArgs } from "./part";

export interface DatabaseNodeArgs extends RoleArgs {
  /** What will serve the data. */
  readonly release: Release;
  /** System user of the service, who owns the data. */
  readonly account: string;
}

/** What a tracking node needs of this role. */
export interface DatabaseNode {
  readonly database: DatabaseAccess;
  /** Until then the database cannot be served. */
  readonly ready: pulumi.Resource;
}

/** Keeps the data: a new database, or what an unmanaged server has kept; with the schema of the release. */
export function databaseNode(args: DatabaseNodeArgs): DatabaseNode {
  const { settings, host, account } = args;
  const database = {
    address: host.address,
    port: settings["database.port"],
    name: settings["database.name"],
    role: settings["database.name"],
    credentials: { file: "/etc/mlflow-vps/pgpass", owner: account },
  };
  const adoption = adoptData(args, database);
  const made = makeDatabase(args, database, adoption);
  return { database, ready: bringToSchema(args, database, made) };
}

/** When the data of an unmanaged server are adopted, everything that serves them next is there. */
function adoptData(
  { settings, parent, host, release, account }: DatabaseNodeArgs,
  database: DatabaseAccess,
): Adoption {
  return new Adoption(
    `${host.name}-adoption`,
    {
      connection: host.connection,
      release,
      account,
      database: database.name,
      databasePort: database.port,
      passwordFile: database.credentials.file,
      artifacts: settings["artifacts.directory"],
    },
    { parent, dependsOn: [host.runtime, host.servers] },
  );
}

function makeDatabase(args: DatabaseNodeArgs, access: DatabaseAccess, adoption: Adoption): Database {
  const { settings, parent, host } = args;
  return new Database(
    `${host.name}-database`,
    {
      connection: host.connection,
      access,
      password: password(args, "database-password", settings["rotation.database"]),
      client: host.address,
      connections: connectionsFor(settings["service.workers"]),
      deleteData: settings["data.deleteOnDestroy"],
    },
    { parent, dependsOn: adoption },
  );
}

/** By the release that is to serve, before it does. */
function bringToSchema(
  { settings, parent, host, release, account }: DatabaseNodeArgs,
  database: DatabaseAccess,
  made: Database,
): Schema {
  const copy = {
    ...database,
    name: rehearsal.database,
    credentials: { ...database.credentials, file: rehearsal.passwordFile },
  };
  return new Schema(
    `${host.name}-schema`,
    {
      connection: host.connection,
      release,
      database,
      copy,
      rehearsed: renderInstance({
        release,
        account,
        database: copy,
        artifacts: rehearsal.artifacts,
        address: rehearsal.address,
        allowedHosts: [],
        origins: [`http://${rehearsal.address}`],
        workers: "auto",
        jobs: false,
        // No secret of the copy is read. The key must be one, or MLflow does not start.
        encryptionPassphrase: "unused",
        webhookKey: `${"unused".padEnd(43, "0")}=`,
      }),
      deleteData: settings["data.deleteOnDestroy"],
    },
    { parent, dependsOn: [made, host.runtime] },
  );
}
