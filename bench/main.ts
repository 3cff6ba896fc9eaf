/**
 * The benchmark: other ways to an MLflow server, and ours, measured side by side on guests of the sandbox.
 *
 *     npm run bench -- [--help]
 */
import { getuid } from "node:process";
import type { Contestant } from "./contestant";
import { contestants } from "./contestants";
import { describeMachine } from "./machine";
import type { Row } from "./measurement";
import { type Options, parseOptions, usage } from "./options";
import { publish } from "./report/publish";
import { renderTable } from "./report/table";
import { type Results, readResults, resultsFile, writeResults } from "./results";
import { measureRounds } from "./rounds";
import { rows } from "./rows";
import { commonVersions } from "./versions";

/** Those that were asked for by name; all of them without names. */
function choose<Named extends { readonly name: string }>(
  option: string,
  all: readonly Named[],
  names: readonly string[] | undefined,
): Named[] {
  for (const name of names ?? []) {
    if (!all.some((each) => each.name === name)) {
      throw new Error(`${option} '${name}': use some of ${all.map((each) => each.name).join(", ")}`);
    }
  }
  return all.filter(({ name }) => names === undefined || names.includes(name));
}

/** The contestants that can take part, and the versions of their tools. */
async function prepare(chosen: readonly Contestant[], asked: boolean) {
  const ready: Contestant[] = [];
  let versions = {};
  for (const contestant of chosen) {
    const obstacle = await contestant.obstacle();
    if (obstacle === undefined) {
      versions = { ...versions, ...(await contestant.prepare()) };
      ready.push(contestant);
    } else if (asked) {
      throw new Error(`${contestant.name} cannot take part: ${obstacle}`);
    } else {
      process.stderr.write(`without ${contestant.name}: ${obstacle}\n`);
    }
  }
  return { ready, versions };
}

async function measure(options: Options, args: readonly string[]): Promise<Results> {
  if (getuid?.() !== 0) {
    throw new Error("guests are made by root: run it with sudo");
  }
  const chosenRows: readonly Row[] = choose("--only", rows, options.only);
  const asked = choose("--contestants", contestants, options.contestants);
  const { ready, versions } = await prepare(asked, options.contestants !== undefined);
  const date = new Date().toISOString();
  const file = resultsFile(date);
  const begun = {
    date,
    command: ["npm run bench", ...(args.length > 0 ? ["--", ...args] : [])].join(" "),
    machine: describeMachine(),
    versions: { ...commonVersions(process.env.MLFLOW_VPS_SUITE), ...versions },
    contestants: ready.map(({ name, title, ours }) => ({ name, title, ours })),
    rows: chosenRows.map(({ name, title }) => ({ name, title })),
  };
  await measureRounds({ options, contestants: ready, rows: chosenRows }, (found) =>
    writeResults(file, { ...begun, ...found }),
  );
  process.stderr.write(`results: ${file}\n`);
  return readResults(file);
}

async function main(args: readonly string[]): Promise<number> {
  const options = parseOptions(args);
  if (options.help) {
    process.stdout.write(usage);
    return 0;
  }
  const results = options.results === undefined ? await measure(options, args) : readResults(options.results);
  process.stdout.write(`${renderTable(results)}\n`);
  if (options.publish) {
    publish(results);
  }
  for (const { round, contestant, row, error } of results.failures) {
    process.stderr.write(`not measured: round ${round}, ${contestant}, ${row}: ${error}\n`);
  }
  return results.failures.length > 0 ? 1 : 0;
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error) => {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 1;
  },
);
