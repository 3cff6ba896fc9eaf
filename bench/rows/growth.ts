import { firstAnswer } from "../client";
import type { Figure, Row } from "../measurement";
import { seconds } from "../processes";

/** Several bare guests at once, until the last one answers. */
export const growth: Row = {
  name: "growth",
  title: "bare guests at once, to the last one's first answer",
  on: "bare",
  applies: ({ repeatable }) => repeatable,
  async measure({ options, makeGuests, deploy, settings }) {
    const figures: Figure[] = [];
    for (const count of options.hosts) {
      const guests = await makeGuests(count);
      const deployment = deploy(guests);
      const value = await seconds(async () => {
        await deployment.apply(settings);
        await Promise.all(guests.map(async (guest) => firstAnswer(await deployment.access(guest))));
      });
      figures.push({ what: `${count} ${count === 1 ? "host" : "hosts"}`, value, unit: "s" });
    }
    return figures;
  },
};
