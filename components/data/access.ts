/** Where a node finds what it logs in to the database with. */
export interface Credentials {
  /** libpq's password file: mode 0600. */
  readonly file: string;
  /** The system user who owns and reads it. */
  readonly owner: string;
}

/** The database, as a node that has its credentials reaches it. */
export interface DatabaseAccess {
  readonly address: string;
  readonly port: number;
  readonly name: string;
  /** Role that owns it. */
  readonly role: string;
  readonly credentials: Credentials;
}

/** Where SQLAlchemy finds it; the password is in the credentials. */
export const storeUri = ({ address, port, name, role }: DatabaseAccess) =>
  `postgresql+psycopg2://${role}@${address}:${port}/${name}`;
