import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { client, Deployment, fingerprint, Guest, searchExperiments, send, until } from "./harness";

/** Two environments from one checkout, on Debian 12 and on Debian 13, applied at the same time. */
const staging = new Deployment(new Guest("test-staging"), { users: ["ada"] });
const production = new Deployment(new Guest("test-production"), {
  users: ["ada"],
  "proxy.port": 8443,
  "proxy.httpPort": 0,
});

beforeAll(async () => {
  await Promise.all([staging.guest.down(), production.guest.down()]);
  await Promise.all([
    staging.guest.up(),
    production.guest.up("--suite", "trixie", "--mirrors", "real"), // Debian 12 by those: life
  ]);
});
afterAll(() => Promise.all([staging.guest.down(), production.guest.down()]));

describe("two environments side by side", () => {
  it("are applied at the same time and know nothing of each other", async () => {
    // Neither a login script that prints, nor another program on port 80 with a proxy on another, is in the way.
    await staging.guest.run("sed -i '1i echo Welcome to staging' /home/deploy/.bashrc");
    await production.guest.start("exec python3 -m http.server 80");
    await until(
      async () => (await send(`http://${production.guest.address}/`)).status === 200,
      "the program on port 80",
    );
    await Promise.all([staging.up(), production.up()]);
    await client(staging, ["-c", "import mlflow; mlflow.set_experiment('only in staging')"]);
    const [there, here] = await Promise.all(
      [staging, production].map(({ outputs }) =>
        searchExperiments(outputs.trackingUri, "ada", outputs.users.ada),
      ),
    );
    expect(there?.body).toContain("only in staging");
    expect(here?.status).toBe(200);
    expect(here?.body).not.toContain("only in staging");
    expect(staging.outputs.users.ada).not.toBe(production.outputs.users.ada);
    const stranger = await searchExperiments(
      production.outputs.trackingUri,
      "ada",
      staging.outputs.users.ada,
    );
    expect(stranger.status).toBe(401);
    expect(await staging.drift()).toEqual([]);
    expect(await production.drift()).toEqual([]);
  });

  it("belong to one stack each: another one is refused, and nothing is changed", async () => {
    const { guest } = staging;
    const second = new Deployment(guest, { users: ["eve"] }, "second");
    const before = await fingerprint(guest);
    const refusal =
      "this host belongs to the stack mlflow-vps/sandbox, and this is mlflow-vps/second; destroy that one first, or where it is " +
      "gone or was renamed, on the host: echo 'mlflow-vps/second' | sudo tee /etc/mlflow-vps/owner";
    expect(await second.upFails()).toContain(
      `${guest.address} cannot take the server yet; nothing was changed on it:\n  - ${refusal}\n`,
    );
    await expect(second.destroy()).rejects.toThrow(`proxy: FAILED: ${refusal}. Nothing was changed`);
    expect(await fingerprint(guest)).toBe(before);
  });

  it("log the iris experiment on Debian 13 too", async () => {
    const output = await client(production, [
      "examples/iris/iris.py",
      "--trees",
      "2",
      "--plot",
      `${production.guest.directory}/accuracy.png`,
    ]);
    expect(output).toMatch(/^ +2 +0\.\d+/m);
  });
});
