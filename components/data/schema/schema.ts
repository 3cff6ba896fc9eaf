import type * as pulumi from "@pulumi/pulumi";
import type { InstanceValues } from "../../step/instance";
import { type HostArgs, Step } from "../../step/step";
import { readText } from "../../step/text";
import { type DatabaseAccess, storeUri } from "../access";

export interface SchemaArgs extends HostArgs {
  /** The version whose schema the database gets, and the directory on the host where it is installed. */
  readonly release: { readonly version: string; readonly directory: string };
  readonly database: DatabaseAccess;
  /** The copy of it that a rehearsal makes. */
  readonly copy: DatabaseAccess;
  /** The server that is tried on the copy: see `rehearsal`. */
  readonly rehearsed: InstanceValues;
  /** Delete the dumps when the step is removed; applied by `up`, before a destroy. */
  readonly deleteData: boolean;
}

/** What a release is rehearsed with: a copy of the database, artifacts of its own, an address that nginx never leads to. */
export const rehearsal = {
  database: "mlflow_vps_rehearsal", // as the library's part 'scratch' calls it
  passwordFile: "/etc/mlflow-vps/pgpass-rehearsal",
  artifacts: "/var/lib/mlflow/tmp/rehearsal",
  address: "127.0.0.2",
} as const;

/**
 * The schema that the release needs, in the database: one of another release is migrated, after a rehearsal and a dump.
 *
 * There is one for a database, not for each host that serves it. Where several hosts apply theirs at once, rehearsal and
 * migration belong under an advisory lock of PostgreSQL, taken in `apply`; with one host, the step's own lock is enough.
 */
export class Schema extends Step {
  constructor(name: string, args: SchemaArgs, opts?: pulumi.ComponentResourceOptions) {
    const { connection, release, database, copy, rehearsed, deleteData } = args;
    super(
      "mlflow:schema:Schema",
      name,
      {
        connection,
        step: "schema",
        folder: __dirname,
        scripts: ["revision", "rehearsal", "migration", "schema"],
        uses: ["commands", "privileges", "deletion", "sockets", "postgres", "scratch", "dumps", "instances"],
        settings: {
          version: release.version,
          release: release.directory,
          database: database.name,
          role: database.role,
          databasePort: database.port,
          deleteData,
        },
        payload: {
          ...rehearsed,
          databaseAddress: database.address,
          passwordFile: database.credentials.file,
          storeUri: storeUri(database),
          copyUri: storeUri(copy),
          copyPasswordFile: copy.credentials.file,
          smokeTest: readText(__dirname, "smoke.py"),
        },
      },
      opts,
    );
  }
}
