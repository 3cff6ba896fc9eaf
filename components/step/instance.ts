import type { Input } from "@pulumi/pulumi";

/** What the library's part `instances` makes an instance of the server of: values of the step that starts it. */
export interface InstanceValues {
  /** System user that it runs as. */
  readonly account: string;
  /** Address that it listens on. */
  readonly address: string;
  /** Absolute directory of its artifacts. */
  readonly artifacts: Input<string>;
  /** Absolute directory where uploads are staged. */
  readonly temporary: string;
  /** Its systemd unit. */
  readonly unit: Input<string>;
  /** Its environment, but for its port and what depends on the number of workers. */
  readonly environment: Input<string>;
  /** The Python program that it runs. */
  readonly launcher: string;
  /** Worker processes, or by the host's memory. */
  readonly workers: number | "auto";
  /** Whether it runs jobs, or by the host's memory. */
  readonly jobs: boolean | "auto";
  /** Workers and jobs by memory: `MEGABYTES WORKERS JOBS`, the smallest first. */
  readonly sizes: readonly string[];
  /** What each worker may have of the database, by the number of workers: `REQUESTS CONNECTIONS OVERFLOW`. */
  readonly shares: readonly string[];
}
