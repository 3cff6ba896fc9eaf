/** What the docs and Pulumi.yaml say about the settings is what the schema says. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse as parseYaml } from "yaml";
import { check } from "../../components/schema/check";
import { flatten } from "../../components/schema/flat";
import { type Key, keys, requiredKeys, type Setting, schema } from "../../components/schema/schema";
import { generated } from "../../config/generate";
import { showDefault } from "../../config/reference";
import { parseConfig } from "../../config/stackConfig";
import { hostKey, loginKey } from "./keys";

const project = join(__dirname, "../..");
const readProjectFile = (name: string) =>
  existsSync(join(project, name)) ? readFileSync(join(project, name), "utf8") : "";

/** Keys that Pulumi.yaml can declare: their names are known before a stack is. */
const names = keys.filter((key) => !key.includes("<"));

describe("what is made from the schema", () => {
  test.each(Object.entries(generated))("%s is as 'npm run generate' makes it", (name, render) => {
    const current = readProjectFile(name);
    expect(current).toBe(render(current));
  });

  test.each(keys)("tells of %s what it means, what is allowed, and what a change of it does", (key) => {
    const { type, meaning, change }: Setting = schema[key];
    const text = readProjectFile("docs/configuration.md");
    const section = text.split(/^## /m).find((each) => each.startsWith(`\`${key}\`\n`));
    for (const said of [meaning, change, type.description]) {
      expect(said).toMatch(/\w{2}/);
      expect(section).toContain(said);
    }
  });

  test.each(keys)("has a default of %s that is allowed", (key) => {
    const { type, default: value }: Setting = schema[key];
    expect(value === undefined || type.safeParse(value).success).toBe(true);
  });
});

describe("the table of config keys in README.md", () => {
  const cells = (line: string) => line.split("|").map((cell) => cell.trim());
  const [, table = ""] =
    /^\| Key \| Default \|.*\n\|[-| ]+\n((?:\|.*\n)+)/m.exec(readProjectFile("README.md")) ?? [];
  const rows = table
    .trim()
    .split("\n")
    .map((line) => cells(line).slice(1, 4));

  test("leaves out nothing that is required", () => {
    expect(rows.map(([name]) => name)).toEqual(
      expect.arrayContaining(requiredKeys.map((key) => `\`${key}\``)),
    );
  });

  test.each(rows)("shows of %s the default %s", (name = "", shown, meaning) => {
    const key = keys.find((each) => `\`${each}\`` === name);
    expect(key, `${name} is a key`).toBeDefined();
    expect(shown).toBe(showDefault(key as Key));
    expect(meaning).toMatch(/\w{2}/);
  });
});

describe("README.md", () => {
  test("shows pictures and names files that are there, and holds no placeholder", () => {
    const text = readProjectFile("README.md");
    for (const [, file = ""] of text.matchAll(/\]\((?!https?:)([^)]+)\)/g)) {
      expect([file, existsSync(join(project, file))]).toEqual([file, true]);
    }
    expect(text).not.toMatch(/^[A-Z]{4,}$|TODO|TBD/m);
  });
});

describe("Pulumi.yaml", () => {
  interface Declaration {
    readonly type?: string;
    readonly items?: { readonly type?: string };
    readonly default?: unknown;
    readonly description?: string;
    readonly secret?: boolean;
  }
  interface Project {
    readonly name: string;
    readonly config?: Readonly<Record<string, Declaration>>;
    readonly template?: { readonly config?: Readonly<Record<string, Declaration>> };
  }
  const yaml: Project = parseYaml(readProjectFile("Pulumi.yaml"));
  const withoutProject = (declarations: Readonly<Record<string, Declaration>> = {}) =>
    Object.fromEntries(
      Object.entries(declarations).map(([name, it]) => [name.replace(`${yaml.name}:`, ""), it]),
    );
  const declared = withoutProject(yaml.config);

  test("declares each key, and no other", () => {
    expect(Object.keys(declared).sort()).toEqual([...names].sort());
  });

  test.each(names)(
    "declares %s with the program's default, of a type that fits, and a description",
    (name) => {
      const { default: fallback }: Setting = schema[name];
      const declaration = declared[name];
      expect(declaration?.default).toEqual(fallback ?? ""); // an empty text stands for nothing given
      switch (typeof fallback) {
        case "number":
          expect(declaration?.type).toBe("integer");
          break;
        case "boolean":
          expect(declaration?.type).toBe("boolean");
          break;
        case "object":
          expect(declaration).toMatchObject({ type: "array", items: { type: "string" } });
          break;
        default:
          expect(declaration?.type).toBe("string");
      }
      expect(declaration?.description).toMatch(/\w{2}/);
      expect(declaration).not.toHaveProperty("secret"); // with a default, it makes every command of the CLI fail
    },
  );

  test("lets 'pulumi new' ask for what is needed, and for nothing else", () => {
    expect(Object.keys(withoutProject(yaml.template?.config)).sort()).toEqual([...requiredKeys].sort());
  });

  test("changes nothing by its defaults, dotted or nested", () => {
    const needed = {
      "host.address": "192.0.2.10",
      "host.user": "deploy",
      "host.hostKey": hostKey.public,
      "host.privateKey": loginKey.private,
    };
    const dotted: Record<string, string> = {};
    const nested: Record<string, Record<string, unknown>> = {};
    for (const [name, { default: value }] of Object.entries(declared)) {
      const [first = "", second] = name.split(".");
      if (second === undefined) {
        dotted[name] = typeof value === "object" ? JSON.stringify(value) : String(value);
      } else {
        nested[first] = { ...nested[first], [second]: value };
      }
    }
    const objects = Object.fromEntries(
      Object.entries(nested).map(([name, it]) => [name, JSON.stringify(it)]),
    );
    const values = (config: Readonly<Record<string, string>>) =>
      check(new Map(flatten(parseConfig(config, project)))).values;
    expect(values({ ...dotted, ...objects, ...needed })).toEqual(values(needed));
  });
});

describe("docs/faults.md", () => {
  const text = readFileSync(join(project, "docs/faults.md"), "utf8");
  const rows = text.split("\n").filter((line) => /^\| (?!Fault \|)/.test(line));
  const tests = (file: string) =>
    readFileSync(
      file === "story"
        ? join(project, "test/engine/story.test.ts")
        : join(project, "test/host", file === "interruptions" ? `${file}.ts` : `${file}.test.ts`),
      "utf8",
    );

  test.each(rows.map((row) => row.split(" | ").at(-1)?.replace(/ \|$/, "") ?? ""))(
    "names a test: %s",
    (name) => {
      const [file = "", title = ""] = name.split(/: (.*)/);
      expect(tests(file)).toContain(title);
    },
  );

  test("leaves out no test of the faults", () => {
    const files = ["faults", "installing", "interruptions"].map(tests).join("\n");
    const titles = [...files.matchAll(/^ {2}it(?:\.each\(steps\))?\(\s*"([^"]+?)(?: %s.*)?"/gm)].map(
      ([, title]) => title,
    );
    expect(titles.length).toBeGreaterThan(15);
    for (const title of titles) {
      expect(text).toContain(title);
    }
  });
});
