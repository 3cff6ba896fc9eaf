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
