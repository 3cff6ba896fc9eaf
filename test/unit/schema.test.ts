/** The schema of the settings: what it makes of what is given, whoever gives it. */
import { join } from "node:path";
import { build } from "esbuild";
import { describe, expect, test } from "vitest";
import { check, keyOf } from "../../components/schema/check";
import { flatten } from "../../components/schema/flat";
import { keys } from "../../components/schema/schema";
import { hostKey, loginKey } from "./keys";

const least = {
  "host.address": "192.0.2.10",
  "host.user": "deploy",
  "host.hostKey": hostKey.public,
  "host.privateKey": loginKey.private,
};
const given = (more: object = {}) => new Map(Object.entries({ ...least, ...more }));

describe("keys with a name in them", () => {
  test("are found in the schema, whatever the name is", () => {
    expect(keyOf("rotation.users.ada")).toBe("rotation.users.<name>");
    expect(keyOf("rotation.users.grace.h")).toBe("rotation.users.<name>");
    expect(keyOf("rotation.users.<name>")).toBe("rotation.users.<name>");
  });

  test.each(["rotation.users", "rotation.users.", "rotationXusers.ada", "rotation.user.ada", "constructor"])(
    "are not found for %s",
    (name) => expect(keyOf(name)).toBeUndefined(),
  );

  test("are one record of what is given for each name", () => {
    const { values, problems } = check(
      given({ users: ["ada", "grace.h"], "rotation.users.ada": 2, "rotation.users.grace.h": 3 }),
    );
    expect(problems).toEqual([]);
    expect(values["rotation.users.<name>"]).toEqual({ ada: 2, "grace.h": 3 });
  });

  test("are named with the name when they are wrong", () => {
    const { problems } = check(given({ users: ["ada"], "rotation.users.ada": 0, "rotation.users.bob": 2 }));
    expect(problems.map(({ key }) => key)).toEqual(["rotation.users.ada"]);
  });
});

describe("a check", () => {
  test("takes values of their own types only", () => {
    const { problems } = check(given({ "host.port": "22", firewall: "true", users: "ada" }));
    expect(problems.map(({ key }) => key)).toEqual(["host.port", "users", "firewall"]);
  });

  test("says nothing about what is not known yet, and asks no rule that looks at it", () => {
    const unknown = new Set(["host.privateKey", "service.port"]);
    const { problems } = check(
      new Map(Object.entries({ ...least, "host.privateKey": undefined, "service.port": 5432 })),
      unknown,
    );
    expect(problems).toEqual([]);
    expect(check(given({ "service.port": 5432 })).problems).toHaveLength(1);
  });

  test("asks no rule about a value that is wrong already", () => {
    const { problems } = check(given({ "tls.mode": "provided", "tls.certificate": 7, "tls.privateKey": "" }));
    expect(problems.map(({ key }) => key)).toEqual(["tls.certificate"]);
  });
});

describe("nested objects", () => {
  test("become dotted keys; a list is a value", () => {
    const nested = {
      host: { port: 22 },
      users: ["ada"],
      rotation: { users: { "grace.h": 2 } },
      firewall: true,
    };
    expect(Object.fromEntries(flatten(nested))).toEqual({
      "host.port": 22,
      users: ["ada"],
      "rotation.users.grace.h": 2,
      firewall: true,
    });
  });
});

describe("what only looks at a host", () => {
  // The engine stores the probe's code, and each refresh loads what it requires.
  test.each(["components/step/probe.ts", "components/step/observe.ts", "cli/commands/drift.ts"])(
    "loads neither zod nor the schema: %s",
    async (program) => {
      const { metafile } = await build({
        entryPoints: [join(__dirname, "../..", program)],
        bundle: true,
        packages: "external",
        platform: "node",
        format: "cjs",
        metafile: true,
        write: false,
      });
      const loaded = Object.entries(metafile.inputs).flatMap(([file, { imports }]) => [
        file,
        ...imports.map(({ path }) => path),
      ]);
      expect(loaded).toContain("ssh2");
      expect(loaded.filter((path) => /zod|schema|^config\//.test(path))).toEqual([]);
    },
  );
});

test("the schema's keys each stand there once, and none is the beginning of another", () => {
  for (const key of keys) {
    expect(keys.filter((other) => other === key || other.startsWith(`${key}.`))).toEqual([key]);
  }
});
