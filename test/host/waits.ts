import { beforeAll } from "vitest";
import type { Wait } from "../timeline";

const waits: Wait[] = [];

// The timeline gets them with the file's result.
// biome-ignore lint/correctness/noEmptyPattern: vitest wants a pattern, of fixtures
beforeAll(({}, { file }) => {
  file.meta.waits = waits;
});

/** Does something that the tests wait for, for the timeline to tell. */
export async function waiting<T>(kind: Wait["kind"], work: () => Promise<T>): Promise<T> {
  const from = Date.now();
  try {
    return await work();
  } finally {
    waits.push({ kind, from, to: Date.now() });
  }
}

/** Waits until a condition holds; one that throws does not hold yet. */
export async function until(condition: () => Promise<boolean>, what: string, seconds = 60): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  let last = "";
  while (
    !(await condition().catch((error: Error) => {
      last = error.message;
      return false;
    }))
  ) {
    if (Date.now() > deadline) {
      throw new Error(`${what}: not within ${seconds} s ${last}`);
    }
    await new Promise((next) => setTimeout(next, 200));
  }
}
