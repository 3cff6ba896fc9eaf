import type { Results } from "../../bench/results";

const figure = (round: number, contestant: string, row: string, value: number) => ({
  round,
  contestant,
  row,
  value,
});

/** Of two contestants, as a benchmark writes them. */
export const results: Results = {
  date: "2026-11-29T20:00:00.000Z",
  command: "npm run bench",
  machine: { processor: "Some CPU", cores: 2, memoryGb: 24, kernel: "6.1", load: 0.1 },
  versions: { MLflow: "3.17.2" },
  contestants: [
    { name: "byhand", title: "by hand", ours: false },
    { name: "engine", title: "ours", ours: true },
  ],
  rows: [
    { name: "cold", title: "cold start" },
    { name: "memory", title: "memory" },
    { name: "upgrade", title: "upgrade" },
  ],
  figures: [
    { ...figure(1, "byhand", "cold", 90), what: "", unit: "s" },
    { ...figure(1, "engine", "cold", 40), what: "", unit: "s" },
    { ...figure(2, "byhand", "cold", 70), what: "", unit: "s" },
    { ...figure(2, "engine", "cold", 40), what: "", unit: "s" },
    { ...figure(1, "byhand", "memory", 1842), what: "PSS", unit: "MB" },
    { ...figure(1, "engine", "memory", 460), what: "PSS", unit: "MB" },
    { ...figure(1, "engine", "upgrade", 12.5), what: "", unit: "s" },
  ],
  failures: [],
  timelines: [
    { contestant: "engine", spans: [{ name: "slow", from: 0, to: 50 }] },
    {
      contestant: "engine",
      spans: [
        { name: "second", from: 4, to: 20 },
        { name: "first <&>", from: 0, to: 4 },
      ],
    },
  ],
};
