import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { schema } from "../../components/schema/schema";
import { findRelease, supportedVersions } from "../../components/tracking/release";

const locks = join(__dirname, "../../components/tracking/runtime/locks");
const lockFiles = fs.readdirSync(locks).filter((file) => file.endsWith(".txt"));
const read = (file: string) => fs.readFileSync(join(locks, file), "utf8");

/** The requirements of a lock, each with its continued lines as one. */
const requirements = (text: string) =>
  text
    .replaceAll("\\\n", " ")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));

/** Whether a requirement's condition is met on Python 3.`minor`; all hosts are Linux with CPython. */
function applies(condition: string | undefined, minor: number): boolean {
  return (condition?.split(" and ") ?? []).every((part) => {
    const [, relation, bound] = /^python_version (<|>=) '3\.(\d+)'$/.exec(part) ?? [];
    if (relation === undefined) {
      throw new Error(`the tests do not know the condition ${part}`);
    }
    return relation === "<" ? minor < Number(bound) : minor >= Number(bound);
  });
}

const overlay = vi.hoisted(() => ({ files: new Map<string, string>() }));
vi.mock("node:fs", async (original) => {
  const real = await original<typeof fs>();
  return {
    ...real,
    readdirSync: (path: string) => [
      ...real.readdirSync(path),
      ...[...overlay.files.keys()]
        .filter((file) => file.startsWith(path))
        .map((file) => file.slice(path.length + 1)),
    ],
    readFileSync: (path: string, encoding: "utf8") =>
      overlay.files.get(path) ?? real.readFileSync(path, encoding),
  };
});
afterEach(() => overlay.files.clear());

describe("the versions of MLflow", () => {
  test("are those that have a lock", () => {
    const files = supportedVersions().map((version) => `${version}.txt`);
    expect([...files, "uv.txt"].sort()).toEqual([...lockFiles].sort());
    expect(supportedVersions()).toContain(schema["mlflow.version"].default);
  });

  test("are in the order of their release, and nothing else in the folder is one", () => {
    const shipped = supportedVersions();
    const more = ["999.9.0.txt", "0.9.0.txt", "999.10.0.txt", "0.10.0.txt"];
    for (const file of [...more, "3.17.txt", "3.17.2.txt.orig", "notes.md", "3.17.2rc1.txt", "3.17.2.json"]) {
      overlay.files.set(join(locks, file), "");
    }
    expect(supportedVersions()).toEqual(["0.9.0", "0.10.0", ...shipped, "999.9.0", "999.10.0"]);
  });

  test.each(["9.9.9", "uv", "", "../locks/3.17.2", "3.17.2.txt"])(
    "without a lock are refused: '%s'",
    (version) => {
      expect(() => findRelease(version)).toThrow(
        `no lock for MLflow ${version}; there are: ${supportedVersions().join(", ")}`,
      );
    },
  );
});

describe("a release", () => {
  test.each(supportedVersions())("of %s is what its lock says, in a directory that names both", (version) => {
    const lock = read(`${version}.txt`);
    const digest = createHash("sha256").update(lock).digest("hex").slice(0, 8);
    expect(findRelease(version)).toEqual({
      version,
      lock,
      directory: `/opt/mlflow/releases/${version}-${digest}`,
    });
  });

  test("with another lock of the same version is another directory", () => {
    const before = findRelease("3.17.2");
    overlay.files.set(join(locks, "3.17.2.txt"), before.lock.replace(/[0-9a-f]{64}/, "0".repeat(64)));
    const after = findRelease("3.17.2");
    expect(after.directory).not.toBe(before.directory);
    expect(after.directory).toMatch(/^\/opt\/mlflow\/releases\/3\.17\.2-[0-9a-f]{8}$/);
  });
});

describe.each(lockFiles)("the lock %s", (file) => {
  const text = read(file);
  const lines = requirements(text);

  test("pins each requirement to one version, with the hashes of its wheels", () => {
    for (const line of lines) {
      expect(line).toMatch(
        /^[a-z0-9]+([._-][a-z0-9]+)*==\d[^\s;*]*( ; [^\\]+?)?( +--hash=sha256:[0-9a-f]{64})+$/,
      );
    }
    expect(lines.length).toBeGreaterThan(0);
  });

  test("names no other source than the host's package index", () => {
    expect(text).not.toMatch(/:\/\/|@ |^\s*(-|--(index|extra|find|trusted)\S*|-[ceifr])\s/m);
    expect(text).not.toMatch(/^\s*--(?!hash=)/m);
  });

  test("has each package once for every Python that it serves", () => {
    const entries = lines.map((line) => /^([^=]+)==\S+(?: ; ([^\\]+?))? +--hash/.exec(line) ?? []);
    for (const minor of [10, 11, 12, 13]) {
      const taken = entries.filter(([, , condition]) => applies(condition, minor)).map(([, name]) => name);
      expect(new Set(taken).size).toBe(taken.length);
    }
  });

  test("says how it was made", () => {
    expect(text.split("\n")[0]).toMatch(
      new RegExp(`^# Made by: uv run make\\.py ${file.replaceAll(".", "\\.")} `),
    );
  });

  if (file !== "uv.txt") {
    const version = file.replace(/\.txt$/, "");
    test("holds that MLflow, and the database driver of its URI", () => {
      expect(text.split("\n")[0]).toContain(` mlflow==${version} psycopg2-binary `);
      const pins = lines.map((line) => line.split(" ")[0]);
      expect(pins).toContain(`mlflow==${version}`);
      expect(pins).toContain(`mlflow-skinny==${version}`);
      expect(pins).toEqual(expect.arrayContaining([expect.stringMatching(/^psycopg2-binary==\d/)]));
    });
  }
});
