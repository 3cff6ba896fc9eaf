import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

export const project = resolve(__dirname, "..");

/** The user's directory, to which relative paths refer; npm runs scripts in the project's directory. */
export const here = process.cwd() === project ? (process.env.INIT_CWD ?? project) : process.cwd();

/** The Pulumi program whose stacks a command is about: the one around the user's directory, else this one. */
export function pulumiDirectory(directory = here): string {
  if (existsSync(join(directory, "Pulumi.yaml"))) {
    return directory;
  }
  const parent = dirname(directory);
  return parent === directory ? project : pulumiDirectory(parent);
}
