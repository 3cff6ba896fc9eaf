import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { Probe } from "./probe";
import { commandLine, readScripts, renderScript, type Scripts, type Value } from "./script";
import type { Connection } from "./ssh";

type Inputs = Readonly<Record<string, pulumi.Input<Value>>>;

/** What every step takes. */
export interface HostArgs {
  /** How to log in to the host. Changing it checks the new host, and applies where needed. */
  readonly connection: pulumi.Input<Connection>;
}

export interface StepArgs extends HostArgs, Scripts {
  /** What the step is called on the host: in progress lines, its log file and its lock. */
  readonly step: string;
  /** Values that may be seen: they stand in the command line, so a preview shows which of them changes. */
  readonly settings?: Inputs;
  /** Secrets and rendered files: they travel on stdin only and are secret in state. */
  readonly payload?: Inputs;
  /** Run as root. @default true */
  readonly privileged?: boolean;
  /** Generations of other steps: when one of them has healed something, this one's command runs again as well. */
  readonly healedWith?: readonly pulumi.Input<number>[];
  /** Fail before anything is changed when `check` prints a line at creation. @default false */
  readonly demand?: boolean;
}

/** The owner of a host, as it is noted there. */
const stackName = () => `${pulumi.getProject()}/${pulumi.getStack()}`;

/**
 * One stage of the setup on the host: a probe that observes it (`check`) and a command that brings it to the desired state
 * (`apply`) or takes it away (`remove`). When the probe saw drift on a refresh, the command runs again, in place.
 */
export abstract class Step extends pulumi.ComponentResource {
  /** Raised each time that drift is healed. */
  public readonly generation: pulumi.Output<number>;

  protected constructor(type: string, name: string, args: StepArgs, opts?: pulumi.ComponentResourceOptions) {
    super(type, name, {}, opts);

    const { step, settings = {}, payload = {}, privileged = true, healedWith = [], demand = false } = args;
    const connection = pulumi.secret(args.connection);
    const body = readScripts(args);
    const script = pulumi.secret(
      pulumi
        .output({ ...settings, ...payload })
        .apply((values) =>
          renderScript(step, { stack: stackName(), privileged, ...values }, args.uses, body),
        ),
    );
    const line = (action: "check" | "apply" | "remove") =>
      pulumi
        .all([pulumi.output(args.connection), pulumi.output(settings)])
        .apply(([{ user }, shown]) => commandLine(user, privileged, action, step, shown));

    const probe = new Probe(
      `${name}-probe`,
      { connection, command: pulumi.unsecret(line("check")), script, demand },
      { parent: this, additionalSecretOutputs: ["connection", "script"] },
    );
    this.generation = probe.generation;
    const generations = pulumi
      .all([probe.generation, ...healedWith])
      .apply((all: readonly number[]) => all.join(" "));
    new command.remote.Command(
      `${name}-command`,
      {
        // The engine's provider waits longer from one try to the next, 21 s in all: where the host lets twelve connections a
        // minute in, three commands at once have theirs. It also retries what is of no use, so not for longer.
        connection: connection.apply((login) => ({ ...login, dialErrorLimit: 13, perDialTimeout: 5 })),
        create: pulumi.unsecret(line("apply")),
        delete: pulumi.unsecret(line("remove")),
        stdin: pulumi.interpolate`# generation ${generations}\n${script}`,
        addPreviousOutputInEnv: false,
      },
      { parent: this },
    );
    this.registerOutputs({});
  }
}
