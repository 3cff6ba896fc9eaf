import { firstAnswer } from "../client";
import { change as apply, type Row } from "../measurement";
import { seconds } from "../processes";

/** Another number of workers, until the service that has it answers. */
export const change: Row = {
  name: "change",
  title: "a changed setting (workers)",
  on: "served",
  applies: () => true,
  async measure(situation) {
    const { guest, deployment } = situation;
    const value = await seconds(async () => {
      await apply(situation, { workers: 2 });
      await firstAnswer(await deployment.access(guest));
    });
    // The rows that follow measure each contestant as it is by itself.
    await apply(situation, { workers: undefined });
    await firstAnswer(await deployment.access(guest));
    return [{ what: "", value, unit: "s" }];
  },
};
