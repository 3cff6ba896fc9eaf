/** What the benchmark makes of its figures. */
import { describe, expect, test } from "vitest";
import { eventSpans } from "../../bench/contestants/ours/events";
import { parseOptions } from "../../bench/options";
import { median, percentile, summarize } from "../../bench/report/statistics";
import { number, reference, renderTable } from "../../bench/report/table";
import { results } from "./benchResults";

describe("statistics", () => {
  test("take the middle one, or the mean of two in the middle, in whatever order they come", () => {
    expect(median([3, 1, 20])).toBe(3);
    expect(median([4, 1, 2, 9])).toBe(3);
    expect(summarize([2, 8, 5])).toEqual({ median: 5, least: 2, most: 8, count: 3 });
  });

  test("find a percentile between two values", () => {
    expect(percentile([10, 20, 30, 40, 50], 95)).toBeCloseTo(48);
    expect(percentile([7], 95)).toBe(7);
    expect(() => percentile([], 50)).toThrow("no values");
  });
});

describe("the table", () => {
  test("shows median, spread and ratio to ours by row and contestant", () => {
    expect(renderTable(results)).toBe(`|  | by hand | ours |
| --- | ---: | ---: |
| cold start, s | 80.0 (70.0–90.0) ×2.00 | 40.0 (40.0–40.0) |
| memory: PSS, MB | 1,842 ×4.00 | 460 |
| upgrade, s | – | 12.5 |`);
  });

  test("compares with ours by the engine where it was measured", () => {
    expect(reference(results)).toBe("engine");
    const figures = results.figures.filter(({ contestant }) => contestant === "byhand");
    expect(reference({ ...results, figures })).toBeUndefined();
  });

  test("shows as many digits as a figure is worth", () => {
    expect([0.456, 4.567, 45.67, 456.7, 1234567].map(number)).toEqual([
      "0.46",
      "4.57",
      "45.7",
      "457",
      "1,234,567",
    ]);
  });
});

test("the timeline of an engine is that of its commands", () => {
  const urn = "urn:pulumi:bench::mlflow-vps::command:remote:Command::mlflow-runtime-command";
  const event = (timestamp: number, kind: string, type = "command:remote:Command") =>
    JSON.stringify({ timestamp, [kind]: { metadata: { op: "create", urn, type } } });
  const log = [
    event(100, "resourcePreEvent", "mlflow:runtime:Runtime"),
    event(103, "resourcePreEvent"),
    event(110, "resOutputsEvent"),
  ];
  expect(eventSpans(log.join("\n"))).toEqual([{ name: "runtime", from: 3, to: 10 }]);
});

describe("the options", () => {
  test("have the benchmark's own sizes as defaults", () => {
    const { rounds, clients, hosts, artifacts, publish } = parseOptions([]);
    expect({ rounds, clients, hosts, publish }).toEqual({
      rounds: 3,
      clients: [1, 8, 32],
      hosts: [1, 3, 6],
      publish: false,
    });
    expect(artifacts).toEqual([
      { megabytes: 1, count: 100 },
      { megabytes: 1024, count: 1 },
    ]);
  });

  test.each([
    ["--rounds", "0"],
    ["--clients", "1,many"],
    ["--seconds", "61"],
    ["--hosts", "7"],
    ["--runs", "1000000"],
    ["--artifacts", "1x2x3"],
  ])("refuse %s %s", (option, value) => {
    expect(() => parseOptions([option, value])).toThrow(option);
  });
});
