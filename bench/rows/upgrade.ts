import { firstAnswer } from "../client";
import { change, type Row } from "../measurement";
import { seconds } from "../processes";
import { earlierMlflow, mlflow } from "../versions";

/** From one release of MLflow to the next, with rehearsal, dump and migration. */
export const upgrade: Row = {
  name: "upgrade",
  title: `an upgrade (${earlierMlflow} to ${mlflow})`,
  on: "bare",
  // The others have none: their users would have to stop the service, dump and migrate by hand.
  applies: ({ ours }) => ours,
  async measure(situation) {
    const { guest, deployment } = situation;
    await change(situation, { mlflow: earlierMlflow });
    await firstAnswer(await deployment.access(guest));
    const value = await seconds(async () => {
      await change(situation, { mlflow });
      await firstAnswer(await deployment.access(guest));
    });
    return [{ what: "", value, unit: "s" }];
  },
};
