import { resolve } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import type { MlflowServerArgs } from "../components/args";
import { check, keyOf, pathOf } from "../components/schema/check";
import { flatten, nest } from "../components/schema/flat";
import { type Problem, tellProblems } from "../components/schema/problem";
import { holder, type Setting, schema } from "../components/schema/schema";
import { readFiles } from "./files";
import { interpret, parseJson } from "./text";

/** Config values of the project by key, as the engine gives them: text, or JSON for lists and objects. */
type Raw = Readonly<Record<string, string>>;

/** The server that the config of the stack being deployed describes. */
export function readStackConfig(): MlflowServerArgs {
  const prefix = `${pulumi.getProject()}:`;
  const own = Object.entries(pulumi.runtime.allConfig())
    .filter(([key]) => key.startsWith(prefix))
    .map(([key, value]) => [key.slice(prefix.length), value] as const);
  return parseConfig(Object.fromEntries(own), resolve(__dirname, ".."));
}

/**
 * @param directory where relative paths start
 * @throws one error that lists every wrong value: its key, what is allowed, what was given
 */
export function parseConfig(raw: Raw, directory: string): MlflowServerArgs {
  const { texts, problems: clashes } = merge(raw);
  const given = new Map<string, unknown>(
    [...texts].map(([name, text]) => [name, interpret(keyOf(name), text)]),
  );
  const files = readFiles(given, directory);
  const unread = new Set([...files.sources.keys()].filter((key) => !files.values.has(key)));
  const complete = new Map([...given, ...files.values]);
  const { problems } = check(complete, unread);
  const all = [
    ...clashes,
    ...files.problems,
    // A value is wrong where it was written.
    ...problems.map(({ key, reason }) => ({ key: files.sources.get(key) ?? key, reason })),
  ];
  if (all.length > 0) {
    throw new pulumi.RunError(tellProblems("the configuration", all));
  }
  const args = [...complete]
    .filter(([name]) => !isFile(name))
    .map(([name, value]) => [pathOf(name), value] as const);
  // The arguments are the schema's keys as nested objects, and each value was just found to be allowed.
  return nest(args) as MlflowServerArgs;
}

/**
 * Config as a list of dotted keys. `rotation: {"users": {"ada": 2}}`, as `pulumi config set --path` writes it and as the
 * engine passes on its defaults, is `rotation.users.ada: 2`; an empty text stands for nothing given.
 */
function merge(raw: Raw): { readonly texts: ReadonlyMap<string, string>; readonly problems: Problem[] } {
  const isGiven = ([, value]: readonly [string, unknown]) => value !== "";
  const plain = Object.entries(raw).filter(([, value]) => !value.startsWith("{"));
  const objects = Object.entries(raw).filter(([, value]) => value.startsWith("{"));
  const nested = new Map(
    flatten(Object.fromEntries(objects.map(([key, value]) => [key, parseJson(value)])))
      .filter(isGiven)
      .map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)] as const),
  );
  const twice = plain.filter(isGiven).filter(([key, value]) => {
    const other = nested.get(key);
    return other !== undefined && other !== value && other !== defaultText(key);
  });
  return {
    texts: new Map([...nested, ...plain.filter(isGiven)]),
    problems: twice.map(([key]) => ({
      key,
      reason: `is set twice, with and without --path; remove one with 'pulumi config rm ${key}'`,
    })),
  };
}

function isFile(name: string): boolean {
  const key = keyOf(name);
  return key !== undefined && holder(key) !== undefined;
}

function defaultText(name: string): string | undefined {
  const key = keyOf(name);
  const { default: usual }: Partial<Setting> = key === undefined ? {} : schema[key];
  return usual === undefined ? undefined : String(usual);
}
