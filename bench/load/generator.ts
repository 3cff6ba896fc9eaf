/**
 * Clients that send as fast as they are answered, for some seconds: reads an order from its standard input, prints a report.
 * A process of its own, so that it can run in the network of a guest.
 */
import { readFileSync } from "node:fs";
import { Client } from "../client";
import { percentile } from "../report/statistics";
import type { Kind, Order, Report } from "./order";

/** Whatever the seconds, no client sends more. */
const mostRequests = 20_000;
const batch = 1000;

/** A client's requests, one after the other; their latencies in ms. A request without its answer is an error. */
async function sendAll({ access, kind }: Order, end: number): Promise<number[]> {
  const client = new Client(access);
  const latencies: number[] = [];
  try {
    const send = await sender(client, kind);
    while (performance.now() < end && latencies.length < mostRequests) {
      const begun = performance.now();
      await send(latencies.length);
      latencies.push(performance.now() - begun);
    }
  } finally {
    client.close();
  }
  return latencies;
}

/** Sends the request of this number; what it needs on the server is made before. */
async function sender(client: Client, kind: Kind): Promise<(count: number) => Promise<unknown>> {
  if (kind === "search") {
    return () => client.call("experiments/search", { max_results: 10 });
  }
  const { run } = await client.call<{ run: { info: { run_id: string } } }>("runs/create", {
    experiment_id: "0",
    start_time: Date.now(),
  });
  const metric = (step: number) => ({ key: "load", value: step, timestamp: Date.now(), step });
  const run_id = run.info.run_id;
  return kind === "log-metric"
    ? (count) => client.call("runs/log-metric", { run_id, ...metric(count) })
    : (count) => {
        const metrics = Array.from({ length: batch }, (_, index) => metric(count * batch + index));
        return client.call("runs/log-batch", { run_id, metrics });
      };
}

async function main(): Promise<void> {
  const order: Order = JSON.parse(readFileSync(0, "utf8"));
  const begun = performance.now();
  const end = begun + order.seconds * 1000;
  const all = await Promise.all(Array.from({ length: order.clients }, () => sendAll(order, end)));
  const latencies = all.flat();
  const report: Report = {
    perSecond: latencies.length / ((performance.now() - begun) / 1000),
    p50: percentile(latencies, 50),
    p95: percentile(latencies, 95),
  };
  process.stdout.write(JSON.stringify(report));
}

main().catch((error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
