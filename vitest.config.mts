import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { relative, resolve } from "node:path";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Where there is room for the disks of five guests, they are in memory: a file system on a disk takes a tenth of the time. */
const disk = process.env.MLFLOW_VPS_DISK ?? (totalmem() > 20 * 2 ** 30 ? "memory" : "directory");
const onHost = { testTimeout: 600_000, hookTimeout: 600_000, env: { MLFLOW_VPS_DISK: disk } };
const underLoad = ["test/host/changes.test.ts", "test/host/upgrades.test.ts"];
const alone = ["test/host/sandbox.test.ts"];
const results = process.env.TEST_RESULTS;

/** Longest first, so that no worker idles while the other ends. A new file may be the longest, but for a unit test. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const { root } = this.ctx.config;
    const typical: Record<string, number> = JSON.parse(
      readFileSync(`${root}/test/typicalSeconds.json`, "utf8"),
    );
    const seconds = ({ project, moduleId }: TestSpecification) =>
      typical[relative(root, moduleId)] ?? (project.name === "unit" ? 0 : Number.POSITIVE_INFINITY);
    return [...files].sort((one, other) => seconds(other) - seconds(one));
  }
}

export default defineConfig({
  test: {
    // Every host test takes its time: a line each, as it ends.
    reporters: [
      process.argv.includes("unit") ? "default" : "verbose",
      ...(results ? [["json", { outputFile: results }] as const] : []),
      ["./test/timeline.ts", { output: results?.replace(/(\.json)?$/, ".timeline.json") }],
    ],
    sequence: { sequencer: LongestFirst },
    projects: [
      // With two side by side, those that wait for a terminal or a process let a core idle.
      {
        // The examples import the npm package, which is made of these.
        resolve: { alias: { "mlflow-vps": resolve("components/index.ts") } },
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          testTimeout: 30_000,
          hookTimeout: 30_000,
          maxWorkers: 3,
        },
      },
      // Each file has guests of its own. With two side by side the two cores idle for a fifth of the time.
      {
        test: {
          name: "host",
          include: ["test/host/**/*.test.ts"],
          exclude: [...underLoad, ...alone],
          maxWorkers: 3,
          ...onHost,
        },
      },
      // Then those whose clients take what there is of the machine.
      {
        test: {
          name: "host-load",
          include: underLoad,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
          ...onHost,
        },
      },
      // And what ends the cache of packages.
      {
        test: {
          name: "host-alone",
          include: alone,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
          ...onHost,
        },
      },
      { test: { name: "browser", include: ["test/browser/**/*.test.ts"], ...onHost } },
      // One after the other: the story counts the requests that are answered meanwhile.
      { test: { name: "engine", include: ["test/engine/**/*.test.ts"], maxWorkers: 1, ...onHost } },
    ],
  },
});
