import { join } from "node:path";
import type * as pulumi from "@pulumi/pulumi";
import type { ProbeInputs } from "../../components/step/observe";
import { assertNoProblems } from "../../components/step/probe";
import { type CommandInputs, run } from "./command";
import { generateBytes, generateTls, randomPassword } from "./generate";
import { Applied, Generated } from "./state";
import { unwrap } from "./unwrap";

export interface Options {
  /** Only then commands are carried out. */
  readonly apply: boolean;
  /** The directory of what was generated and applied. */
  readonly state: string;
  /** The state of the layer that the guest stands on. */
  readonly base?: string;
  /** The commands that are carried out; all of them otherwise. */
  readonly only?: readonly string[];
}

interface Resource {
  readonly id: string;
  readonly state: object;
}

/** The SDK's mock monitor: makes the program's resources as an engine would, and remembers them. */
export class Monitor implements pulumi.runtime.Mocks {
  readonly commands = new Map<string, CommandInputs>();
  readonly probes: ProbeInputs[] = [];
  readonly applied: Applied;
  saidSomething = false;
  /** When each command began and ended, in seconds since this program was started. */
  readonly timeline: { readonly name: string; readonly from: number; readonly to: number }[] = [];

  private readonly generated: Generated;
  private readonly base: Applied | undefined;
  private readonly underWay = new Set<Promise<void>>();

  constructor(private readonly options: Options) {
    this.generated = new Generated(join(options.state, "generated.json"));
    this.applied = new Applied(join(options.state, "applied.json"));
    this.base = options.base === undefined ? undefined : new Applied(join(options.base, "applied.json"));
  }

  call(): never {
    throw new Error("the program calls a provider function, which only an engine can do");
  }

  async newResource({ type, name, inputs: wrapped }: pulumi.runtime.MockResourceArgs): Promise<Resource> {
    // biome-ignore lint/suspicious/noExplicitAny: each branch knows what it gets
    const inputs = unwrap(wrapped) as any;
    if (type === "random:index/randomPassword:RandomPassword") {
      const generate = () => ({ result: randomPassword(inputs.length) });
      return { id: name, state: { ...inputs, ...this.generated.get(name, inputs.keepers, generate) } };
    }
    if (type === "random:index/randomBytes:RandomBytes") {
      const generate = () => generateBytes(inputs.length);
      return { id: name, state: { ...inputs, ...this.generated.get(name, inputs.keepers, generate) } };
    }
    if (type.startsWith("tls:index/")) {
      const generate = () => generateTls(type.slice("tls:index/".length), inputs);
      return { id: name, state: { ...inputs, ...this.generated.get(name, inputs, generate) } };
    }
    if (type === "pulumi-nodejs:dynamic/mlflow:Probe") {
      await this.probe(inputs);
      return { id: name, state: { ...inputs, drift: [], generation: 1 } };
    }
    if (type === "command:remote:Command") {
      await this.command(name, inputs);
      return { id: name, state: inputs };
    }
    if (type.startsWith("mlflow:")) {
      return { id: name, state: inputs };
    }
    throw new Error(`the program has a resource of type ${type}, which only an engine can make`);
  }

  /** Removes a command's step from the host. */
  async remove(name: string, command: CommandInputs): Promise<void> {
    await this.run(name, command, "delete");
    this.applied.put(name);
  }

  private async probe(inputs: ProbeInputs): Promise<void> {
    // The other probes only make sure that a login is possible; here a command's own error says why it is not.
    if (this.options.apply && inputs.demand) {
      await this.carryOut(assertNoProblems(inputs));
    }
    this.probes.push(inputs);
  }

  private async command(name: string, inputs: CommandInputs): Promise<void> {
    const { apply, only } = this.options;
    if (only !== undefined && !only.includes(name)) {
      return;
    }
    this.commands.set(name, inputs);
    if (apply) {
      if (!this.base?.has(name, inputs)) {
        await this.carryOut(this.run(name, inputs, "create"));
      }
      this.applied.put(name, inputs);
    }
  }

  private async run(name: string, command: CommandInputs, action: "create" | "delete"): Promise<void> {
    const from = performance.now() / 1000;
    if (await run(name, command, action)) {
      this.saidSomething = true;
    }
    this.timeline.push({ name: name.replace(/^mlflow-|-command$/g, ""), from, to: performance.now() / 1000 });
  }

  /** Like an engine: after a failure nothing new starts, and what is under way comes to its end. */
  private async carryOut(work: Promise<void>): Promise<void> {
    this.underWay.add(work);
    try {
      await work;
    } catch (error) {
      process.stderr.write(`${(error as Error).message}\n`);
      await Promise.allSettled(this.underWay);
      process.exit(1);
    }
  }
}
