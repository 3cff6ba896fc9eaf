import { schema } from "../components/schema/schema";
import { version } from "../package.json";

/** The release of MLflow that all contestants install. */
export const mlflow: string = schema["mlflow.version"].default;

/** The release before it that an upgrade begins with. */
export const earlierMlflow = "3.16.1";

/** What took part beside the contestants' own tools. */
export const commonVersions = (suite: string | undefined) => ({
  "mlflow-vps": version,
  MLflow: mlflow,
  Node: process.versions.node,
  guests: `Debian ${suite === "trixie" ? "13" : "12"}`,
});
