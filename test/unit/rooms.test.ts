/** What a file of the components may know of others: arrows go down only. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";

const components = join(__dirname, "../../components");
const areas = ["host", "data", "tracking", "entrance"];

/** Every import of a file of the components by another: both by their paths in `components/`. */
const imports = readdirSync(components, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .flatMap((file) =>
    [...readFileSync(join(components, file), "utf8").matchAll(/(?:from|import|import\()\s*"(\.[^"]+)"/g)].map(
      ([, path = ""]) => ({ file, imported: relative(components, join(components, dirname(file), path)) }),
    ),
  );

/** The folder of the step that a file belongs to, as `AREA/STEP`; nothing for what steps of an area share. */
const stepOf = (file: string) => {
  const [area = "", step = "", ...rest] = file.split("/");
  return areas.includes(area) && rest.length > 0 ? `${area}/${step}` : undefined;
};

describe("a file", () => {
  test("of a step imports nothing from another step's folder: what it needs of it is an argument", () => {
    const ofSteps = imports.filter(({ file }) => stepOf(file) !== undefined);
    expect(ofSteps.length).toBeGreaterThan(30);
    expect(
      ofSteps.filter(({ file, imported }) => ![undefined, stepOf(file)].includes(stepOf(imported))),
    ).toEqual([]);
  });

  test("of a step, or that steps share, does not know how they are composed", () => {
    const below = imports.filter(({ file }) => [...areas, "step"].includes(file.split("/")[0] ?? ""));
    expect(below.filter(({ imported }) => /^(server\/|mlflowServer$|args$)/.test(imported))).toEqual([]);
  });

  test("of the idea of a step knows no step", () => {
    const idea = imports.filter(({ file }) => file.startsWith("step/"));
    expect(idea.filter(({ imported }) => !imported.startsWith("step/"))).toEqual([]);
  });

  test("of the components imports nothing beside them: another program has only these", () => {
    expect(imports.filter(({ imported }) => imported.startsWith(".."))).toEqual([]);
  });
});

describe("the benchmark", () => {
  const project = join(__dirname, "../..");
  const importsOf = (room: string) =>
    readdirSync(join(project, room), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .flatMap((file) =>
        [
          ...readFileSync(join(project, room, file), "utf8").matchAll(
            /(?:from|import|import\()\s*"(\.[^"]+)"/g,
          ),
        ].map(([, path = ""]) => relative(project, join(project, room, dirname(file), path))),
      );

  test("is known to no other room: it measures the program from outside", () => {
    const others = ["cli", "components", "config", "sandbox"].flatMap(importsOf);
    expect(others.length).toBeGreaterThan(100);
    expect(others.filter((imported) => imported.startsWith("bench/"))).toEqual([]);
  });

  test("takes of the others only the defaults of the schema and the quoting of bash", () => {
    const beside = importsOf("bench").filter((imported) => !imported.startsWith("bench"));
    expect([...new Set(beside)].sort()).toEqual([
      "components/schema/schema",
      "components/step/script",
      "package.json",
    ]);
  });
});
