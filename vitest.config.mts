import { defineConfig } from "vitest/config";

const onHost = { testTimeout: 600_000, hookTimeout: 600_000 };
const underLoad = ["test/host/changes.test.ts"];
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
      // Each file has guests of its own, so two run side by side.
      {
        test: {
          name: "host",
          include: ["test/host/**/*.test.ts"],
          exclude: underLoad,
          maxWorkers: 2,
          ...onHost,
        },
      },
      // Then what needs the machine for its clients, alone.
      {
        test: {
          name: "host-load",
          include: underLoad,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
          ...onHost,
        },
      },
      { test: { name: "engine", include: ["test/engine/**/*.test.ts"], ...onHost } },
    ],
  },
});
