import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { CommandInputs } from "./command";

/** What was generated, by resource name, with the inputs it belongs to; mode 0600. */
export class Generated {
  private readonly known: Record<string, { inputs: unknown; result: Record<string, string> }>;

  constructor(private readonly file: string) {
    this.known = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
  }

  get(name: string, inputs: unknown, generate: () => Record<string, string>): Record<string, string> {
    const known = this.known[name];
    if (known !== undefined && JSON.stringify(known.inputs) === JSON.stringify(inputs)) {
      return known.result;
    }
    const result = generate();
    this.known[name] = { inputs, result };
    writeFileSync(this.file, JSON.stringify(this.known), { mode: 0o600 });
    return result;
  }
}

/** The commands that were applied, by resource name in the order of their end; mode 0600, for their stdin holds secrets. */
export class Applied {
  private readonly known: Record<string, CommandInputs>;

  constructor(private readonly file: string) {
    this.known = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
  }

  put(name: string, command?: CommandInputs): void {
    delete this.known[name];
    if (command !== undefined) {
      this.known[name] = command;
    }
    writeFileSync(this.file, JSON.stringify(this.known), { mode: 0o600 });
  }

  /** Whether a command was applied as it is now, to whatever host. */
  has(name: string, { create, stdin }: CommandInputs): boolean {
    const known = this.known[name];
    return known?.create === create && known.stdin === stdin;
  }

  /** Those that the program no longer has, the last one first, as an engine removes them after all else is applied. */
  without(commands: ReadonlyMap<string, CommandInputs>): [string, CommandInputs][] {
    return Object.entries(this.known)
      .filter(([name]) => !commands.has(name))
      .reverse();
  }
}
