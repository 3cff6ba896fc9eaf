import { existsSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";

/** Who reads the file, and a crash, meets the old one or the new one. A link stays one. */
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
