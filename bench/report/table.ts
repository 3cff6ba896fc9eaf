import type { Unit } from "../measurement";
import type { Results } from "../results";
import { type Summary, summarize } from "./statistics";

/** A line of the table: what all contestants have of the same kind. */
export interface Line {
  readonly title: string;
  readonly unit: Unit;
  /** By the contestant's name. */
  readonly cells: ReadonlyMap<string, Summary>;
}

/** The figures of all rounds, summarized by row and contestant, in the order in which they were measured. */
export function linesOf({ rows, figures }: Pick<Results, "rows" | "figures">): Line[] {
  return rows.flatMap(({ name, title }) => {
    const ofRow = figures.filter(({ row }) => row === name);
    const kinds = [...new Set(ofRow.map(({ what }) => what))];
    return kinds.flatMap((what) => {
      const ofKind = ofRow.filter((figure) => figure.what === what);
      const contestants = [...new Set(ofKind.map(({ contestant }) => contestant))];
      const cells = contestants.map((contestant) => {
        const values = ofKind.filter((figure) => figure.contestant === contestant).map(({ value }) => value);
        return [contestant, summarize(values)] as const;
      });
      const [first] = ofKind;
      return first === undefined
        ? []
        : [{ title: what === "" ? title : `${title}: ${what}`, unit: first.unit, cells: new Map(cells) }];
    });
  });
}

/** The contestant of ours that the others are compared with: the last one of them that has figures, the engine's before the one without. */
export function reference({
  contestants,
  figures,
}: Pick<Results, "contestants" | "figures">): string | undefined {
  const measured = new Set(figures.map(({ contestant }) => contestant));
  return contestants.filter(({ name, ours }) => ours && measured.has(name)).at(-1)?.name;
}

/** The results as a table of Markdown: median, least to most, ratio to ours. */
export function renderTable(results: Results): string {
  const columns = results.contestants.filter(({ name }) =>
    results.figures.some(({ contestant }) => contestant === name),
  );
  const ours = reference(results);
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const lines = linesOf(results).map(({ title, unit, cells }) => [
    `${title}, ${unit}`,
    ...columns.map(({ name }) => {
      const base = ours === undefined || name === ours ? undefined : cells.get(ours);
      return renderCell(cells.get(name), base);
    }),
  ]);
  const head = ["", ...columns.map(({ title }) => title)];
  return [row(head), row(["---", ...columns.map(() => "---:")]), ...lines.map(row)].join("\n");
}

function renderCell(summary: Summary | undefined, base: Summary | undefined): string {
  if (summary === undefined) {
    return "–";
  }
  const { median, least, most, count } = summary;
  const spread = count === 1 ? "" : ` (${number(least)}–${number(most)})`;
  const ratio = base === undefined || base.median === 0 ? "" : ` ×${number(median / base.median)}`;
  return `${number(median)}${spread}${ratio}`;
}

/** Three digits are more than a figure is worth from run to run. */
export function number(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  const [whole = "", ...rest] = value.toFixed(digits).split(".");
  return [whole.replace(/\B(?=(\d{3})+$)/g, ","), ...rest].join(".");
}
