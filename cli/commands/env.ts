import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { example, type JsonOption, jsonOption, print, stackArgument } from "../command";
import { Dialog } from "../dialog";
import { writeAtomically } from "../files";
import { here } from "../paths";
import { readStack, type Stack } from "../stack";

interface Options extends JsonOption {
  readonly user?: string;
  readonly out: string;
  readonly force?: boolean;
}

export function define(command: Command): void {
  command
    .description(
      "Writes what a client of the server needs: .env with address, user and password, and mlflow-ca.pem with the " +
        "certificate to trust, unless clients trust its authority already. Both are readable by their owner only (mode 0600).",
    )
    .argument(...stackArgument)
    .option("--user <NAME>", "whose password (default: the first user's)")
    .option("--out <DIRECTORY>", "where to", ".")
    .option("--force", "replace a .env that holds other settings")
    .option(...jsonOption)
    .addHelpText(...example("./mlflow-vps env prod --user ada", "set -a; . ./.env; set +a"))
    .action(async (name: string | undefined, options: Options) => {
      const stack = await readStack(name);
      const directory = resolve(here, options.out);
      const file = join(directory, ".env");
      const { user, text } = clientEnv(stack, options.user);
      if (!options.force) {
        await confirmReplacing(file);
      }
      mkdirSync(directory, { recursive: true });
      const caCertificate = stack.output("caCertificate");
      const files = [
        ...(caCertificate === "" ? [] : [[join(directory, "mlflow-ca.pem"), caCertificate] as const]),
        [file, text] as const,
      ];
      for (const [path, content] of files) {
        writeAtomically(path, content, 0o600);
      }
      const written = files.map(([path]) => path);
      print(
        options,
        { stack: stack.name, user, files: written },
        `Written for ${user}: ${written.join(", ")}\nTo use it: set -a; . ./.env; set +a`,
      );
    });
}

/** The stack's `clientEnv` is that of its first user; for another, name and password are theirs. */
function clientEnv({ name, output }: Stack, wanted?: string): { user: string; text: string } {
  const [users, clientEnv] = [output("users"), output("clientEnv")];
  const user = wanted ?? /^MLFLOW_TRACKING_USERNAME=(.*)$/m.exec(clientEnv)?.[1] ?? "";
  const password = users[user];
  if (password === undefined) {
    throw new Error(`stack ${name} has no user '${user}'; it has ${Object.keys(users).join(", ")}`);
  }
  const text = clientEnv
    .replace(/^(MLFLOW_TRACKING_USERNAME=).*$/m, `$1${user}`)
    .replace(/^(MLFLOW_TRACKING_PASSWORD=).*$/m, `$1${password}`);
  return { user, text };
}

/** Others keep their own variables in a `.env` too. */
async function confirmReplacing(file: string): Promise<void> {
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  const [foreign] = text.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("MLFLOW_"));
  if (foreign === undefined) {
    return;
  }
  const problem = `${file} holds other settings too: ${foreign.split("=")[0]}`;
  const dialog = new Dialog();
  dialog.requireTerminal(`${problem}; give --out DIRECTORY for another place, or --force to replace it`);
  if (!(await dialog.confirm(`${problem}. Replace it?`))) {
    throw new Error("nothing was written; --out DIRECTORY writes to another place");
  }
}
