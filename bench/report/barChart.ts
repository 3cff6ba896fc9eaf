import type { Results } from "../results";
import { bar, drawing, line, text } from "./svg";
import { type Line, linesOf, number } from "./table";

const width = 760;
const labels = 130;
const values = 150;
const barHeight = 16;
const gap = 4;

/** The lines of the table as a chart, a group of bars each; each group has a scale of its own, from zero. */
export function renderBars(results: Pick<Results, "contestants" | "rows" | "figures">): string {
  const lines = linesOf(results);
  let y = 10;
  const content = lines.flatMap((each) => {
    const group = renderGroup(results.contestants, each, y);
    y += group.height;
    return group.content;
  });
  return drawing(width, y, `Medians of ${lines.map(({ title }) => title).join("; ")}`, content);
}

function renderGroup(contestants: Results["contestants"], { title, unit, cells }: Line, top: number) {
  const most = Math.max(...[...cells.values()].map((summary) => summary.most));
  const scale = (width - labels - values) / (most || 1);
  const content = [text(0, top + 14, `${title} (${unit})`, { className: "title" })];
  let y = top + 24;
  for (const { name, title: contestant, ours } of contestants) {
    const summary = cells.get(name);
    if (summary === undefined) {
      continue;
    }
    const { median, least, most, count } = summary;
    const middle = y + barHeight / 2;
    content.push(text(labels - 8, y + 13, contestant, { anchor: "end" }));
    content.push(bar(labels, y, median * scale, barHeight, ours ? "ours" : "others"));
    if (count > 1) {
      content.push(line(labels + least * scale, middle, labels + most * scale, middle, "spread"));
    }
    content.push(text(labels + most * scale + 6, y + 13, number(median)));
    y += barHeight + gap;
  }
  return { content, height: y - top + 18 };
}
