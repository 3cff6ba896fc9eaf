// Apart from the probe: to observe a host, Pulumi's SDK is not needed, and takes longer to load than the check to run.
import { explainSudo, lastWords, otherCommand } from "./login";
import { executeShared } from "./sharedLogin";
import { type Connection, plainError } from "./ssh";

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
  const lines = finished.stdout.split("\n");
  const begun = lines.indexOf(begin) + 1;
  if (finished.code !== 0 || begun === 0) {
    // Of a check that began, its lines are no cause.
    const cause = lastWords(begun === 0 ? `${finished.stdout}\n${finished.stderr}` : finished.stderr);
    throw plainError(
      `${probe.connection.host}: '${probe.command.split(" #")[0]}' exited ${finished.code}` +
        `${explainExit(probe.connection.user, finished.code, begun > 0, cause)}: ${cause || "the host said nothing"}`,
    );
  }
  return lines.slice(begun).filter((line) => line !== "");
}

/** What is known of the reason, in brackets: nothing where the cause says it all. */
function explainExit(user: string, code: number, begun: boolean, cause: string): string {
  if (/sudo: .*(password|not allowed|sudoers)/.test(cause)) {
    return ` (${explainSudo(user, true)})`;
  }
  // bash exits 127 where a program is missing.
  return begun || code === 127 ? "" : ` (the host ran something else for ${user}: ${otherCommand})`;
}
