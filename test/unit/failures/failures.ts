import { createHash } from "node:crypto";
import type { Action } from "../../../components/step/script";
import { lost } from "./lost";
import type { Ended, Failure, State, World } from "./world";

export interface Scenario {
  /** What stands in the report: which step, on which host. */
  readonly name: string;
  readonly script: string;
  readonly action: Action;
  /** The name under which the world keeps the host as it is before. */
  readonly host: string;
  /** Fail also the calls by which the host is locked and claimed, which are alike in all steps. */
  readonly claim?: boolean;
  /** The calls that failed already in another scenario of the step, and are left out; those that fail here come to it. */
  readonly failedBefore?: Set<string>;
  /** Makes alike what may differ between two right ends. */
  readonly alike?: (state: State) => State;
}

export interface Report {
  /** Different calls of external commands, and how many times one was made to fail. */
  readonly calls: number;
  readonly failed: number;
  /** What went wrong, each for a tired person to read. */
  readonly faults: readonly string[];
}

/**
 * Commands whose work is seen elsewhere than in a file that this run makes: they fail before their work and, in another
 * run, after it.
 */
const changes =
  /^\S* (systemctl (?!show|list)|psql .*<<< (?!select|show)|mv |apt-get |dpkg |certbot |nft (?!list)|systemd-run |pg_restore|useradd|groupadd|mlflow )/s;

export const differences = (from: State, to: State): string[] =>
  [...new Set([...from.keys(), ...to.keys()])]
    .filter((path) => from.get(path) !== to.get(path))
    .map((path) => `${path}: ${shown(from.get(path))} -> ${shown(to.get(path))}`);

const digestOf = (state: State) =>
  createHash("sha256")
    .update(JSON.stringify([...state]))
    .digest("hex");

const shown = (text = "not there") =>
  (text.length > 600 ? `${text.slice(0, 600)}…` : text).replaceAll("\n", "\n      ");

const list = (lines: readonly string[]) =>
  [...lines.slice(0, 8), ...(lines.length > 8 ? [`and ${lines.length - 8} more`] : [])]
    .map((line) => `\n    ${line}`)
    .join("");

function story(scenario: Scenario, what: string, failure: Failure, ended: Ended): string {
  return [
    `${scenario.name}: ${what}`,
    `  ${failure.when === "before" ? "the command that failed" : "the command that was killed after its work"}: ${shown(failure.call)}`,
    `  the run ended with ${ended.code}, and said: ${shown(ended.stdout + ended.stderr)}`,
  ].join("\n");
}

/** Whether no call like this was there; how a file is written is alike for all files. */
function isNew(known: Set<string>, action: Action, call: string): boolean {
  const kind = / (stat|date|dirname|mkdir|mktemp|chown|chmod) | rm -f \S*\?{6}$/.test(call)
    ? call.replace(/\/\S+/g, "PATH")
    : call;
  const isOne = !known.has(`${action} ${kind}`);
  known.add(`${action} ${kind}`);
  return isOne;
}

/** How often a loop looks, and pauses, is not the same in every run. */
const isPause = ({ call }: Failure) => / sleep [0-9.]+$/.test(call);

const failuresOf = (calls: readonly string[]): Failure[] =>
  calls.flatMap((call): Failure[] => [
    { call, when: "before" },
    ...(changes.test(call) ? [{ call, when: "after" } as const] : []),
  ]);

/**
 * Runs an apply or a remove once without a failure, then once for each call of an external command, which fails. Each
 * time nothing may be lost; a run that ends well must have come to the same end; after every other one the next run must.
 */
export async function failEachCallOnce(world: World, scenario: Scenario): Promise<Report> {
  const { script, action, host, alike = (state: State) => state } = scenario;
  await world.restore(host);
  const before = world.state();
  const whole = await world.runStep(script, action, { note: true });
  const end = world.state();
  const good = alike(end);
  if (whole.code !== 0) {
    throw new Error(`${scenario.name}: fails without a failure: ${whole.stdout}${whole.stderr}`);
  }
  if (lost(before, end, action).length > 0) {
    throw new Error(`${scenario.name}: loses without a failure:${list(lost(before, end, action))}`);
  }

  const faults: string[] = [];
  // From the host as it was before, the next run is the one without a failure.
  const converged = new Set<string>([digestOf(alike(before))]);
  // What the checks before and after it call is for failEachCallOfCheck; how a host is claimed is alike in all steps.
  const left = scenario.claim ? /^(before|after) / : /^(before|after|claim) /;
  const { failedBefore = new Set<string>() } = scenario;
  const failures = failuresOf(
    whole.calls.filter((call) => !left.test(call) && isNew(failedBefore, action, call)),
  );
  const runs = world.failEach(script, action, whole, failures, { host, leaveOut: "first" });
  for await (const { failure, ended } of runs) {
    if (!world.hasFailed()) {
      if (!isPause(failure)) {
        faults.push(story(scenario, "the command did not come again: runs are not alike", failure, ended));
      }
      continue;
    }
    const now = world.state();
    const gone = lost(before, now, action);
    if (gone.length > 0) {
      faults.push(story(scenario, `LOST:${list(gone)}`, failure, ended));
    }
    const state = alike(now);
    const wrong = differences(good, state);
    if (wrong.length === 0) {
      continue;
    }
    if (ended.code === 0) {
      faults.push(story(scenario, `said to be right, and is not:${list(wrong)}`, failure, ended));
    }
    const digest = digestOf(state);
    if (converged.has(digest)) {
      continue;
    }
    const again = await world.runStep(script, action, { leaveOut: "last" });
    const last = world.state();
    const left = differences(good, alike(last));
    const goneAgain = lost(before, last, action);
    if (again.code !== 0) {
      faults.push(story(scenario, "the next run fails", failure, again));
    } else if (left.length > 0) {
      faults.push(story(scenario, `the next run does not converge:${list(left)}`, failure, again));
    } else if (goneAgain.length > 0) {
      faults.push(story(scenario, `the next run LOSES:${list(goneAgain)}`, failure, again));
    } else {
      converged.add(digest);
    }
  }
  return { calls: whole.calls.length, failed: failures.length, faults };
}

/**
 * Runs a check on a right host, then once for each call of an external command, which fails. Those of which nothing was
 * said may hide something: on each damaged host they, and the calls that come only there, must not make the check silent.
 *
 * @param damages names of damaged hosts, as the world keeps them
 */
export async function failEachCallOfCheck(
  world: World,
  scenario: Scenario,
  damages: readonly string[],
): Promise<Report> {
  const { script, host } = scenario;
  const faults: string[] = [];
  let failed = 0;
  const check = (on: string) => world.runStep(script, "check", { host: on, note: true });
  async function* failing(on: string, whole: Ended, calls: readonly string[]) {
    const failures = calls.map((call): Failure => ({ call, when: "before" }));
    for await (const run of world.failEach(script, "check", whole, failures, { host: on })) {
      failed += 1;
      if (!world.hasFailed()) {
        faults.push(
          story(scenario, "the command did not come again: runs are not alike", run.failure, run.ended),
        );
      }
      yield run;
    }
  }
  const silent = ({ code, stdout }: Ended) => code === 0 && stdout === "";

  await world.restore(host);
  const before = world.state();
  const right = await check(host);
  if (!silent(right)) {
    throw new Error(
      `${scenario.name}: the check of a right host: ${right.code} ${right.stdout}${right.stderr}`,
    );
  }
  const heard = new Set<string>();
  for await (const { failure, ended } of failing(host, right, right.calls)) {
    if (!silent(ended)) {
      heard.add(failure.call);
    }
    const changed = differences(before, world.state());
    if (changed.length > 0) {
      faults.push(story(scenario, `a check changed:${list(changed)}`, failure, ended));
    }
  }
  for (const damage of damages) {
    const found = await check(damage);
    if (silent(found)) {
      throw new Error(`${scenario.name}: the check does not see this: ${damage}`);
    }
    const unheard = found.calls.filter((each) => !heard.has(each));
    for await (const { failure, ended } of failing(damage, found, unheard)) {
      if (silent(ended)) {
        faults.push(story(scenario, `the check of a host with ${damage} is silent`, failure, ended));
      }
    }
  }
  return { calls: right.calls.length, failed, faults };
}
