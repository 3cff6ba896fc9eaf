import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";

/** What the figures were measured on. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly kernel: string;
  /** Of other work, at the beginning: processes that want a core, over the last minute. */
  readonly load: number;
}

export function describeMachine(): Machine {
  const [cpu, ...others] = cpus();
  const [load = "0"] = readFileSync("/proc/loadavg", "utf8").split(" ");
  return {
    processor: cpu?.model.trim() ?? "unknown",
    cores: others.length + 1,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    load: Number(load),
  };
}
