/** docs/configuration.md, from the schema. */
import { holder, type Key, keys, type Setting, schema } from "../components/schema/schema";

const introduction = `\
# Configuration

<!-- Made by 'npm run generate' from components/schema/schema.ts: change it there. -->

\`pulumi config set --path KEY VALUE\`, or edit \`Pulumi.<stack>.yaml\`. All wrong values are reported at once, each with what is
allowed and what was given, before any connection is opened. A change takes effect with the next \`pulumi up\`, which shows it first.
No change drops a request, except one of what clients connect to (\`host.address\`, \`domain\`, \`proxy.*\`, \`tls.mode\`) or of where the
data are (\`database.*\`, \`artifacts.directory\`).

A **secret** is set with \`pulumi config set --secret --path KEY\`, which asks for the value: it is encrypted in the stack's file,
and no message repeats it.
`;

export function renderReference(): string {
  return [introduction, overview(), ...keys.map(renderKey)].join("\n");
}

function overview(): string {
  const rows = keys.map((key) => `| [\`${key}\`](#${anchor(key)}) | ${showDefault(key)} |`);
  return ["| Key | Default |", "|---|---|", ...rows, ""].join("\n");
}

function renderKey(key: Key): string {
  const { type, meaning, change, secret }: Setting = schema[key];
  return `\
## \`${key}\`

${meaning}

- Value: ${type.description}${secret ? " (**secret**)" : ""}
- Default: ${showDefault(key)}
- Changing it: ${change}
`;
}

/** The default, or what takes the place of one. */
export function showDefault(key: Key): string {
  const { default: value, required }: Setting = schema[key];
  if (value !== undefined) {
    return `\`${Array.isArray(value) ? `[${value.join(", ")}]` : value}\``;
  }
  const file = keys.find((other) => holder(other) === key);
  return required ? `**required**${file === undefined ? "" : `, or \`${file}\``}` : "none";
}

/** As GitHub makes it from a heading. */
const anchor = (key: Key) => key.toLowerCase().replace(/[^a-z0-9_-]/g, "");
