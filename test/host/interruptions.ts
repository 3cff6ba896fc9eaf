import { expect, it } from "vitest";
import { client, type Deployment, hostTool, searchExperiments, send, until } from "./harness";

/** What stays through every fault: a server, the data of before, a clean check. */
export class Whole {
  constructor(private readonly deployment: Deployment) {}

  async answers(): Promise<boolean> {
    const { trackingUri, users } = this.deployment.outputs;
    return (await searchExperiments(trackingUri, "ada", users.ada)).status === 200;
  }

  /** Logs what the faults must not take away. */
  logData(): Promise<string> {
    return client(this.deployment, [
      "-c",
      `
import mlflow
mlflow.set_experiment("Kept")
with mlflow.start_run():
    mlflow.log_metric("kept", 7)
    mlflow.log_text("kept content", "kept.txt")`,
    ]);
  }

  /** What was logged before the faults, as any client gets it. */
  async data(): Promise<string> {
    const { trackingUri, users } = this.deployment.outputs;
    const ask = async (path: string, body?: object) =>
      (
        await send(`${trackingUri}/api/2.0/${path}`, {
          user: "ada",
          password: users.ada,
          headers: { "Content-Type": "application/json" },
          body: body && JSON.stringify(body),
        })
      ).body;
    const { runs } = JSON.parse(await ask("mlflow/runs/search", { experiment_ids: ["1"] }));
    const [{ info, data }] = runs;
    const artifact = `mlflow-artifacts/artifacts/${info.artifact_uri.split(":/")[1]}/kept.txt`;
    return `${data.metrics[0].key} ${data.metrics[0].value}, ${await ask(artifact)}`;
  }

  async expect(): Promise<void> {
    await until(() => this.answers(), "an answer of the API");
    expect(await this.data()).toBe("kept 7, kept content");
    expect(await this.deployment.drift()).toEqual([]);
  }
}

/** Switches a guest's network off and on. */
export const link = (deployment: Deployment, state: "up" | "down") =>
  hostTool("ip", ["link", "set", `mlvps${deployment.guest.address.split(".")[2]}`, state]);

/**
 * A step, damage by which it has something to do, a program that it calls in the middle, which is made to wait there, and
 * by what that call is known.
 */
export type Interruption = [step: string, damage: string, program: string, when?: string];

/** The applying process is killed, and cut off, in the middle of each of these steps. */
export function interruptedIn(deployment: Deployment, steps: readonly Interruption[]): void {
  const { guest } = deployment;
  it.each(steps)("killed in the middle of %s: the next up converges", async (step, damage, program, when) => {
    await guest.run(damage);
    const hold = await guest.hold(program, step, when);
    const up = deployment.start();
    await hold.reached();
    await up.kill();
    await hold.kill(); // on the host too
    await hold.end();
    await deployment.up();
  });

  it.each(steps)(
    "cut off from the network in the middle of %s, for ever: the next up converges",
    async (step, damage, program, when) => {
      await guest.run(damage);
      const hold = await guest.hold(program, step, when);
      const up = deployment.start();
      await hold.reached();
      link(deployment, "down"); // so the host does not learn that the process is gone
      await up.kill();
      await hold.end(); // and the step goes on by itself
      link(deployment, "up");
      await deployment.up();
    },
  );
}
