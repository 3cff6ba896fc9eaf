import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Guest, hostTool } from "./harness";

/** What the guests of the other tests rely on: their packages come from one cache on this machine. */
const guest = new Guest("test-sandbox");

/** Addresses that nobody has asked for, of what the guests get from Debian and from PyPI. */
const fresh = () => [
  `http://deb.debian.org/debian/dists/bookworm/Release?${randomUUID()}`,
  `https://pypi.org/simple/six/?${randomUUID()}`,
];
/** Fetches as the guest's own programs do: by its hosts, with the authorities that it trusts. */
const fetchAll = (urls: readonly string[]) =>
  guest.run(`python3 - ${urls.map((url) => `'${url}'`).join(" ")} <<'END'
import sys, urllib.request
for url in sys.argv[1:]:
    assert len(urllib.request.urlopen(url, timeout=60).read()) > 1000, url
END`);
/** What the cache did for each request of an address. */
const served = (url: string) =>
  readFileSync("/var/cache/mlflow-vps/access.log", "utf8")
    .split("\n")
    .filter((line) => line.endsWith(` ${url}`))
    .map((line) => line.split(" ")[0]);

beforeAll(async () => {
  await guest.down();
  await guest.up();
});
afterAll(() => guest.down());

describe("the packages of a guest", () => {
  it("come from the network once, for every guest of the machine", async () => {
    const urls = fresh();
    await fetchAll(urls);
    await guest.rebuild();
    await fetchAll(urls);
    for (const url of urls) {
      expect(served(url)).toEqual(["MISS", "HIT"]);
    }
  });

  it("are refused, not waited for, while the cache is gone; the next start brings it back", async () => {
    const processes = hostTool("ip", ["netns", "pids", "mlflow-vps-0"]).trim().split("\n");
    hostTool("kill", ["-KILL", ...processes]);
    await expect(fetchAll(fresh())).rejects.toThrow(/Connection refused/);
    await guest.up();
    const urls = fresh();
    await fetchAll(urls);
    expect(urls.map(served)).toEqual([["MISS"], ["MISS"]]);
  });

  it("come from the mirrors themselves where this is asked for", async () => {
    await guest.rebuild("--mirrors", "real");
    const urls = fresh();
    await fetchAll(urls);
    expect(urls.map(served)).toEqual([[], []]);
  });
});
