import type { Guest } from "./guests";

/** A service is idle when it uses less than this of a core … */
const idleShare = 0.02;
/** … over so many seconds, */
const lookSeconds = 2;
/** and has to be so within this time. */
const idleWithin = 120;

/** Shell: the control groups of the service's units that run. */
const groups = (units: string) =>
  `systemctl show --property ControlGroup --value ${quoted(units)} | sed 's|^|/sys/fs/cgroup|; /./!d'`;

const quoted = (pattern: string) => `'${pattern}'`;

/** The processes of the service, without the tee that writes its log. */
export async function processesOf(guest: Guest, units: string): Promise<string[]> {
  const found = await guest.run(`
    for group in $(${groups(units)}); do
      while read -r process; do
        if [[ $(<"/proc/$process/comm") != tee ]]; then echo "$process"; fi
      done <"$group/cgroup.procs"
    done`);
  if (found === "") {
    throw new Error(`${guest.name}: no process of ${units} runs`);
  }
  return found.split("\n");
}

/** Waits until the service does nothing more of its start. */
export async function untilIdle(guest: Guest, units: string): Promise<void> {
  await guest.run(`
    used() {
      local sum=0 microseconds
      for group in $(${groups(units)}); do
        microseconds=$(sed -n 's/^usage_usec //p' "$group/cpu.stat")
        sum=$((sum + microseconds))
      done
      echo "$sum"
    }
    for ((look = 0; look < ${idleWithin / lookSeconds}; look++)); do
      before=$(used)
      sleep ${lookSeconds}
      after=$(used)
      if ((after - before < ${idleShare * lookSeconds * 1_000_000})); then exit 0; fi
    done
    echo "the service is still not idle after ${idleWithin} s" >&2
    exit 1`);
}

/** The units of the service that run. */
export async function unitsOf(guest: Guest, units: string): Promise<string[]> {
  const list = `systemctl list-units --plain --no-legend --state active ${quoted(units)}`;
  const names = (await guest.run(`${list} | cut -d ' ' -f 1`)).split("\n").filter((name) => name !== "");
  if (names.length === 0) {
    throw new Error(`${guest.name}: no unit of ${units} is active`);
  }
  return names;
}

/** The TCP port on which the service listens, which only its host reaches. */
export async function directPort(guest: Guest, units: string): Promise<number> {
  const [unit = ""] = await unitsOf(guest, units);
  // An instance of ours is named by its port.
  const [, port = "5000"] = /^mlflow@(\d+)\.service$/.exec(unit) ?? [];
  return Number(port);
}
