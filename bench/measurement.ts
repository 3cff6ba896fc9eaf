import type { Contestant, Deployment, Settings, Span } from "./contestant";
import type { Guest } from "./guests";
import type { Options } from "./options";

/** One measured number. */
export interface Figure {
  /** Which of the row's numbers it is; empty where the row has but one. */
  readonly what: string;
  readonly value: number;
  readonly unit: Unit;
}

/** Of seconds, ms and MB less is better; of all others more. */
export type Unit = "s" | "ms" | "MB" | "processes" | "requests/s" | "MB/s";

/** What a row measures on. */
export interface Situation {
  readonly contestant: Contestant;
  readonly options: Options;
  /** What the server was last told to be. */
  settings: Settings;
  readonly guest: Guest;
  readonly deployment: Deployment;
  /** So many guests, each made anew and bare, the first in place of the one that is there. */
  makeGuests(count: number): Promise<Guest[]>;
  /** Another deployment of the same contestant; it ends the one before. */
  deploy(guests: readonly Guest[]): Deployment;
  /** Keeps what a cold apply spent its time with. */
  keep(timeline: readonly Span[]): void;
}

/** A row of the table, or several of a kind. */
export interface Row {
  readonly name: string;
  /** As the table names it. */
  readonly title: string;
  /** What the guest has at the beginning: nothing, or the contestant's server. */
  readonly on: "bare" | "served";
  /** Whether it says something about this contestant. */
  applies(contestant: Contestant): boolean;
  measure(situation: Situation): Promise<Figure[]>;
}

/** Changes what a server is to be. */
export async function change(situation: Situation, changes: Partial<Settings>): Promise<void> {
  const settings = { ...situation.settings, ...changes };
  await situation.deployment.apply(settings);
  situation.settings = settings;
}
