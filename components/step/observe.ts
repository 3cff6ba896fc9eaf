// Apart from the probe: to observe a host, Pulumi's SDK is not needed, and takes longer to load than the check to run.
import { type Connection, executeShared, plainError } from "./ssh";

/** Longest time that the check of one step may take. */
const checkSeconds = 120;

export interface ProbeInputs {
  readonly connection: Connection;
  /** Command line that runs the script's `check`. */
  readonly command: string;
  readonly script: string;
  /** Check already when created or changed, and fail on any line. */
  readonly demand: boolean;
}

/**
 * Runs a step's `check` on the host.
 *
 * @returns one line for each thing that is not as it should be
 * @throws when the host cannot be reached, or the check itself fails
 */
export async function observe(probe: Omit<ProbeInputs, "demand">): Promise<string[]> {
  // What a login script prints stands before this line.
  const begin = "-- check --";
  const preamble = `echo '${begin}'\ndeclare -r client_time=${Math.floor(Date.now() / 1000)}\n`;
  const finished = await executeShared(
    probe.connection,
    probe.command,
    preamble + probe.script,
    checkSeconds,
  );
  if (finished.code !== 0) {
    const cause = finished.stderr.trim().split("\n").slice(-5).join("\n");
    const hint = /sudo: .*(password|not allowed|sudoers)/.test(cause)
      ? ` (${probe.connection.user} needs sudo without a password)`
      : "";
    throw plainError(
      `${probe.connection.host}: '${probe.command.split(" #")[0]}' exited ${finished.code}${hint}: ${cause}`,
    );
  }
  const lines = finished.stdout.split("\n");
  return lines.slice(lines.indexOf(begin) + 1).filter((line) => line !== "");
}
