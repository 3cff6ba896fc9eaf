import type { Results } from "../results";
import { renderBars } from "./barChart";
import { linesOf, reference, renderTable } from "./table";
import { renderTimeline } from "./timelineChart";

/** The charts by their files in docs/, with what they show. */
const descriptions = {
  "benchmark-setup.svg": "Bars: seconds to a server, to nothing, and to look for drift",
  "benchmark-service.svg": "Bars: memory and start of the service",
  "benchmark-timeline.svg": "The steps of a cold up, each from its beginning to its end",
} as const;

export type ChartName = keyof typeof descriptions;

export const chartNames = Object.keys(descriptions) as ChartName[];

/** Which rows a bar chart shows. */
const barCharts: Readonly<Partial<Record<ChartName, readonly string[]>>> = {
  "benchmark-setup.svg": ["cold", "nothing", "drift", "change", "rotation"],
  "benchmark-service.svg": ["memory", "start"],
};

/** Those for which there are figures. */
export function renderCharts(results: Results): Map<ChartName, string> {
  const charts = new Map<ChartName, string>();
  for (const name of chartNames) {
    const shown = barCharts[name];
    const part =
      shown === undefined
        ? undefined
        : { ...results, rows: results.rows.filter((row) => shown.includes(row.name)) };
    if (part !== undefined && linesOf(part).length > 0) {
      charts.set(name, renderBars(part));
    }
  }
  const timeline = quickest(results);
  if (timeline !== undefined) {
    charts.set("benchmark-timeline.svg", renderTimeline(timeline.title, timeline.spans));
  }
  return charts;
}

/** The quickest cold apply of the contestant of ours that the others are compared with. */
function quickest(results: Results) {
  const ours = results.contestants.find(({ name }) => name === reference(results));
  const own = results.timelines.filter(({ contestant }) => contestant === ours?.name);
  const duration = (spans: Results["timelines"][number]["spans"]) => Math.max(...spans.map(({ to }) => to));
  const [first] = [...own].sort((one, other) => duration(one.spans) - duration(other.spans));
  return ours === undefined || first === undefined
    ? undefined
    : { title: `A cold up (${ours.title})`, spans: first.spans };
}

const begin = "<!-- made by npm run bench -- --publish -->";
const end = "<!-- end -->";

/** The page of the docs, with these results in place of those that it holds. */
export function renderPage(
  current: string,
  results: Results,
  charts: ReadonlyMap<ChartName, string>,
): string {
  const [before = "", rest] = current.split(begin);
  const after = rest?.split(end)[1];
  if (after === undefined) {
    throw new Error(`docs/benchmark.md has no place for results, which is between '${begin}' and '${end}'`);
  }
  const pictures = chartNames
    .filter((name) => charts.has(name))
    .map((name) => `![${descriptions[name]}](${name})`);
  const parts = [describe(results), renderTable(results), ...pictures, ...failures(results)];
  return `${before}${begin}\n\n${parts.join("\n\n")}\n\n${end}${after}`;
}

function describe({ date, command, machine, versions }: Results): string {
  const { processor, cores, memoryGb, kernel, load } = machine;
  const list = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    `Measured on ${date.slice(0, 10)} with \`${command}\` on ${cores} cores (${processor}), ${memoryGb} GB, Linux ${kernel},`,
    `load ${load} at the beginning. Versions: ${list.join(", ")}.`,
    "Each cell: median (least–most) ×ratio to ours.",
  ].join("\n");
}

const failures = (results: Results) =>
  results.failures.length === 0
    ? []
    : [
        `Not measured: ${results.failures.map(({ round, contestant, row }) => `${row} of ${contestant} in round ${round}`).join(", ")}.`,
      ];
