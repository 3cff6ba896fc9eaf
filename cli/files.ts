import { existsSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";

/** Replaces the file at once: a reader, or a crash, leaves the old one or the new one. A symbolic link stays one. */
export function writeAtomically(file: string, text: string, mode: number): void {
  const target = existsSync(file) ? realpathSync(file) : file;
  const temporary = `${target}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, text, { mode });
    renameSync(temporary, target);
  } finally {
    rmSync(temporary, { force: true });
  }
}
