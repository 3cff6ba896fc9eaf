/** What all commands share: arguments, options, output. */
import type { Command } from "commander";

/** A file in commands/: gives the command its arguments, options and action. */
export interface CommandModule {
  readonly define: (command: Command) => void;
}

/** For `argument`, in every command that is about a stack. */
export const stackArgument = [
  "[STACK]",
  "the stack; without it, the one that 'pulumi stack select' chose",
] as const;

/** For `option`, where a program may want to read the result. */
export const jsonOption = ["--json", "print the result as JSON; an error as { stack, error }"] as const;

export interface JsonOption {
  readonly json?: boolean;
}

/** For `addHelpText`, at the end of every command's help. */
export const example = (...lines: string[]) =>
  ["after", ["", "Example:", ...lines.map((line) => `  ${line}`)].join("\n")] as const;

export function print({ json }: JsonOption, result: object, text: string): void {
  console.log(json ? JSON.stringify(result, null, 2) : text);
}
