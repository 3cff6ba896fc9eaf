/** What the host tests are written with. */
export { hostTool } from "../processes";
export { until } from "../waits";
export * from "./client";
export * from "./deployment";
export * from "./guest";
export * from "./snapshots";
