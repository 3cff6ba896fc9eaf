import { parseArgs } from "node:util";

export interface Options {
  readonly rounds: number;
  /** Rows by name; all of them without it. */
  readonly only: readonly string[] | undefined;
  /** Contestants by name; all that can take part without it. */
  readonly contestants: readonly string[] | undefined;
  /** Numbers of clients that send at once. */
  readonly clients: readonly number[];
  /** How long they send. */
  readonly seconds: number;
  /** Sizes of the artifacts, in MB, and how many of each. */
  readonly artifacts: readonly { readonly megabytes: number; readonly count: number }[];
  /** Numbers of hosts that are set up at once. */
  readonly hosts: readonly number[];
  /** Numbers of runs in the database. */
  readonly runs: readonly number[];
  /** Whether table and charts go to docs/. */
  readonly publish: boolean;
  /** Results of before, in place of measuring. */
  readonly results: string | undefined;
  readonly help: boolean;
}

export const usage = `Usage: npm run bench -- [OPTION…]      (as root, on a Debian-like machine; see docs/benchmark.md)
  --rounds N             how often each contestant takes its turn (3)
  --contestants NAME,…   byhand, ansible, pyinfra, engineless, engine (all that this machine has)
  --only ROW,…           cold, nothing, drift, memory, start, change, rotation, upgrade, requests, artifacts, growth, runs (all)
  --clients N,…          clients that send at once (1,8,32)
  --seconds N            how long they send, at most 60 (10)
  --artifacts MBxN,…     sizes and numbers of the artifacts (1x100,1024x1)
  --hosts N,…            hosts that are set up at once, at most 6 (1,3,6)
  --runs N,…             runs in the database, at most 100000 (1000,10000,100000)
  --publish              write docs/benchmark.md and its charts
  --results FILE         take these results in place of measuring
`;

/** @throws an error that says which option is wrong, and how */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "3" },
      only: { type: "string" },
      contestants: { type: "string" },
      clients: { type: "string", default: "1,8,32" },
      seconds: { type: "string", default: "10" },
      artifacts: { type: "string", default: "1x100,1024x1" },
      hosts: { type: "string", default: "1,3,6" },
      runs: { type: "string", default: "1000,10000,100000" },
      publish: { type: "boolean", default: false },
      results: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const numbers = (option: "clients" | "hosts" | "runs", most: number) =>
    values[option].split(",").map((text) => wholeNumber(`--${option}`, text, most));
  return {
    rounds: wholeNumber("--rounds", values.rounds, 100),
    only: values.only?.split(","),
    contestants: values.contestants?.split(","),
    clients: numbers("clients", 64),
    seconds: wholeNumber("--seconds", values.seconds, 60),
    artifacts: values.artifacts.split(",").map(parseArtifacts),
    hosts: numbers("hosts", 6),
    runs: numbers("runs", 100_000),
    publish: values.publish,
    results: values.results,
    help: values.help,
  };
}

function wholeNumber(option: string, text: string, most: number): number {
  const value = Number(text);
  if (!/^[1-9]\d*$/.test(text) || value > most) {
    throw new Error(`${option} '${text}': use whole numbers from 1 to ${most}`);
  }
  return value;
}

function parseArtifacts(text: string): Options["artifacts"][number] {
  const [megabytes = "", count = "", ...more] = text.split("x");
  if (more.length > 0) {
    throw new Error(`--artifacts '${text}': use MEGABYTESxNUMBER`);
  }
  return {
    megabytes: wholeNumber("--artifacts", megabytes, 2048),
    count: wholeNumber("--artifacts", count, 1000),
  };
}
