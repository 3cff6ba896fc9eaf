import type { Span } from "../contestant";
import { bar, drawing, line, text, tick } from "./svg";

const width = 760;
const labels = 170;
const right = 60;
const barHeight = 16;
const gap = 5;
const top = 34;

/** When each step of a cold `up` began and ended. */
export function renderTimeline(title: string, spans: readonly Span[]): string {
  const sorted = [...spans].sort((one, other) => one.from - other.from || one.to - other.to);
  const end = Math.max(0, ...sorted.map(({ to }) => to));
  const scale = (width - labels - right) / (end || 1);
  const bottom = top + sorted.length * (barHeight + gap);
  const step = tick(end);
  const ticks = Array.from({ length: Math.floor(end / step) + 1 }, (_, index) => index * step);
  const content = [
    text(0, 16, title, { className: "title" }),
    ...ticks.flatMap((at) => [
      line(labels + at * scale, top - 4, labels + at * scale, bottom, "line"),
      text(labels + at * scale, bottom + 14, `${Number(at.toFixed(2))} s`, {
        className: "small",
        anchor: "middle",
      }),
    ]),
    ...sorted.flatMap(({ name, from, to }, index) => {
      const y = top + index * (barHeight + gap);
      return [
        text(labels - 8, y + 13, name, { anchor: "end" }),
        // What is over at once is seen all the same.
        bar(labels + from * scale, y, Math.max((to - from) * scale, 1), barHeight, "ours"),
        text(labels + to * scale + 4, y + 12, `${(to - from).toFixed(1)} s`, { className: "small" }),
      ];
    }),
  ];
  return drawing(width, bottom + 24, title, content);
}
