import { join } from "node:path";
import { execute, project } from "./processes";

/** Where a tool's environment is. */
export const toolDirectory = (tool: string) => join(project, ".sandbox/bench-tools", tool);

/** A contestant that is written in Python, in an environment with exactly the packages of its lock; the versions of some. */
export async function installTool(
  tool: string,
  lock: string,
  packages: readonly string[],
): Promise<Record<string, string>> {
  const directory = toolDirectory(tool);
  await execute(join(project, "scripts/pythonEnvironment.sh"), [directory, lock, "uv"]);
  const script =
    "import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))";
  return JSON.parse(await execute(join(directory, "bin/python"), ["-c", script, ...packages]));
}
