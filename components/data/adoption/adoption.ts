import type * as pulumi from "@pulumi/pulumi";
import { type HostArgs, Step } from "../../step/step";
import { readPython } from "../../step/text";
import type { Release } from "../../tracking/release";

export interface AdoptionArgs extends HostArgs {
  /** What will serve the data; it must know the way from the old schema to its own. */
  readonly release: Release;
  /** System user of the service, who owns the artifacts from then on. */
  readonly account: string;
  /** What the database is called from then on. */
  readonly database: string;
  /** TCP port of PostgreSQL. */
  readonly databasePort: number;
  /** Where the service finds the password of the database; it is there once an adoption has ended. */
  readonly passwordFile: string;
  /** Absolute directory where the artifacts are from then on, on the file system where they were. */
  readonly artifacts: pulumi.Input<string>;
}

/**
 * An unmanaged server, set up on the host as tutorials say: its database and artifacts become those of this
 * program, in place; its unit and its site are switched off; its files stay. Where there is none, nothing is done.
 */
export class Adoption extends Step {
  constructor(name: string, args: AdoptionArgs, opts?: pulumi.ComponentResourceOptions) {
    const { connection, release, account, database, databasePort, passwordFile, artifacts } = args;
    super(
      "mlflow:adoption:Adoption",
      name,
      {
        connection,
        step: "adoption",
        folder: __dirname,
        scripts: ["settings", "server", "candidates", "fitness", "stopping", "data", "sites", "adoption"],
        uses: [
          "commands",
          "systemd",
          "privileges",
          "accounts",
          "postgres",
          "scratch",
          "dumps",
          "keys",
          "nginx",
          "reload",
          "unmanaged",
        ],
        settings: {
          version: release.version,
          release: release.directory,
          account,
          database,
          databasePort,
          artifacts,
          passwordFile,
        },
        payload: { siteReader: readPython(__dirname, "sites.py") },
      },
      opts,
    );
  }
}
