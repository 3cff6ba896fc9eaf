/** On a machine where git ends lines with CRLF (core.autocrlf), the host gets the same as from everywhere else. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { fullConfig, runProgram } from "./mocks";

const project = join(__dirname, "../..");
const components = join(project, "components");

const checkout = vi.hoisted(() => ({ crlf: false, read: [] as string[] }));
vi.mock("node:fs", async (original) => {
  const real = await original<typeof import("node:fs")>();
  return {
    ...real,
    readFileSync: (path: string, encoding: "utf8") => {
      const text = real.readFileSync(path, encoding);
      if (!checkout.crlf || !String(path).startsWith(components)) {
        return text;
      }
      checkout.read.push(path);
      return text.replaceAll("\n", "\r\n");
    },
  };
});
afterEach(() => {
  checkout.crlf = false;
});

test("its lines are sent as a checkout with LF sends them, and a lock is the same release", async () => {
  const config = { ...fullConfig, "tls.mode": "acme" };
  const sent = async () => (await runProgram(config)).resources.map(({ name, inputs }) => ({ name, inputs }));
  const wanted = await sent();
  checkout.crlf = true;
  expect(await sent()).toEqual(wanted);
  for (const kind of [
    /\/step\/library\/core\.sh$/,
    /\/hook\.sh$/,
    /\/serve\.py$/,
    /\/locks\/3\.17\.2\.txt$/,
  ]) {
    expect(checkout.read.some((path) => kind.test(path))).toBe(true);
  }
});

test("git is told to check out scripts, programs and locks with LF, and leaves pictures alone", () => {
  const directory = mkdtempSync(join(tmpdir(), "mlflow-vps-checkout-"));
  const git = (...args: string[]) =>
    execFileSync("git", ["-C", directory, "-c", "core.autocrlf=true", ...args], { stdio: "pipe" });
  const at = (name: string) => join(directory, name);
  const scripts = ["mlflow-vps", "core.sh", "serve.py", "3.17.2.txt"];
  try {
    git("init", "--quiet");
    copyFileSync(join(project, ".gitattributes"), at(".gitattributes"));
    mkdirSync(at("docs"));
    copyFileSync(join(project, "docs/ui.png"), at("docs/ui.png"));
    for (const name of scripts) {
      writeFileSync(at(name), "one\ntwo\n");
    }
    git("add", ".");
    for (const name of [...scripts, "docs/ui.png"]) {
      rmSync(at(name));
    }
    git("checkout", "--quiet", "--", ".");
    expect(scripts.map((name) => readFileSync(at(name), "utf8"))).toEqual(scripts.map(() => "one\ntwo\n"));
    expect(readFileSync(at("docs/ui.png")).equals(readFileSync(join(project, "docs/ui.png")))).toBe(true);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
