/** The config block of Pulumi.yaml, from the schema. */
import { stringify } from "yaml";
import { z } from "zod";
import { holder, type Key, keys, type Setting, schema } from "../components/schema/schema";

const heading = `\
# Made by 'npm run generate' from components/schema/schema.ts. An empty default stands for 'not set'.
# Keys with a dot are paths: pulumi config set --path host.address …
# Those with a name in them cannot be declared: ${keys.filter((key) => key.includes("<")).join(", ")}.
`;

/** @param current the file, whose other parts stay as they are; the block is the last of them */
export function renderPulumiYaml(current: string): string {
  const [others = ""] = current.split(/^(?:#.*\n)*config:$/m);
  const config = Object.fromEntries(
    keys.filter((key) => !key.includes("<")).map((key) => [key, declaration(key)]),
  );
  // YAML 1.1 quotes a time of the day, which some readers take for a number.
  return `${others}${heading}${stringify({ config }, { lineWidth: 0, version: "1.1" })}`;
}

/** No `secret`: with a default, without which a key is required, it makes every command of the CLI fail. */
function declaration(key: Key) {
  const { type, default: usual = "" }: Setting = schema[key];
  return { ...pulumiType(type), default: usual, description: describe(key) };
}

function pulumiType(type: z.ZodType) {
  const { type: name } = z.toJSONSchema(type);
  switch (name) {
    case "integer":
    case "boolean":
      return { type: name };
    case "array":
      return { type: name, items: { type: "string" } };
    default:
      return { type: "string" };
  }
}

function describe(key: Key): string {
  const { type, meaning, required, secret }: Setting = schema[key];
  const file = keys.find((other) => holder(other) === key);
  return [
    meaning.replaceAll("`", ""),
    `Value: ${type.description}.`,
    ...(required ? [file === undefined ? "Required." : `Required, or ${file}.`] : []),
    ...(secret ? ["Set it with --secret."] : []),
  ].join(" ");
}
