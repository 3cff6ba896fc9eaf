import type { WriteStream } from "node:tty";
import { styleText } from "node:util";

/** The text in a style, where a person sees it: on a terminal, unless NO_COLOR is set. */
export function paint(
  style: "bold" | "green" | "red",
  text: string,
  stream: WriteStream = process.stdout,
): string {
  return stream.isTTY && stream.hasColors() ? styleText(style, text, { validateStream: false }) : text;
}

/** Waits for `work`; once it takes longer than a second, a terminal shows what it is, until it ends. */
export async function withProgress<T>(what: string, work: Promise<T>): Promise<T> {
  const { stderr } = process;
  if (!stderr.isTTY) {
    return work;
  }
  const eraseLine = () => stderr.cursorTo(0) && stderr.clearLine(0);
  let seconds = 0;
  const timer = setInterval(() => {
    seconds += 1;
    eraseLine();
    stderr.write(`${what} … ${seconds} s`);
  }, 1000);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    if (seconds > 0) {
      eraseLine();
    }
  }
}
