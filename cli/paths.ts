import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

export const project = resolve(__dirname, "..");

/** Where the user is, from where a relative path is meant; npm runs scripts in the project's directory. */
export const here = process.cwd() === project ? (process.env.INIT_CWD ?? project) : process.cwd();

/** Whose stacks are meant: those of the Pulumi program that the user is in, else this one's. */
export function pulumiDirectory(directory = here): string {
  if (existsSync(join(directory, "Pulumi.yaml"))) {
    return directory;
  }
  const parent = dirname(directory);
  return parent === directory ? project : pulumiDirectory(parent);
}
