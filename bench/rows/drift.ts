import type { Figure, Row } from "../measurement";
import { seconds } from "../processes";

/** A look at the whole host, on which nothing was changed. */
export const drift: Row = {
  name: "drift",
  title: "look for drift",
  on: "served",
  applies: ({ repeatable }) => repeatable,
  async measure({ deployment }) {
    const figures: Figure[] = [];
    for (const [command, look] of Object.entries(deployment.looks)) {
      // The first is what one would take; another way is told apart.
      const what = figures.length === 0 ? "" : command;
      figures.push({ what, value: await seconds(look), unit: "s" });
    }
    return figures;
  },
};
