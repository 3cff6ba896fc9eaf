/** The workflows, ours and the example, use what package.json says, and actions that nobody can change afterwards. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse as parseYaml } from "yaml";

const project = join(__dirname, "../..");
const read = (file: string) => readFileSync(join(project, file), "utf8");
const files = [".github/workflows/ci.yml", "examples/drift/drift.yml"];
const pin = /^ +- uses: ([\w/-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$/;
const uses = (file: string) => read(file).match(/^.*\buses:.*$/gm) ?? [];

describe.each(files)("%s", (file) => {
  test("pins each action by its commit, and names the version", () => {
    expect(uses(file).length).toBeGreaterThan(2);
    expect(uses(file).filter((line) => !pin.test(line))).toEqual([]);
  });

  test("has the Pulumi CLI of the SDK's version", () => {
    const { dependencies } = JSON.parse(read("package.json"));
    expect(/pulumi-version: ([\d.]+)/.exec(read(file))?.[1]).toBe(dependencies["@pulumi/pulumi"]);
  });

  test("may only read, and ends in time", () => {
    const { permissions, jobs } = parseYaml(read(file));
    expect(permissions).toEqual({ contents: "read" });
    for (const job of Object.values<{ "timeout-minutes"?: number }>(jobs)) {
      expect(job["timeout-minutes"]).toBeGreaterThan(0);
    }
  });
});

test("the workflows agree on the commit of each action", () => {
  const pins = new Set(files.flatMap(uses).map((line) => pin.exec(line)?.slice(1).join(" ")));
  const actions = new Set([...pins].map((each) => each?.split(" ")[0]));
  expect(pins.size).toBe(actions.size);
});
