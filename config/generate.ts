/** `npm run generate`: writes what is made from the schema. A unit test fails while one of these files is out of date. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { renderArgs } from "./argsInterface";
import { renderPulumiYaml } from "./pulumiYaml";
import { renderReference } from "./reference";

const project = join(__dirname, "..");

/** Files by their path in the project: the new content of each, from its present one. */
export const generated: Readonly<Record<string, (current: string) => string>> = {
  "Pulumi.yaml": renderPulumiYaml,
  "components/args.ts": renderArgs,
  "docs/configuration.md": renderReference,
};

if (require.main === module) {
  for (const [name, render] of Object.entries(generated)) {
    const file = join(project, name);
    writeFileSync(file, render(readFileSync(file, "utf8")));
  }
}
