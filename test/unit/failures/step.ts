import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failEachCallOfCheck, failEachCallOnce, type Report } from "./failures";
import { installedHost } from "./host";
import { type State, scriptsOfTheProgram, World } from "./world";

export interface StepOnHost {
  readonly step: string;
  /** What the tests are called, where a step has several hosts. @default the step */
  readonly title?: string;
  /** What was applied with another configuration, before all else. */
  readonly earlier?: { readonly config: Readonly<Record<string, string>>; readonly steps: readonly string[] };
  /** Steps that were applied before. */
  readonly after?: readonly string[];
  /** Lines of a shell that make the host what it is, after those steps. */
  readonly host?: string;
  /** Steps that were applied afterwards, on the host on which this one is checked, repaired and removed. */
  readonly followedBy?: readonly string[];
  /** Lines of a shell that damage a right host, by what they damage. The repair finds all at once, in this order. */
  readonly damages?: Readonly<Record<string, string>>;
  /** Whether an apply repairs them. @default true */
  readonly repairs?: boolean;
  /** Makes alike what may differ between two right ends. */
  readonly alike?: (state: State) => State;
  /** Try the apply only: the rest is like that of another host of the step. @default false */
  readonly applyOnly?: boolean;
  /** Fail also the calls by which the host is locked and claimed, which are alike in all steps. @default false */
  readonly claim?: boolean;
}

const budget = 600_000; // an upper limit, for a machine that is busy

/** All that can fail of some steps: their check, their repair, their first apply and their removal. */
export function testSteps(steps: readonly StepOnHost[]): void {
  let world: World;
  let scripts: ReadonlyMap<string, string>;
  beforeAll(async () => {
    world = new World();
    scripts = await scriptsOfTheProgram();
    await installedHost(world);
    await world.keep("installed");
  }, budget);
  afterAll(() => world.delete());

  const failed = new Map<string, Set<string>>();
  const failedBefore = (step: string) => failed.get(step) ?? failed.set(step, new Set()).get(step);
  describe.each(steps.map((each) => ({ title: each.step, ...each })))("$title", (each) => {
    const {
      step,
      title,
      after = [],
      followedBy = [],
      damages = {},
      repairs = true,
      applyOnly = false,
      claim,
    } = each;
    // A flag that a reload has left is for the check of the proxy to find, and for its apply to take away.
    const alike = (state: State) =>
      (each.alike ?? ((same) => same))(
        step === "proxy" ? state : new Map([...state].filter(([path]) => path !== "/run/mlflow-vps/drain")),
      );
    let count = 0;
    const report = ({ failed, faults }: Report) => {
      count += failed;
      expect(faults.join("\n\n")).toBe("");
    };
    afterAll(() => console.log(`${title}: commands made to fail ${count} times`));

    const names = Object.keys(damages);
    const host = (name: string) => `${title} ${name}`;
    const scenario = (name: string, on: string, action: "check" | "apply" | "remove") => {
      const script = scripts.get(step) ?? "";
      return {
        name: `${title}, ${name}`,
        script,
        action,
        host: host(on),
        alike,
        claim,
        failedBefore: failedBefore(step),
      };
    };

    beforeAll(async () => {
      const apply = async (name: string, all = scripts) => {
        const { code, stdout, stderr } = await world.runStep(all.get(name) ?? "", "apply");
        if (code !== 0) {
          throw new Error(`${name} cannot be applied: ${stdout}${stderr}`);
        }
      };
      await world.restore("installed");
      if (each.earlier) {
        const earlier = await scriptsOfTheProgram(each.earlier.config);
        for (const name of each.earlier.steps) {
          await apply(name, earlier);
        }
      }
      for (const name of after) {
        await apply(name);
      }
      await world.shell(each.host ?? "");
      await world.keep(host("before"));
      for (const name of [step, ...followedBy]) {
        await apply(name);
      }
      await world.keep(host("right"));
      for (const name of names) {
        await world.restore(host("right"));
        await world.shell(damages[name] ?? "");
        await world.keep(host(name));
      }
      await world.restore(host("right"));
      for (const name of names) {
        await world.shell(damages[name] ?? "");
      }
      await world.keep(host("damaged"));
    }, budget);

    test.runIf(!applyOnly)(
      "is checked",
      async () => {
        const wrong = [...(repairs ? ["before"] : []), ...names].map(host);
        const checked = scenario("checked", "right", "check");
        report(await failEachCallOfCheck(world, checked, wrong));
      },
      budget,
    );

    test.runIf(repairs && names.length > 0)(
      "is repaired",
      async () => {
        const repaired = scenario("applied to a damaged host", "damaged", "apply");
        report(await failEachCallOnce(world, repaired));
      },
      budget,
    );

    test.runIf(repairs)(
      "is applied",
      async () => {
        const applied = scenario("applied to a host without it", "before", "apply");
        report(await failEachCallOnce(world, applied));
      },
      budget,
    );

    test.runIf(!applyOnly)(
      "is removed",
      async () => {
        const removed = scenario("removed", "right", "remove");
        report(await failEachCallOnce(world, removed));
      },
      budget,
    );
  });
}
