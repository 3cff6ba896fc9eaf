/** What the npm package offers to other Pulumi programs. */
export type { MlflowServerArgs } from "./args";
export { MlflowServer } from "./mlflowServer";
