import { execFileSync } from "node:child_process";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import type { Failure } from "../world";

/** Where a run that branches waits for what is next; see branches.sh. */
export interface Stop {
  readonly statement: number;
  /** How the last branch from here has ended; nothing before the first. */
  readonly code?: number;
}

/** Makes the builtin of bash by which a run branches, if there is a C compiler: without, each run takes its whole time. */
export function canBranch(directory: string): boolean {
  try {
    const source = join(__dirname, "branch.c");
    execFileSync("cc", ["-shared", "-fPIC", "-nostdlib", "-o", join(directory, "branch.so"), source], {
      stdio: "inherit",
    });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
      throw error;
    }
    console.warn("There is no C compiler (cc): these tests take twice as long as with one.");
    return false;
  }
}

/** The stops of a run, each as it comes; the run waits until 'goOn' is called. */
export async function* stopsOf(channel: Duplex): AsyncGenerator<Stop> {
  let text = "";
  for await (const part of channel.setEncoding("utf8")) {
    text += part;
    if (text.endsWith("\0")) {
      const [statement, code] = text.slice(0, -1).split(" ");
      text = "";
      yield { statement: Number(statement), ...(code ? { code: Number(code) } : {}) };
    }
  }
}

/** Lets the run go on from a stop: in a branch in which this call fails, or without one. */
export const goOn = (channel: Duplex, failure?: Failure): boolean =>
  channel.write(`${failure ? `${failure.when} ${failure.call}` : ""}\0`);
