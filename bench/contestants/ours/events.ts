import type { Span } from "../../contestant";

interface Metadata {
  readonly op: string;
  readonly urn: string;
  readonly type: string;
}

interface Event {
  /** In whole seconds. */
  readonly timestamp: number;
  readonly resourcePreEvent?: { readonly metadata: Metadata };
  readonly resOutputsEvent?: { readonly metadata: Metadata };
}

/** How long each command of an `up` took, by the event log of Pulumi's CLI: an event in JSON on each line. */
export function eventSpans(log: string): Span[] {
  const events: Event[] = log
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
  const beginning = events[0]?.timestamp ?? 0;
  const begun = new Map<string, number>();
  return events.flatMap(({ timestamp, resourcePreEvent, resOutputsEvent }) => {
    const { urn = "", type } = (resourcePreEvent ?? resOutputsEvent)?.metadata ?? {};
    if (type !== "command:remote:Command") {
      return [];
    }
    if (resourcePreEvent !== undefined) {
      begun.set(urn, timestamp);
      return [];
    }
    return [
      { name: stepOf(urn), from: (begun.get(urn) ?? timestamp) - beginning, to: timestamp - beginning },
    ];
  });
}

/** The step's name in `urn:…::mlflow-<step>-command`. */
export const stepOf = (name: string) => name.replace(/^.*::/, "").replace(/^mlflow-|-command$/g, "");
