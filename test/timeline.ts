import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, relative } from "node:path";
import type { Reporter, TestModule } from "vitest/node";

/** What a test waits for besides its own work, in the order in which a moment that has several of them is counted. */
export const kinds = ["guest", "apply", "client"] as const;

/** From when to when, in ms since the epoch. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface Wait extends Span {
  readonly kind: (typeof kinds)[number];
}

declare module "vitest" {
  interface TaskMeta {
    /** All that the tests of a file waited for. */
    waits?: Wait[];
  }
}

/** Seconds of each kind of waiting, and of the rest. */
export type Shares = Record<Wait["kind"] | "test" | "seconds", number>;

interface Row extends Shares {
  readonly name: string;
}

/** Divides a span of time. What overlaps is counted once, so that the shares add up to the seconds that have passed. */
export function sharesOf({ from, to }: Span, waits: readonly Wait[]): Shares {
  const shares: Shares = { seconds: (to - from) / 1000, guest: 0, apply: 0, client: 0, test: 0 };
  const inside = (moment: number) => Math.min(Math.max(moment, from), to);
  const moments = [from, to, ...waits.flatMap((wait) => [inside(wait.from), inside(wait.to)])];
  moments.sort((one, other) => one - other);
  for (const [index, begin] of moments.entries()) {
    const end = moments[index + 1] ?? begin;
    const kind = kinds.find((each) =>
      waits.some((wait) => wait.kind === each && wait.from <= begin && end <= wait.to),
    );
    shares[kind ?? "test"] += (end - begin) / 1000;
  }
  return shares;
}

const slowest = 15;

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
  const cells = [head, ...rows].map((row) =>
    row.map((cell) => (typeof cell === "number" ? cell.toFixed(1) : cell)),
  );
  const width = Math.max(...cells.flatMap((row) => row.slice(0, -1).map((cell) => cell.length)));
  return cells.map((row) =>
    row.map((cell, column) => (column < row.length - 1 ? cell.padStart(width) : cell)).join("  "),
  );
}

const shareNames = ["seconds", ...kinds, "test"] as const;
const sharesIn = (row: Shares) => shareNames.map((name) => row[name]);

/** Ends each run with where its time went: a table, and the same with all tests as JSON. */
export default class Timeline implements Reporter {
  private began = 0;
  private readonly queued = new Map<string, number>();
  private readonly ended = new Map<string, number>();

  private readonly output: string;

  /** @param options.output the JSON file */
  constructor({ output = ".sandbox/timeline.json" }: { readonly output?: string }) {
    this.output = output;
  }

  onTestRunStart(): void {
    this.began = Date.now();
  }
  onTestModuleQueued({ id }: TestModule): void {
    this.queued.set(id, Date.now());
  }
  onTestModuleEnd({ id }: TestModule): void {
    this.ended.set(id, Date.now());
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const now = Date.now();
    const passed = (moment: number) => (moment - this.began) / 1000;
    const files: (Row & Span)[] = [];
    const tests: Row[] = [];
    for (const module of modules) {
      const { waits = [] } = module.meta();
      const name = relative(module.project.config.root, module.moduleId);
      const from = this.queued.get(module.id) ?? now;
      const to = this.ended.get(module.id) ?? now;
      files.push({ name, from: passed(from), to: passed(to), ...sharesOf({ from, to }, waits) });
      for (const test of module.children.allTests()) {
        const ran = test.diagnostic();
        if (ran) {
          const span = { from: ran.startTime, to: ran.startTime + ran.duration };
          tests.push({ name: `${name} > ${test.fullName}`, ...sharesOf(span, waits) });
        }
      }
    }
    files.sort((one, other) => one.from - other.from);
    tests.sort((one, other) => other.seconds - one.seconds);
    const seconds = passed(now);
    const sum = files.reduce((total, file) => total + file.seconds, 0);

    mkdirSync(dirname(this.output), { recursive: true });
    writeFileSync(this.output, JSON.stringify({ seconds, sum, files, tests }, null, 1));
    const lines = [
      `\nTimeline: ${seconds.toFixed()} s; all files together ${sum.toFixed()} s`,
      ...table(
        ["from", "to", ...shareNames, "file"],
        files.map((file) => [file.from, file.to, ...sharesIn(file), file.name]),
      ),
      `\nThe ${slowest} slowest tests`,
      ...table(
        [...shareNames, "test"],
        tests.slice(0, slowest).map((test) => [...sharesIn(test), test.name]),
      ),
    ];
    console.log(lines.join("\n"));
  }
}
