import type { Row } from "../measurement";
import { seconds } from "../processes";

/** Applied once more. */
export const nothing: Row = {
  name: "nothing",
  title: "nothing to do",
  on: "served",
  applies: ({ repeatable }) => repeatable,
  async measure({ deployment, settings }) {
    return [{ what: "", value: await seconds(() => deployment.apply(settings)), unit: "s" }];
  },
};
