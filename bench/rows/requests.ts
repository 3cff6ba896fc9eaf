import { join } from "node:path";
import type { Guest } from "../guests";
import { kinds, type Order, type Report } from "../load/order";
import type { Figure, Row } from "../measurement";
import { execute } from "../processes";
import { directPort } from "../service";

const generator = join(__dirname, "../load/generator.ts");

/** Requests in a second and their latency, by so many clients at once, at the service's own port and through nginx. */
export const requests: Row = {
  name: "requests",
  title: "requests",
  on: "served",
  applies: () => true,
  async measure({ guest, contestant, deployment, options }) {
    const access = await deployment.access(guest);
    const direct = { ...access, uri: `http://127.0.0.1:${await directPort(guest, contestant.units)}` };
    // Each worker loads the rest of MLflow with its first requests.
    await load(guest, { access, kind: "search", clients: 8, seconds: options.seconds });
    const figures: Figure[] = [];
    for (const kind of kinds) {
      for (const [way, at] of Object.entries({ direct, nginx: access })) {
        for (const clients of options.clients) {
          const report = await load(guest, { access: at, kind, clients, seconds: options.seconds });
          figures.push(
            ...figuresOf(`${kind}, ${way}, ${clients === 1 ? "1 client" : `${clients} clients`}`, report),
          );
        }
      }
    }
    return figures;
  },
};

const figuresOf = (what: string, { perSecond, p50, p95 }: Report): Figure[] => [
  { what, value: perSecond, unit: "requests/s" },
  { what: `${what}, p50`, value: p50, unit: "ms" },
  { what: `${what}, p95`, value: p95, unit: "ms" },
];

/** In the guest's own network, where both ways are equally far. */
async function load(guest: Guest, order: Order): Promise<Report> {
  const node = [process.execPath, "--import", "tsx", generator];
  const input = JSON.stringify(order);
  return JSON.parse(await execute("nsenter", [`--net=${guest.networkNamespace}`, ...node], { input }));
}
