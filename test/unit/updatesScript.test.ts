import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { renderSchedule, renderSettings } from "../../components/host/updates/render";
import type { Action } from "../../components/step/script";
import type { Ended } from "./bash";
import { bash, directory, owner, render } from "./hostScript";
import { bodyOf } from "./stepScripts";

/** The step with a systemd whose units are in a file each, all as they should be. */
const file = (name: string) => join(directory, name);
const read = (name: string) => (existsSync(file(name)) ? readFileSync(file(name), "utf8") : "");
const timer = "apt-daily-upgrade.timer";
const stubs = `
  apt-config() { printf '%s\\n' 'APT "";' "$apt_settings"; }
  systemctl() {
    case "$1 \${3:-}" in
      'show ActiveState,UnitFileState') ;; # asked for again, one by one
      'show ActiveState') echo active ;;
      'show UnitFileState') if [[ $5 == *.timer ]]; then echo enabled; else echo static; fi ;;
      show\\ Timers*) printf '%s\\n' "TimersCalendar={ OnCalendar=*-*-* $time:00 ; next_elapse=Thu }" RandomizedDelayUSec=0 Persistent=no ;;
      *) echo "$*" >>"$home/commands" ;;
    esac
  }`;
const updates = (action: Action, lines = ""): Promise<Ended> => {
  const values = {
    home: directory,
    time: "04:00",
    aptSettings: renderSettings(),
    schedule: renderSchedule("04:00"),
    scheduleAtStart: renderSchedule("04:00", true),
  };
  const script = render(values, `${bodyOf("updates")}\n${stubs}\n${lines}`)
    .replaceAll("root:root", owner)
    .replaceAll("=/etc/", `=${directory}/etc/`)
    .replaceAll("=/var/lib/", `=${directory}/`);
  return bash(script, [action]);
};

beforeEach(async () => {
  await bash("mkdir -p systemd/timers", []);
  const ended = await updates("apply");
  expect(ended).toMatchObject({ code: 0, stderr: "" });
  writeFileSync(file("commands"), "");
});

describe("the check of the updates", () => {
  test("is silent when all is as it should be, and then apply does nothing", async () => {
    expect(await updates("check")).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await updates("apply")).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(read("commands")).toBe("");
  });

  test.each([
    [
      "apt goes by other files",
      `apt-config() { printf '%s\\n' "$apt_settings" | sed 's/"1"/"0"/'; }`,
      `apt does not apply 'APT::Periodic::Enable "1";' ('apt-config dump' shows what it applies)\n`,
    ],
    [
      "a unit is masked",
      `unit_property() { case "$1 $2" in 'apt-daily-upgrade.service UnitFileState') echo masked ;; *) systemctl show --property "$2" --value "$1" ;; esac; }`,
      "apt-daily-upgrade.service is masked\n",
    ],
    [
      "a unit is not there",
      `unit_property() { case "$1 $2" in 'apt-daily.service UnitFileState') ;; *) systemctl show --property "$2" --value "$1" ;; esac; }`,
      "apt-daily.service is missing\n",
    ],
    [
      "a timer is stopped",
      `is_active() { [[ $1 == apt-daily.timer ]] || echo yes; }`,
      "apt-daily.timer is not running\n",
    ],
  ])("names it when %s", async (_, lines, stdout) => {
    expect(await updates("check", lines)).toEqual({ code: 0, stdout, stderr: "" });
  });

  test.each([
    ["apt-config", "apt-config() { return 1; }"],
    ["systemd", "systemctl() { return 1; }"],
  ])("is no answer when %s gives none", async (_, lines) => {
    for (const action of ["check", "apply"] as const) {
      const { code, stdout } = await updates(action, lines);
      expect(code).not.toBe(0);
      expect(stdout).not.toContain("done");
    }
    expect(read("commands")).toBe("");
  });
});

describe("updates that are removed", () => {
  const schedule = () => file(`etc/systemd/system/${timer}.d`);

  test("leave the distribution's timer started, and nothing of theirs", async () => {
    expect(await updates("remove")).toMatchObject({ code: 0, stderr: "" });
    expect(read("commands").split("\n").slice(-2)).toEqual([`start ${timer}`, ""]);
    expect(existsSync(schedule())).toBe(false);
    expect(existsSync(file("etc/apt/apt.conf.d/zz-mlflow-vps"))).toBe(false);
  });

  test("fail when the timer does not start, and the next run starts it", async () => {
    const failing = `eval "working_$(declare -f systemctl)"; systemctl() { [[ $1 != start ]] || return 1; working_systemctl "$@"; }`;
    expect((await updates("remove", failing)).code).not.toBe(0);
    writeFileSync(file("commands"), "");
    expect(await updates("remove")).toMatchObject({ code: 0, stderr: "" });
    expect(read("commands")).toContain(`start ${timer}\n`);
    expect(existsSync(schedule())).toBe(false);
  });

  test("leave a timer alone that somebody has masked, and say so", async () => {
    const masked = `eval "working_$(declare -f systemctl)"; systemctl() { [[ \${3:-} != LoadState ]] || { echo masked; return; }; working_systemctl "$@"; }`;
    const { code, stdout } = await updates("remove", masked);
    expect(code).toBe(0);
    expect(stdout).toContain(`tiny: ${timer} is masked, so it stays off\n`);
    expect(read("commands")).not.toContain("start ");
  });
});
