import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { project } from "../processes";
import type { Results } from "../results";
import { chartNames, renderCharts, renderPage } from "./page";

const docs = join(project, "docs");

/** Puts table and charts into the docs, in place of those of before. */
export function publish(results: Results): void {
  const charts = renderCharts(results);
  const page = join(docs, "benchmark.md");
  const text = renderPage(readFileSync(page, "utf8"), results, charts);
  for (const name of chartNames) {
    const chart = charts.get(name);
    if (chart === undefined) {
      rmSync(join(docs, name), { force: true });
    } else {
      writeFileSync(join(docs, name), chart);
    }
  }
  writeFileSync(page, text);
}
