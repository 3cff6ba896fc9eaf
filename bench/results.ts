import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Span } from "./contestant";
import type { Machine } from "./machine";
import type { Figure } from "./measurement";
import { project } from "./processes";

export interface Measured extends Figure {
  readonly round: number;
  readonly contestant: string;
  readonly row: string;
}

export interface Failure {
  readonly round: number;
  readonly contestant: string;
  readonly row: string;
  readonly error: string;
}

/** What a contestant's cold apply spent its time with. */
export interface Timeline {
  readonly contestant: string;
  readonly spans: readonly Span[];
}

/** All that a benchmark measured. */
export interface Results {
  readonly date: string;
  readonly command: string;
  readonly machine: Machine;
  readonly versions: Readonly<Record<string, string>>;
  /** In the order of the table, with their titles. */
  readonly contestants: readonly { readonly name: string; readonly title: string; readonly ours: boolean }[];
  readonly rows: readonly { readonly name: string; readonly title: string }[];
  readonly figures: readonly Measured[];
  readonly failures: readonly Failure[];
  /** Of each cold apply of ours. */
  readonly timelines: readonly Timeline[];
}

/** Where the results of this benchmark go. */
export function resultsFile(date: string): string {
  const directory = join(project, "bench/results");
  mkdirSync(directory, { recursive: true });
  return join(directory, `${date.slice(0, 19).replaceAll(":", "")}.json`);
}

export function writeResults(file: string, results: Results): void {
  writeFileSync(file, `${JSON.stringify(results, undefined, 2)}\n`);
}

export const readResults = (file: string): Results => JSON.parse(readFileSync(file, "utf8"));
