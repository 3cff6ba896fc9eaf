import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Contestant, Deployment, Settings } from "./contestant";
import { Guest } from "./guests";
import type { Figure, Row, Situation } from "./measurement";
import type { Options } from "./options";
import { project } from "./processes";
import type { Failure, Measured, Timeline } from "./results";
import { cold, preparation } from "./rows/cold";
import { mlflow } from "./versions";

const begin: Settings = { mlflow, password: 1 };

/** The name of the guest; further ones have a number. */
const guestName = "bench";

/** Where the contestants keep what is theirs, passwords too, until the end. */
const work = join(project, ".sandbox/bench-work");

export interface Plan {
  readonly options: Options;
  readonly contestants: readonly Contestant[];
  readonly rows: readonly Row[];
}

/** What the rounds found, as far as they are. */
export interface Found {
  readonly figures: Measured[];
  readonly failures: Failure[];
  /** Of each cold apply of ours. */
  readonly timelines: Timeline[];
}

/** Measures in rounds, in each of which every contestant takes its turn; tells after each turn what is found. */
export async function measureRounds(
  { options, contestants, rows }: Plan,
  tell: (found: Found) => void,
): Promise<void> {
  const found: Found = { figures: [], failures: [], timelines: [] };
  const guests = new Guests();
  const interrupted = () => {
    guests.end().then(
      () => process.exit(130),
      (error) => {
        process.stderr.write(`${error.message}\n`);
        process.exit(1);
      },
    );
  };
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
  try {
    for (let round = 1; round <= options.rounds; round++) {
      for (const contestant of contestants) {
        await new Turn(round, contestant, options, guests, found).take(rows);
        tell(found);
      }
    }
  } finally {
    process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
    await guests.down();
    rmSync(work, { recursive: true, force: true });
  }
}

/** The guests that stand now. */
class Guests {
  private readonly standing: Guest[] = [];
  private ended = false;

  /** This many, made anew. */
  async make(count: number): Promise<Guest[]> {
    const guests = Array.from(
      { length: count },
      (_, index) => new Guest(index === 0 ? guestName : `${guestName}-${index + 1}`),
    );
    for (const guest of guests) {
      if (this.ended) {
        throw new Error("interrupted");
      }
      if (!this.standing.some(({ name }) => name === guest.name)) {
        this.standing.push(guest);
      }
      await guest.make();
    }
    return guests;
  }

  /** Takes all down, and makes no more. */
  async end(): Promise<void> {
    this.ended = true;
    await this.down();
  }

  /** Takes all down but so many. */
  async down(keep = 0): Promise<void> {
    for (const guest of this.standing.splice(keep)) {
      await guest.down();
    }
  }
}

/** A contestant's turn in a round: all rows, on a guest of its own. */
class Turn {
  constructor(
    private readonly round: number,
    private readonly contestant: Contestant,
    private readonly options: Options,
    private readonly guests: Guests,
    private readonly found: Found,
  ) {}

  async take(all: readonly Row[]): Promise<void> {
    const rows = all.filter((row) => row.applies(this.contestant));
    const served = rows.filter(({ on }) => on === "served");
    const toServe = rows.includes(cold) ? cold : preparation;
    if (toServe === cold || served.length > 0) {
      const situation = await this.newSituation();
      if (await this.measure(toServe, situation)) {
        for (const row of served) {
          await this.measure(row, situation);
        }
      }
    }
    for (const row of rows.filter((row) => row.on === "bare" && row !== cold)) {
      await this.measure(row, await this.newSituation());
      await this.guests.down(1);
    }
  }

  private async newSituation(): Promise<Situation> {
    const [guest] = await this.guests.make(1);
    if (guest === undefined) {
      throw new Error("there is no guest");
    }
    const deploy = (guests: readonly Guest[]) => this.deploy(guests);
    return {
      contestant: this.contestant,
      options: this.options,
      settings: begin,
      guest,
      deployment: deploy([guest]),
      makeGuests: (count) => this.guests.make(count),
      deploy,
      keep: (spans) => {
        if (spans.length > 0) {
          this.found.timelines.push({ contestant: this.contestant.name, spans });
        }
      },
    };
  }

  private deploy(guests: readonly Guest[]): Deployment {
    const directory = join(work, this.contestant.name);
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    return this.contestant.deploy(guests, directory);
  }

  /** Whether it could be measured. What could not is told at the end, and does not stop the others. */
  private async measure(row: Row, situation: Situation): Promise<boolean> {
    const where = { round: this.round, contestant: this.contestant.name, row: row.name };
    let figures: Figure[];
    try {
      figures = await row.measure(situation);
    } catch (error) {
      this.found.failures.push({ ...where, error: (error as Error).message });
      process.stderr.write(`${say(where)}: failed\n${(error as Error).message}\n`);
      return false;
    }
    for (const figure of figures) {
      this.found.figures.push({ ...where, ...figure });
      const what = figure.what === "" ? "" : `, ${figure.what}`;
      process.stderr.write(`${say(where)}${what}: ${figure.value.toFixed(1)} ${figure.unit}\n`);
    }
    return true;
  }
}

const say = ({ round, contestant, row }: { round: number; contestant: string; row: string }) =>
  `round ${round}, ${contestant}, ${row}`;
