import { afterAll, beforeAll, expect, test } from "vitest";
import { renderScript } from "../../components/step/script";
import { failEachCallOfCheck, failEachCallOnce } from "./failures/failures";
import { installedHost } from "./failures/host";
import { type Ended, World } from "./failures/world";

// Whether the tests in failures/ would see what they are for: steps with a fault on purpose.

let world: World;
beforeAll(async () => {
  world = new World();
  await installedHost(world);
  await world.keep("before");
}, 60_000);
afterAll(() => world.delete());

const access = "/etc/postgresql/15/main/pg_hba.conf";

const planted = (functions: { check: string; apply?: string }) => ({
  name: "tiny",
  script: renderScript(
    "tiny",
    { stack: "a stack" },
    [],
    Object.entries({ apply: ":", remove: ":", ...functions })
      .map(([name, lines]) => `${name}() {\n${lines}\n}`)
      .join("\n"),
  ),
  host: "before",
});

const faultsOfApply = async (functions: { check: string; apply: string }) =>
  (await failEachCallOnce(world, { ...planted(functions), action: "apply" })).faults.join("\n");

test("a file of others that a failing command in an argument cuts short is seen as lost", async () => {
  const found = 'local lines; lines=$(<"$file"); [[ $lines == ours* ]] || problem "not ours"';
  const faults = await faultsOfApply({
    check: `local file=${access}; ${found}`,
    apply: `write_file ${access} postgres:postgres 0640 "ours
$(sed /x/d ${access})"`,
  });
  expect(faults).toContain("LOST:\n    the line 'local all postgres peer' of");
  expect(faults).toContain("the command that failed: apply sed /x/d ");
});

test("the same, assigned first, is right", async () => {
  const faults = await faultsOfApply({
    check: `local lines; lines=$(<${access}); [[ $lines == ours* ]] || problem "not ours"`,
    apply: `local lines; lines=$(sed /x/d ${access}); write_file ${access} postgres:postgres 0640 "ours
$lines"`,
  });
  expect(faults).toBe("");
});

test("a failure that is swallowed is seen where the run says that it is done", async () => {
  const faults = await faultsOfApply({
    check: '[[ -e /etc/done ]] || problem "not done"',
    apply: "systemctl disable nginx.service || true\ntouch /etc/done",
  });
  expect(faults).toContain("said to be right, and is not:");
});

test("what the next run cannot go on with is seen", async () => {
  const faults = await faultsOfApply({
    check: '[[ -e /etc/new/done ]] || problem "not done"',
    apply: "mkdir /etc/new\ntouch /etc/new/done",
  });
  expect(faults).toContain("the next run fails\n  the command that failed: apply touch ");
});

test("a check that is silent because it could not look is seen", async () => {
  await world.restore("before");
  await world.shell("echo bad >>/etc/os-release");
  await world.keep("bad");
  const check = async (lines: string) =>
    (
      await failEachCallOfCheck(world, { ...planted({ check: lines }), action: "check" }, ["bad"])
    ).faults.join("\n");
  expect(await check('if grep --quiet bad /etc/os-release; then problem "bad"; fi')).toContain(
    "the check of a host with bad is silent\n  the command that failed:  grep --quiet bad ",
  );
  expect(await check('local it; it=$(found bad /etc/os-release); [[ -z $it ]] || problem "bad"')).toBe("");
});

test("a run that shares its beginning with others ends as it does by itself", async () => {
  const { script, host } = planted({
    check: '[[ -e /etc/done ]] || problem "not done"',
    apply: `mkdir /etc/new
      at_exit rm -rf /etc/new
      local lines
      while read -r lines; do basename "$lines"; done <${access}
      lines=$(sed /x/d ${access} | sort -u)
      printf '%s\n' "$lines" >/etc/new/lines
      attempt touch /etc/new/attempted
      touch /etc/other
      at_exit rm -f /etc/other
      say "attempted: $status"
      sleep 1 && sleep 1
      exit_command_now
      touch /etc/done`,
  });
  const whole = await world.runStep(script, "apply", { host, note: true });
  expect(whole.statements.size > 0).toBe(world.canBranch);
  const failures = whole.calls.map((call) => ({ call, when: "before" as const }));
  const end = ({ code, stdout, stderr }: Ended) => ({ code, stdout, stderr, state: [...world.state()] });
  const shared = new Map<string, unknown>();
  for await (const { failure, ended } of world.failEach(script, "apply", whole, failures, { host })) {
    shared.set(failure.call, end(ended));
  }
  expect([...shared.keys()].sort()).toEqual([...whole.calls].sort());
  for (const failure of failures) {
    const alone = await world.runStep(script, "apply", { host, failure });
    expect({ call: failure.call, ...(shared.get(failure.call) as object) }).toEqual({
      call: failure.call,
      ...end(alone),
    });
  }
});

test("a command that no stub stands for is an error", async () => {
  await expect(faultsOfApply({ check: 'problem "not done"', apply: "reboot || true" })).rejects.toThrow(
    "unknown command reboot",
  );
});
