import { library, type Part } from "./library";
import { readText } from "./text";

/** The first line of every file that is put on the host. */
export const managed =
  "# Managed by mlflow-vps: edits here are found by the drift check and undone by the next up.";

/** While this file is there, nginx asks clients to open a new connection for their next request. */
export const drainFile = "/run/mlflow-vps/drain";

/** A plain value that a step's script gets: a bash variable, array (list) or associative array (record). */
export type Value = string | number | boolean | readonly string[] | Readonly<Record<string, string>>;
export type Values = Readonly<Record<string, Value>>;

export type Action = "check" | "apply" | "remove";

/** The bash of a step. */
export interface Scripts {
  /** Directory of the scripts. */
  readonly folder: string;
  /** The files, without `.sh`, that together define `check`, `apply` and `remove`. */
  readonly scripts: readonly string[];
  /** Parts of the library whose functions they call. */
  readonly uses: readonly Part[];
}

export function readScripts({ folder, scripts }: Omit<Scripts, "uses">): string {
  return scripts.map((name) => readText(folder, `${name}.sh`).trimEnd()).join("\n\n");
}

export function quote(text: string): string {
  if (text.includes("\0")) {
    throw new Error("a value for the host holds a NUL byte");
  }
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function declaration(name: string, value: Value): string {
  const variable = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  if (Array.isArray(value)) {
    return `declare -ra ${variable}=(${value.map(quote).join(" ")})`;
  }
  if (typeof value === "object") {
    const entries = Object.entries(value).map(([key, text]) => `[${quote(key)}]=${quote(text)}`);
    return `declare -rA ${variable}=(${entries.join(" ")})`;
  }
  return `declare -r ${variable}=${quote(String(value))}`;
}

/** Values (camelCase becomes snake_case), then functions: nothing that runs. */
export function declare(values: Values, uses: readonly Part[], body: string): string {
  const declarations = Object.entries({ managed, drainFile, ...values }).map(([name, value]) =>
    declaration(name, value),
  );
  return [...declarations, library(uses), body.trimEnd()].join("\n");
}

// Bash reads what it gets through a pipe one byte at a time; this reads the rest at once.
const readRest = 'script=$(cat) || exit; eval "$script"';

/**
 * Renders what is sent to `bash -s ACTION` on the host: the values, the parts of the library, the step's three functions,
 * and in the last line the call, so that a transfer that is cut short runs nothing.
 */
export function renderScript(step: string, values: Values, uses: readonly Part[], body: string): string {
  const declared = declare({ step, privileged: true, ...values }, ["main", ...uses], body);
  return [readRest, declared, 'main "$@" </dev/null', ""].join("\n");
}

/**
 * The command line that runs a rendered script, with the settings that are no secret, so that a preview shows which
 * of them changes.
 */
export function commandLine(
  user: string,
  privileged: boolean,
  action: Action,
  step: string,
  settings: Values,
): string {
  const shell = privileged && user !== "root" ? "sudo -n bash" : "bash";
  const shown = Object.keys(settings).length > 0 ? ` ${JSON.stringify(settings)}` : "";
  return `${shell} -s ${action} # ${step}${shown}`;
}

/** What a command line says of its step: the inverse of `commandLine`. */
export function readCommandLine(line: string): { readonly step: string; readonly settings: Values } {
  const [, step, shown] = / -s (?:check|apply|remove) # (\S+)(?: (\{.*\}))?$/.exec(line) ?? [];
  if (step === undefined) {
    throw new Error(`this is no command line of a step: ${line}`);
  }
  return { step, settings: shown === undefined ? {} : JSON.parse(shown) };
}
