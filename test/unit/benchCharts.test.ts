/** The benchmark's charts, and the page that shows them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { renderBars } from "../../bench/report/barChart";
import { renderCharts, renderPage } from "../../bench/report/page";
import { tick } from "../../bench/report/svg";
import { renderTimeline } from "../../bench/report/timelineChart";
import { results } from "./benchResults";

const numbers = (svg: string, pattern: RegExp) =>
  [...svg.matchAll(pattern)].map(([, value]) => Number(value));

describe("a bar chart", () => {
  test("draws bars in proportion to the medians, ours in a colour of its own", () => {
    const svg = renderBars({ ...results, rows: results.rows.slice(0, 1) });
    const [byHand = 0, ours = 0] = numbers(svg, /<rect [^>]*width="([\d.]+)"/g);
    expect(byHand / ours).toBeCloseTo(2, 1);
    expect(svg.match(/class="(others|ours)"/g)).toEqual(['class="others"', 'class="ours"']);
    expect(svg).toContain("cold start (s)");
  });
});

describe("a timeline", () => {
  test("draws the steps in the order of their beginnings", () => {
    const svg = renderTimeline("A cold up", results.timelines[1]?.spans ?? []);
    const [first = 0, second = 0] = numbers(svg, /<rect [^>]*width="([\d.]+)"/g);
    expect(second / first).toBeCloseTo(4, 1);
    expect(svg.indexOf("first &lt;&amp;&gt;")).toBeLessThan(svg.indexOf("second"));
  });

  test("has a scale of few round numbers", () => {
    expect([0, 0.4, 5, 22, 139].map(tick)).toEqual([0.1, 0.1, 1, 5, 50]);
  });
});

describe("the page", () => {
  const charts = renderCharts(results);

  test("shows a chart only where there are figures, and the quickest cold up", () => {
    expect([...charts.keys()]).toEqual([
      "benchmark-setup.svg",
      "benchmark-service.svg",
      "benchmark-timeline.svg",
    ]);
    expect(charts.get("benchmark-timeline.svg")).toContain("second");
    expect([...renderCharts({ ...results, figures: [], timelines: [] }).keys()]).toEqual([]);
  });

  test("gets the results in place of those of before, and keeps its text", () => {
    const current = readFileSync(join(__dirname, "../../docs/benchmark.md"), "utf8");
    const page = renderPage(current, results, charts);
    expect(page).toContain("| memory: PSS, MB | 1,842 ×4.00 | 460 |");
    expect(page).toContain("Some CPU");
    expect(page).toContain("(benchmark-timeline.svg)");
    expect(page.slice(0, 200)).toBe(current.slice(0, 200));
    expect(renderPage(page, results, charts)).toBe(page);
    expect(() => renderPage("# Benchmark\n", results, charts)).toThrow("no place for results");
  });
});
