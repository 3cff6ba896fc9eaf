import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { sharesOf, type Wait } from "../timeline";
import typicalSeconds from "../typicalSeconds.json";

const wait = (kind: Wait["kind"], from: number, to: number): Wait => ({
  kind,
  from: from * 1000,
  to: to * 1000,
});
const shares = (...waits: Wait[]) => sharesOf({ from: 10_000, to: 20_000 }, waits);

describe("the timeline", () => {
  it("calls a test's own what it did not wait for", () => {
    expect(shares()).toEqual({ seconds: 10, guest: 0, apply: 0, client: 0, test: 10 });
    expect(shares(wait("guest", 11, 13), wait("client", 14, 15))).toEqual({
      seconds: 10,
      guest: 2,
      apply: 0,
      client: 1,
      test: 7,
    });
  });

  it("counts a moment once, however many are waited for", () => {
    expect(shares(wait("apply", 11, 14), wait("apply", 12, 15)).apply).toBe(4);
    expect(shares(wait("apply", 11, 15), wait("guest", 12, 13), wait("client", 14, 16))).toEqual({
      seconds: 10,
      guest: 1,
      apply: 3,
      client: 1,
      test: 5,
    });
  });

  it("leaves out what was waited for before and afterwards", () => {
    expect(shares(wait("guest", 0, 5), wait("guest", 9, 11), wait("apply", 19, 30))).toEqual({
      seconds: 10,
      guest: 1,
      apply: 1,
      client: 0,
      test: 8,
    });
  });
});

describe("the order of the files, longest first", () => {
  it("is of files that are there", () => {
    const project = resolve(__dirname, "../..");
    expect(Object.keys(typicalSeconds).filter((file) => !existsSync(resolve(project, file)))).toEqual([]);
  });
});
