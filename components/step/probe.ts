import * as pulumi from "@pulumi/pulumi";
import { type Connection, execute, plainError } from "./ssh";

/** Raise when the provider code below changes, so that stacks take the new code. */
const providerVersion = 2;

/** Longest time that looking at one step of a host may take. */
const checkSeconds = 120;

export interface ProbeInputs {
  readonly connection: Connection;
  /** Command line that runs the script's `check`. */
  readonly command: string;
  readonly script: string;
  /** Look already when created or changed, and fail on any line. */
  readonly demand: boolean;
}

interface ProbeState extends ProbeInputs {
  readonly providerVersion: number;
  readonly drift: string[];
  readonly generation: number;
}

/**
 * Runs a step's `check` on the host.
 *
 * @returns one line for each thing that is not as it should be
 * @throws when the host can not be reached, or the check itself fails
 */
export async function observe(probe: Omit<ProbeInputs, "demand">): Promise<string[]> {
  // What a login script prints stands before this line.
  const begin = "-- check --";
  const preamble = `echo '${begin}'\ndeclare -r client_time=${Math.floor(Date.now() / 1000)}\n`;
  const finished = await execute(probe.connection, probe.command, preamble + probe.script, checkSeconds);
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

/**
 * Looks before the command is run: at the least whether it can be, for the command's own errors explain nothing.
 *
 * @throws with all lines of the check at once, when there are any and the probe demands that there are none
 */
export async function demandNothing(probe: ProbeInputs): Promise<void> {
  if (!probe.demand) {
    await observe({ ...probe, script: "exit\n" });
    return;
  }
  const problems = await observe(probe);
  if (problems.length > 0) {
    throw plainError(
      `${probe.connection.host} can not take the server yet; nothing was changed on it:\n` +
        problems.map((problem) => `  - ${problem}`).join("\n"),
    );
  }
}

export const provider: pulumi.dynamic.ResourceProvider<ProbeInputs, ProbeState> = {
  async create(inputs) {
    await demandNothing(inputs);
    return { id: "probe", outs: { ...inputs, providerVersion, drift: [], generation: 1 } };
  },
  async read(id, state) {
    if (!state) {
      throw plainError("a probe can not be imported");
    }
    return { id, props: { ...state, drift: await observe(state) } };
  },
  async diff(_id, old, next) {
    const changes =
      old.drift.length > 0 ||
      old.providerVersion !== providerVersion ||
      old.script !== next.script ||
      old.command !== next.command ||
      JSON.stringify(old.connection) !== JSON.stringify(next.connection);
    return { changes };
  },
  async update(_id, old, next) {
    await demandNothing(next);
    const again = old.drift.length > 0 || old.script !== next.script;
    return {
      outs: { ...next, providerVersion, drift: [], generation: old.generation + (again ? 1 : 0) },
    };
  },
};

/**
 * Observes one step of the host. `refresh` runs the step's `check` and stores its lines in `drift`; while there are
 * any, the probe is due for an update, which clears them and raises `generation`. It never changes the host.
 */
export class Probe extends pulumi.dynamic.Resource {
  declare public readonly drift: pulumi.Output<string[]>;
  // "declare": a field of its own would hide what the base class sets.
  declare public readonly generation: pulumi.Output<number>;

  constructor(
    name: string,
    args: { readonly [Key in keyof ProbeInputs]: pulumi.Input<ProbeInputs[Key]> },
    opts: pulumi.CustomResourceOptions,
  ) {
    super(
      provider,
      name,
      { ...args, drift: undefined, generation: undefined, providerVersion: undefined },
      opts,
      "mlflow",
      "Probe",
    );
  }
}
