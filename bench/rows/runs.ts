import { Client } from "../client";
import type { Guest } from "../guests";
import type { Figure, Row } from "../measurement";
import { percentile } from "../report/statistics";

/** How often each search is made. */
const times = 20;

/** What the web interface asks for when it shows an experiment. */
const searches = {
  newest: { order_by: ["attributes.start_time DESC"] },
  "by a metric": { order_by: ["metrics.`metric 1` DESC"] },
  "by a parameter": { order_by: ["params.`parameter 1` DESC"] },
  "filter on both": { filter: "metrics.`metric 1` > 0.9 AND params.`parameter 1` = '3'" },
  "a page of 1,000": { order_by: ["attributes.start_time DESC"], max_results: 1000 },
} as const;

/** How long the searches of the web interface take with so many runs in an experiment. */
export const runs: Row = {
  name: "runs",
  title: "search of runs",
  on: "served",
  applies: () => true,
  async measure({ guest, deployment, options }) {
    const client = new Client(await deployment.access(guest));
    const figures: Figure[] = [];
    try {
      const { experiment_id } = await client.call<{ experiment_id: string }>("experiments/create", {
        name: "Many runs",
      });
      let there = 0;
      for (const count of [...options.runs].sort((one, other) => one - other)) {
        await fill(guest, experiment_id, there + 1, count);
        there = count;
        for (const [name, search] of Object.entries(searches)) {
          const latencies = await time(client, {
            max_results: 100,
            ...search,
            experiment_ids: [experiment_id],
          });
          const what = `${count.toLocaleString("en-US")} runs, ${name}`;
          figures.push({ what, value: percentile(latencies, 50), unit: "ms" });
          figures.push({ what: `${what}, p95`, value: percentile(latencies, 95), unit: "ms" });
        }
      }
    } finally {
      client.close();
    }
    return figures;
  },
};

async function time(client: Client, search: object): Promise<number[]> {
  const latencies: number[] = [];
  for (let count = 0; count < times; count++) {
    const begun = performance.now();
    const { runs: found = [] } = await client.call<{ runs?: unknown[] }>(
      "runs/search",
      { run_view_type: "ACTIVE_ONLY", ...search },
      "ajax-api",
    );
    latencies.push(performance.now() - begun);
    if (found.length === 0) {
      throw new Error(`a search found no runs: ${JSON.stringify(search)}`);
    }
  }
  return latencies;
}

/** Writes the runs of these numbers into the database, each with 5 metrics of 3 steps and 5 parameters: a client would take hours. */
async function fill(guest: Guest, experiment: string, from: number, to: number): Promise<void> {
  const run = "md5('run ' || n)";
  const numbers = `generate_series(${from}, ${to}) as n`;
  // The same in each round.
  const value = "(abs(hashint4(n * 5 + k)) % 1000) / 1000.0";
  await guest.run(`cd /tmp; runuser -u postgres -- psql -qd mlflow -v ON_ERROR_STOP=1 <<'SQL'
begin;
insert into runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time,
    source_version, lifecycle_stage, artifact_uri, experiment_id)
  select ${run}, 'run ' || n, 'LOCAL', 'train.py', '', 'bench', 'FINISHED', 1700000000000 + n * 1000, 1700000000500 + n * 1000,
    '', 'active', 'mlflow-artifacts:/${experiment}/' || ${run} || '/artifacts', ${experiment} from ${numbers};
insert into metrics (key, value, timestamp, run_uuid, step, is_nan)
  select 'metric ' || k, ${value} + s, 1700000000000 + n * 1000 + s, ${run}, s, false
  from ${numbers}, generate_series(1, 5) as k, generate_series(-2, 0) as s;
insert into latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
  select 'metric ' || k, ${value}, 1700000000000 + n * 1000, 0, false, ${run} from ${numbers}, generate_series(1, 5) as k;
insert into params (key, value, run_uuid)
  select 'parameter ' || k, (abs(hashint4(n + k)) % 10)::text, ${run} from ${numbers}, generate_series(1, 5) as k;
insert into tags (key, value, run_uuid)
  select 'mlflow.runName', 'run ' || n, ${run} from ${numbers};
commit;
analyze;
SQL`);
}
