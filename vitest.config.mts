import { defineConfig } from "vitest/config";

const onHost = { testTimeout: 600_000, hookTimeout: 600_000 };
const results = process.env.TEST_RESULTS;

export default defineConfig({
  test: {
    // Every host test takes its time: a line each, as it ends.
    reporters: [
      process.argv.includes("unit") ? "default" : "verbose",
      ...(results ? [["json", { outputFile: results }] as const] : []),
    ],
    projects: [
      { test: { name: "unit", include: ["test/unit/**/*.test.ts"], testTimeout: 30_000, maxWorkers: 2 } },
      // Each file has guests of its own; more than two files at a time would slow each other down.
      { test: { name: "host", include: ["test/host/**/*.test.ts"], maxWorkers: 2, ...onHost } },
      { test: { name: "engine", include: ["test/engine/**/*.test.ts"], ...onHost } },
    ],
  },
});
