/**
 * The engineless apply: applies the program to a host where there is no Pulumi CLI. The SDK's mock monitor carries out
 * each command over SSH and waits for it, so order and values are those of a real `up`. It is a test instrument: no
 * preview, and no state but what was generated (passwords, keys, certificates), and how to remove each step that the
 * last `up` applied.
 *
 *     scripts/start.cjs sandbox/engineless/main.ts up|check|destroy --config FILE --state DIRECTORY [--stack NAME]
 *         [--guest DIRECTORY] [--only STEP,...] [--base DIRECTORY] [--timeline FILE]
 *
 * `up` writes the stack's outputs to DIRECTORY/outputs.json; `check` prints the drift and exits 2 when there is any.
 *
 * `--guest` takes address, login and keys from the folder of a guest of vps.sh, where the config does not set them;
 * `--only` carries out the commands of these steps and of no other; `--base` is the state of the layer that the guest
 * stands on: as with an engine, a command that was applied there as it is now does not run again. `--timeline` gets
 * when each command of an `up` began and ended, in seconds since this program was started.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import { observe } from "../../components/step/observe";
import { Monitor } from "./monitor";

/** How to reach a guest of vps.sh. */
function hostOf(guest: string): Record<string, string> {
  return {
    "mlflow-vps:host.address": readFileSync(join(guest, "address"), "utf8").trim(),
    "mlflow-vps:host.user": "deploy",
    "mlflow-vps:host.hostKeyFile": join(guest, "host_key.pub"),
    "mlflow-vps:host.privateKeyFile": join(guest, "id_ed25519"),
  };
}

/** Reads the stack's config file as the engine does: lists and objects reach the program as JSON. */
function stackConfig(file: string, guest: string | undefined): Record<string, string> {
  const given: Record<string, unknown> = parse(readFileSync(file, "utf8")).config;
  const config = { ...(guest === undefined ? {} : hostOf(guest)), ...given };
  return Object.fromEntries(
    Object.entries(config).map(([key, value]) => [
      key,
      typeof value === "object" ? JSON.stringify(value) : String(value),
    ]),
  );
}

function settled<T>(value: pulumi.Input<T>): Promise<pulumi.Unwrap<T>> {
  return new Promise((done) => {
    pulumi.output(value).apply(done);
  });
}

/** Runs the program, with the monitor in place of an engine; its outputs. */
async function runProgram(monitor: Monitor, stack: string, config: Record<string, string>): Promise<unknown> {
  await pulumi.runtime.setMocks(monitor, "mlflow-vps", stack, false);
  pulumi.runtime.setAllConfig(config);
  const outputs = await settled(await import("../../index"));
  await pulumi.runtime.disconnect();
  return outputs;
}

async function finishUp(monitor: Monitor, state: string, outputs: unknown): Promise<void> {
  for (const [name, command] of monitor.applied.without(monitor.commands)) {
    await monitor.remove(name, command);
  }
  process.stderr.write(monitor.saidSomething ? "" : "  nothing to do, the host is as configured\n");
  writeFileSync(join(state, "outputs.json"), JSON.stringify(outputs, undefined, 2), { mode: 0o600 });
}

async function check({ probes }: Monitor): Promise<number> {
  const drift = (await Promise.all(probes.map(observe))).flat();
  process.stdout.write(drift.map((line) => `${line}\n`).join(""));
  return drift.length > 0 ? 2 : 0;
}

async function destroy(monitor: Monitor): Promise<void> {
  for (const [name, command] of [...monitor.commands].reverse()) {
    await monitor.remove(name, command);
  }
}

async function main(): Promise<number> {
  const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      config: { type: "string" },
      state: { type: "string" },
      stack: { type: "string" },
      guest: { type: "string" },
      only: { type: "string" },
      base: { type: "string" },
      timeline: { type: "string" },
    },
  });
  const { config, state, stack = "sandbox", guest, only, base, timeline } = options;
  const action = positionals[0];
  if (!config || !state || !action || !["up", "check", "destroy"].includes(action)) {
    throw new Error(
      "usage: main.ts up|check|destroy --config FILE --state DIRECTORY [--stack NAME] " +
        "[--guest DIRECTORY] [--only STEP,...] [--base DIRECTORY] [--timeline FILE]",
    );
  }
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const monitor = new Monitor({
    apply: action === "up",
    state,
    base,
    only: only?.split(",").map((step) => `mlflow-${step}-command`),
  });
  const outputs = await runProgram(monitor, stack, stackConfig(config, guest));
  switch (action) {
    case "up":
      await finishUp(monitor, state, outputs);
      if (timeline !== undefined) {
        writeFileSync(timeline, JSON.stringify(monitor.timeline));
      }
      return 0;
    case "check":
      return check(monitor);
    default:
      await destroy(monitor);
      return 0;
  }
}

main().then(
  (code) => process.exit(code),
  (error) => {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.exit(1);
  },
);
