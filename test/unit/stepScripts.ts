import { readdirSync } from "node:fs";
import { join } from "node:path";
import { readScripts } from "../../components/step/script";

const components = join(__dirname, "../../components");

/** The functions of a real step: all bash files of its folder. That each is sent is shellcheck.test.ts's to show. */
export function bodyOf(step: string): string {
  const files = readdirSync(components, { recursive: true, encoding: "utf8" });
  const main = files.find((file) => file.endsWith(`${step}/${step}.sh`));
  if (main === undefined) {
    throw new Error(`no step ${step} in components/`);
  }
  const folder = join(components, main, "..");
  const scripts = readdirSync(folder)
    .filter((file) => file.endsWith(".sh"))
    .map((file) => file.slice(0, -".sh".length));
  return readScripts({ folder, scripts });
}
