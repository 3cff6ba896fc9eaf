import { firstAnswer } from "../client";
import type { Row } from "../measurement";
import { seconds } from "../processes";

/** From a bare guest to a request of a user that is answered. */
export const cold: Row = {
  name: "cold",
  title: "bare guest to the first authenticated answer",
  on: "bare",
  applies: () => true,
  async measure({ deployment, settings, guest, keep }) {
    const value = await seconds(async () => {
      await deployment.apply(settings);
      await firstAnswer(await deployment.access(guest));
    });
    keep(deployment.timeline?.() ?? []);
    return [{ what: "", value, unit: "s" }];
  },
};

/** The same for the rows that need a server, where it is not measured. */
export const preparation: Row = {
  ...cold,
  name: "preparation",
  async measure(situation) {
    await cold.measure(situation);
    return [];
  },
};
