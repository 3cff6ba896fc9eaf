/** `./mlflow-vps`: one command for the operator. Each of its commands is a file in commands/. */
import { Command } from "commander";
import { version } from "../package.json";
import { example } from "./command";
import { commands } from "./commands";
import { exitCodes, exitCodesHelp } from "./exitCodes";
import { paint } from "./terminal";

async function main(): Promise<void> {
  const program = new Command("mlflow-vps");
  let running = program;
  program
    .description("Operates the MLflow servers that this Pulumi program has set up.")
    .version(version)
    .helpCommand(false)
    .configureOutput({ outputError: (text, write) => write(usageError(running, text)) })
    .addHelpText(...example("./mlflow-vps drift prod"))
    .addHelpText("after", exitCodesHelp)
    .hook("preSubcommand", async (_, command) => {
      running = command;
      const [, , load] = commands.find(([name]) => name === command.name()) ?? [];
      (await load?.())?.define(command);
    });
  for (const [name, summary] of commands) {
    program.command(name).summary(summary);
  }
  try {
    await program.parseAsync();
  } catch (error) {
    fail(running, error as Error);
  }
}

const fullName = (command: Command): string =>
  command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;

/** In one line, what commander says in several. */
function usageError(command: Command, text: string): string {
  const problem = text
    .replace(/^error: /, "")
    .trim()
    .replace(/\s+/g, " ")
    .replace(/\.$/, "");
  const npm = process.env.npm_lifecycle_event === command.name() ? "; npm needs a '--' before the flags" : "";
  return `${errorPrefix(command)} ${problem}; see '${fullName(command)} --help'${npm}\n`;
}

const errorPrefix = (command: Command) => paint("red", `${fullName(command)}:`, process.stderr);

function fail(command: Command, error: Error): void {
  // Inquirer's, at Ctrl-C and at Ctrl-D; commands ask before they change anything.
  const isCancelled = error.name === "ExitPromptError";
  const message = isCancelled ? "cancelled, nothing was changed" : error.message;
  if (command.opts().json) {
    const stack = command.processedArgs[command.registeredArguments.findIndex((it) => it.name() === "STACK")];
    console.log(JSON.stringify({ stack, error: message }, null, 2));
  }
  process.stderr.write(`${errorPrefix(command)} ${message}\n`);
  process.exitCode = isCancelled ? exitCodes.cancelled : exitCodes.failed;
}

main();
