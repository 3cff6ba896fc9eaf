import { firstAnswer } from "../client";
import { change, type Row } from "../measurement";
import { seconds } from "../processes";

/** Another password of a user, until a request with it is answered. */
export const rotation: Row = {
  name: "rotation",
  title: "a rotated password",
  on: "served",
  applies: () => true,
  async measure(situation) {
    const { guest, deployment, settings } = situation;
    const value = await seconds(async () => {
      await change(situation, { password: settings.password + 1 });
      await firstAnswer(await deployment.access(guest));
    });
    return [{ what: "", value, unit: "s" }];
  },
};
