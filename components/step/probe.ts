import * as pulumi from "@pulumi/pulumi";
import { observe, type ProbeInputs } from "./observe";
import { plainError } from "./ssh";

/** Raise when the provider code below changes, so that stacks take the new code. */
const providerVersion = 4;

interface ProbeState extends ProbeInputs {
  readonly providerVersion: number;
  readonly drift: string[];
  readonly generation: number;
}

/**
 * Looks before the command is run: at the least whether it can be, for the command's own errors explain nothing.
 *
 * @throws with all lines of the check at once, when there are any and the probe demands that there are none
 */
export async function assertNoProblems(probe: ProbeInputs): Promise<void> {
  if (!probe.demand) {
    await observe({ ...probe, script: "exit\n" });
    return;
  }
  const problems = await observe(probe);
  if (problems.length > 0) {
    throw plainError(
      `${probe.connection.host} cannot take the server yet; nothing was changed on it:\n` +
        problems.map((problem) => `  - ${problem}`).join("\n"),
    );
  }
}

export const provider: pulumi.dynamic.ResourceProvider<ProbeInputs, ProbeState> = {
  async create(inputs) {
    await assertNoProblems(inputs);
    return { id: "probe", outs: { ...inputs, providerVersion, drift: [], generation: 1 } };
  },
  async read(id, state) {
    if (!state) {
      throw plainError("a probe cannot be imported");
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
    await assertNoProblems(next);
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
