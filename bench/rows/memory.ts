import type { Row } from "../measurement";
import { processesOf, untilIdle } from "../service";

/** What the service takes when it has answered and does nothing. */
export const memory: Row = {
  name: "memory",
  title: "memory of the service, idle",
  on: "served",
  applies: () => true,
  async measure({ guest, contestant }) {
    await untilIdle(guest, contestant.units);
    const processes = await processesOf(guest, contestant.units);
    const kilobytes = await guest.run(
      `cat ${processes.map((id) => `/proc/${id}/smaps_rollup`).join(" ")} | awk '$1 == "Pss:" { sum += $2 } END { print sum }'`,
    );
    return [
      { what: "PSS", value: Number(kilobytes) / 1024, unit: "MB" },
      { what: "processes", value: processes.length, unit: "processes" },
    ];
  },
};
