/** components/args.ts, the arguments of `MlflowServer`, from the schema. */
import { z } from "zod";
import { nest } from "../components/schema/flat";
import { holder, type Key, keys, type Setting, schema } from "../components/schema/schema";

const introduction = `\
// Made by 'npm run generate' from components/schema/schema.ts: change it there.
import type * as pulumi from "@pulumi/pulumi";

/**
 * The arguments of \`MlflowServer\`. All wrong values are reported at once, before any connection is opened. What may be an
 * output of another resource is a \`pulumi.Input\`; the rest decides which resources are created.
 */
export interface MlflowServerArgs `;

/** A key, or what is nested below it. */
type Tree = { readonly [part: string]: Key | Tree };

export function renderArgs(): string {
  const own = keys.filter((key) => holder(key) === undefined);
  const tree = nest(own.map((key) => [key.split("."), key])) as Tree;
  return `${introduction}${renderObject(tree, "")}\n`;
}

function renderObject(tree: Tree, indent: string): string {
  const [part = "", only] = Object.entries(tree)[0] ?? [];
  if (part.startsWith("<") && only !== undefined) {
    return `Readonly<Record<string, ${typeof only === "string" ? renderType(only) : renderObject(only, indent)}>>`;
  }
  const members = Object.entries(tree).map(([name, member]) => renderMember(name, member, `${indent}  `));
  return `{\n${members.join("\n")}\n${indent}}`;
}

function renderMember(name: string, member: Key | Tree, indent: string): string {
  const inner = keysIn(member);
  const optional = inner.some((key) => "required" in schema[key]) ? "" : "?";
  const [first] = inner;
  const isLeaf = first !== undefined && (member === first || Object.keys(member)[0]?.startsWith("<"));
  return [
    ...(isLeaf ? [renderComment(first, indent)] : []),
    `${indent}readonly ${name}${optional}: ${typeof member === "string" ? renderType(member) : renderObject(member, indent)};`,
  ].join("\n");
}

const keysIn = (tree: Key | Tree): Key[] =>
  typeof tree === "string" ? [tree] : Object.values(tree).flatMap(keysIn);

function renderComment(key: Key, indent: string): string {
  const { type, default: usual, meaning, change, secret }: Setting = schema[key];
  const paragraphs = [
    meaning,
    `Value: ${type.description}.${secret ? " Kept secret in the state." : ""}`,
    `Changing it: ${change}`,
    ...(usual === undefined ? [] : [`@default ${JSON.stringify(usual)}`]),
  ];
  const lines = paragraphs.flatMap((text, index) => [
    ...(index === 0 ? [] : [""]),
    ...wrap(text, 106 - indent.length),
  ]);
  return [`${indent}/**`, ...lines.map((line) => `${indent} * ${line}`.trimEnd()), `${indent} */`].join("\n");
}

function wrap(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1) ?? "";
    const longer = line === "" ? word : `${line} ${word}`;
    if (longer.length <= width) {
      lines[lines.length - 1] = longer;
    } else {
      lines.push(word);
    }
  }
  return lines;
}

function renderType(key: Key): string {
  const { type, input }: Setting = schema[key];
  const plain = typeScript(z.toJSONSchema(type));
  return input ? `pulumi.Input<${plain}>` : plain;
}

function typeScript(value: z.core.JSONSchema._JSONSchema): string {
  if (typeof value === "boolean") {
    throw new Error("the schema has a value of any type");
  }
  const { type, anyOf, const: constant, enum: choice, items } = value;
  if (anyOf !== undefined) {
    return [...new Set(anyOf.map(typeScript))].join(" | ");
  }
  if (choice !== undefined || constant !== undefined) {
    return (choice ?? [constant]).map((each) => JSON.stringify(each)).join(" | ");
  }
  if (type === "array" && items !== undefined && !Array.isArray(items)) {
    return `readonly ${typeScript(items)}[]`;
  }
  return type === "integer" ? "number" : String(type);
}
