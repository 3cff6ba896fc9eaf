/** What the docs and Pulumi.yaml say is what the schema, the sources and the files of the project say. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
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

/** Markdown as it is read: without what is quoted as code, and comments. */
const proseOf = (text: string) => text.replace(/^```.*?^```/gms, "").replace(/<!--.*?-->/gs, "");

/** What a link to each heading ends in. Source: GitHub, whose second one of a name ends in '-1'. */
function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ""] of proseOf(text).matchAll(/^#{1,6} +(.+)$/gm)) {
    const shown = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const anchor = shown.replace(/[^\p{L}\p{M}\p{N} _-]/gu, "").replaceAll(" ", "-");
    let [unique, count] = [anchor, 0];
    while (anchors.has(unique)) {
      unique = `${anchor}-${++count}`;
    }
    anchors.add(unique);
  }
  return anchors;
}

/** Links in a document to what is not there. */
function brokenLinks(document: string): string[] {
  const text = proseOf(readProjectFile(document)).replace(/`[^`\n]*`/g, "");
  const links = [...text.matchAll(/\]\(([^)\s]+)[^)]*\)/g)].map(([, link = ""]) => link);
  return links
    .filter((link) => !/^[a-z]+:/.test(link))
    .filter((link) => {
      const [path = "", anchor] = link.split("#");
      const file = path === "" ? document : join(dirname(document), path);
      return (
        !existsSync(join(project, file)) ||
        (anchor !== undefined && !anchorsOf(readProjectFile(file)).has(anchor))
      );
    });
}

const filesIn = (directory: string) =>
  readdirSync(join(project, directory), { recursive: true, encoding: "utf8" })
    .map((file) => join(directory, file))
    .filter((file) => !file.includes("node_modules") && statSync(join(project, file)).isFile());

const documents = [...readdirSync(project), ...filesIn("docs"), ...filesIn("examples")].filter((file) =>
  file.endsWith(".md"),
);

describe("the docs", () => {
  test("are all there", () => {
    const chapters = ["README.md", "SECURITY.md", "docs/using.md", "docs/troubleshooting.md"];
    expect(documents).toEqual(expect.arrayContaining([...chapters, "examples/iris/README.md"]));
  });

  test.each(documents)("link in %s to files, pictures and headings that are there", (document) => {
    expect(brokenLinks(document)).toEqual([]);
  });

  test.each(documents)("hold no placeholder in %s", (document) => {
    expect(readProjectFile(document)).not.toMatch(/^[A-Z]{4,}$|TODO|TBD/m);
  });
});

describe("docs/troubleshooting.md", () => {
  const entries = readProjectFile("docs/troubleshooting.md").split(/^(?=##)/m);
  const symptoms = entries.filter((entry) => entry.startsWith("### "));
  /** The messages that are quoted as headings, with '…' for what differs. */
  const messages = symptoms.flatMap((entry) =>
    [...(entry.split("\n")[0] ?? "").matchAll(/`([^`]+)`/g)].map(([, message = ""]) => message),
  );
  /** All that says something to people; a text that is written in pieces in one. */
  const sources = ["components", "cli", "config", "examples/iris"]
    .flatMap(filesIn)
    .filter((file) => /\.(ts|sh|py)$/.test(file))
    .map((file) => readProjectFile(file).replace(/["'`]\s*\+\s*["'`]/g, ""));
  const literally = (text: string) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");

  test("has an entry for what people meet", () => {
    expect(messages.length).toBeGreaterThan(40);
    expect(new Set(messages).size).toBe(messages.length);
  });

  test.each(messages)("quotes what the program says: %s", (message) => {
    const constant = message
      .split("…")
      .map((part) => part.trim())
      .filter((part) => part !== "");
    expect(constant.join("").length).toBeGreaterThan(10);
    const said = new RegExp(constant.map(literally).join(".*"));
    expect(
      sources.some((text) => said.test(text)),
      `no source says '${message}'`,
    ).toBe(true);
  });

  test.each(symptoms.map((entry) => entry.split(/\n(.*)/s)))(
    "says why, and what mends it: %s",
    (_, entry) => {
      expect(entry).toMatch(/^\*\*Why:\*\* \S/m);
      expect(entry).toMatch(/^```sh\n\S/m);
    },
  );
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
