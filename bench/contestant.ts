import type { Guest } from "./guests";

/** What the server is to be; a change of one of these is what rows measure. */
export interface Settings {
  readonly mlflow: string;
  /** Worker processes; what the contestant does by default without it. */
  readonly workers?: number;
  /** Raised for another password of the user. */
  readonly password: number;
}

/** How a client reaches the server. */
export interface Access {
  readonly uri: string;
  readonly user: string;
  readonly password: string;
  /** The authority that it must trust. */
  readonly ca?: string;
}

/** A piece of a run, in seconds from its beginning. */
export interface Span {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** A contestant's server on each of some guests. */
export interface Deployment {
  /** Brings the guests to where the settings want them. */
  apply(settings: Settings): Promise<void>;
  /** Looks for what differs on the guests and changes nothing: each way that the contestant has, by its command. */
  readonly looks: Readonly<Record<string, () => Promise<unknown>>>;
  /** After an apply. */
  access(guest: Guest): Promise<Access>;
  /** What the last apply spent its time with, where the contestant tells. */
  timeline?(): Span[];
}

/** A way to a server. */
export interface Contestant {
  readonly name: string;
  /** As the table names it. */
  readonly title: string;
  /** Whether it is this project's. */
  readonly ours: boolean;
  /** Whether a second apply is something that one does with it. */
  readonly repeatable: boolean;
  /** The names of systemd's units of the service, as a pattern. */
  readonly units: string;
  /** Why it cannot take part on this machine; nothing when it can. */
  obstacle(): Promise<string | undefined>;
  /** Installs its tools on this machine; their versions. */
  prepare(): Promise<Readonly<Record<string, string>>>;
  /** @param directory its own, for what it keeps on this machine; mode 0700 */
  deploy(guests: readonly Guest[], directory: string): Deployment;
}
