import confirm from "@inquirer/confirm";
import input from "@inquirer/input";
import password from "@inquirer/password";

/** So that the standard output holds the result only. */
const onStderr = { output: process.stderr };

/** The person at the terminal, if there is one and may be asked. */
export class Dialog {
  readonly interactive: boolean;

  constructor({ unattended = false } = {}) {
    this.interactive = !unattended && process.stdin.isTTY === true && process.stderr.isTTY === true;
  }

  /** @throws `problem`, which names the flag that answers the question, when there is no terminal to ask at */
  requireTerminal(problem: string): void {
    if (!this.interactive) {
      throw new Error(problem);
    }
  }

  say(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  /**
   * Asks until `parse` takes the answer; what it throws says what is wrong with one.
   *
   * @param fallback what Enter alone answers
   */
  async ask<T>(message: string, parse: (text: string) => T, fallback?: string): Promise<T> {
    const validate = (text: string) => problemOf(() => parse(text.trim())) ?? true;
    const text = await input({ message, default: fallback, validate }, onStderr);
    return parse(text.trim());
  }

  /** Asks for a secret, without showing it, until `accept` does not throw. */
  askSecret(message: string, accept: (text: string) => void): Promise<string> {
    const validate = (text: string) => problemOf(() => accept(text)) ?? true;
    return password({ message, validate }, onStderr);
  }

  /** Asks yes or no; Enter alone is no. */
  confirm(message: string): Promise<boolean> {
    return confirm({ message, default: false }, onStderr);
  }
}

function problemOf(action: () => void): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
