import type { Access } from "../contestant";

/** What clients can send. */
export const kinds = ["search", "log-metric", "log-batch"] as const;

export type Kind = (typeof kinds)[number];

/** What the generator is to do; on its standard input, for it holds a password. */
export interface Order {
  readonly access: Access;
  readonly kind: Kind;
  readonly clients: number;
  readonly seconds: number;
}

/** What it found; on its standard output. */
export interface Report {
  readonly perSecond: number;
  /** Latencies in ms. */
  readonly p50: number;
  readonly p95: number;
}
