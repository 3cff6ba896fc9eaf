import { readText } from "./text";

/** The parts of the bash library, each a file in `library/`, with the parts that its functions call. */
const needs = {
  core: [],
  files: [],
  main: [],
  commands: [],
  privileges: [],
  systemd: [],
  accounts: ["commands"],
  deletion: [],
  memory: [],
  resources: ["privileges"],
  processes: [],
  sockets: [],
  postgres: ["commands"],
  scratch: ["commands", "postgres"],
  dumps: ["postgres", "resources"],
  keys: [],
  instances: ["commands", "systemd", "privileges", "memory", "keys"],
  nginx: ["systemd", "processes"],
  reload: ["commands", "systemd", "sockets", "nginx"],
  certificates: [],
  unmanaged: ["privileges", "systemd"],
} as const satisfies Record<string, readonly string[]>;

export type Part = keyof typeof needs;

/** All parts, in the order in which they stand in a script. */
export const parts = Object.keys(needs) as readonly Part[];

/** Every part calls these, so no step names them. */
const everywhere: readonly Part[] = ["core", "files"];

/** The text of these parts and of all that they need, each once. */
export function library(uses: readonly Part[]): string {
  const sent = new Set<Part>();
  const add = (part: Part) => {
    sent.add(part);
    needs[part].forEach(add);
  };
  [...everywhere, ...uses].forEach(add);
  return parts
    .filter((part) => sent.has(part))
    .map((part) => readText(__dirname, "library", `${part}.sh`).trimEnd())
    .join("\n\n");
}
