/** README.md and Pulumi.yaml say the same about the config keys as the program. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { parse as parseYaml } from "yaml";
import { keys, parseConfig, required } from "../../components/config";
import { hostKey, loginKey } from "./keys";

const project = join(__dirname, "../..");
const readProjectFile = (name: string) =>
  existsSync(join(project, name)) ? readFileSync(join(project, name), "utf8") : "";

type Fallback = string | number | boolean | readonly string[] | undefined;
const fallbacks: Readonly<Record<string, Fallback>> = Object.fromEntries(
  Object.entries(keys).map(([name, key]) => [name, key.fallback]),
);
const names = Object.keys(fallbacks);
const userRotation = "rotation.users.<name>";

describe("the table of config keys in README.md", () => {
  /** Cells of the table whose header begins with 'Key' and 'Default', by key. */
  let rows: Map<string, readonly string[]>;
  beforeAll(() => {
    rows = new Map();
    const cells = (line: string) =>
      line
        .trim()
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim());
    let inside = false;
    for (const line of readProjectFile("README.md").split("\n")) {
      const row = line.startsWith("|") ? cells(line) : [];
      if (/^key$/i.test(row[0] ?? "") && /^default$/i.test(row[1] ?? "")) {
        inside = true;
      } else if (row.length === 0) {
        inside = false;
      } else if (inside && !/^[-: ]+$/.test(row[0] ?? "")) {
        const name = /^`([^`]+)`$/.exec(row[0] ?? "")?.[1] ?? `no key in backticks: ${line}`;
        expect(rows.has(name), `${name} stands there twice`).toBe(false);
        rows.set(name, row);
      }
    }
  });

  test("has a row for each key, and no other", () => {
    expect([...rows.keys()].sort()).toEqual([...names, userRotation].sort());
  });

  test.each(names)("shows the default of %s", (name) => {
    const shown = rows.get(name)?.[1];
    const fallback = fallbacks[name];
    if (fallback === undefined) {
      expect(shown).toMatch((required as readonly string[]).includes(name) ? /^needed/ : /^(-|–|—|none)?$/);
    } else {
      expect(shown).toBe(`\`${typeof fallback === "object" ? `[${fallback.join(", ")}]` : fallback}\``);
    }
  });

  test("shows that users' passwords begin with rotation 1", () => {
    expect(rows.get(userRotation)?.[1]).toBe("`1`");
  });

  test.each([...names, userRotation])("says what %s means", (name) => {
    expect(rows.get(name)?.[2] ?? "").toMatch(/\w{2}/);
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
      const fallback = fallbacks[name];
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
    expect(Object.keys(withoutProject(yaml.template?.config)).sort()).toEqual([...required].sort());
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
    const plain = ({ connection: _, ...config }: ReturnType<typeof parseConfig>) => config;
    expect(plain(parseConfig({ ...dotted, ...objects, ...needed }, project))).toEqual(
      plain(parseConfig(needed, project)),
    );
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
