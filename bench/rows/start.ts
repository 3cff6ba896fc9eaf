import { firstAnswer } from "../client";
import type { Row } from "../measurement";
import { seconds } from "../processes";
import { unitsOf } from "../service";

/** From the start of the stopped service to a request that is answered through nginx. */
export const start: Row = {
  name: "start",
  title: "start of the service to its first answer",
  on: "served",
  applies: () => true,
  async measure({ guest, contestant, deployment }) {
    const access = await deployment.access(guest);
    const units = (await unitsOf(guest, contestant.units)).join(" ");
    await guest.run(`systemctl stop ${units}`);
    const value = await seconds(async () => {
      await guest.run(`systemctl start --no-block ${units}`);
      await firstAnswer(access);
    });
    return [{ what: "", value, unit: "s" }];
  },
};
