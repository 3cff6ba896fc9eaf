import * as pulumi from "@pulumi/pulumi";
import type { MlflowServerArgs } from "../args";
import { check, keyOf } from "../schema/check";
import { flatten } from "../schema/flat";
import { type Problem, tellProblems } from "../schema/problem";
import { holder, type Key, keys, type Schema, type Setting, schema, type Values } from "../schema/schema";

/** What the server is told, complete and sound. What may be an output of another resource is an output. */
export type Settings = {
  readonly [K in Key]: Schema[K] extends { readonly input: true } ? pulumi.Output<Values[K]> : Values[K];
};

export interface Settled {
  readonly settings: Settings;
  /** Waits until all is known and found sound; fails where it is not. */
  readonly sound: pulumi.Output<true>;
}

/**
 * Checks what is known now, and all of it once it is known: before that no setting that is an output has a value.
 *
 * @throws `pulumi.InputPropertiesError` with all problems, each with the path of its argument
 */
export function settle(name: string, args: MlflowServerArgs): Settled {
  const given = new Map(flatten(args));
  const later = new Map([...given].filter(([, value]) => isLater(value)));
  const { values, problems } = check(given, new Set(later.keys()));
  refuse(name, [...misplaced([...given.keys()], later), ...problems]);

  // Not secret itself, whatever it has looked at: else every output of the server were.
  const sound = pulumi.unsecret(
    pulumi.output(Object.fromEntries(later)).apply((known) => {
      refuse(name, check(new Map([...given, ...Object.entries(known)])).problems);
      return true as const;
    }),
  );
  const inputs = keys
    .filter((key) => "input" in schema[key])
    .map((key) => {
      const { type, default: usual }: Setting = schema[key];
      const value = pulumi
        .all([given.get(key), sound])
        .apply(([known]) => type.optional().parse(known ?? usual));
      return [key, value];
    });
  return { settings: { ...values, ...Object.fromEntries(inputs) }, sound };
}

const isLater = (value: unknown) => pulumi.Output.isInstance(value) || value instanceof Promise;

/** What only a program without types gets wrong. */
function misplaced(given: readonly string[], later: ReadonlyMap<string, unknown>): Problem[] {
  return given.flatMap((name) => {
    const key = keyOf(name);
    const value = key === undefined ? undefined : holder(key);
    if (value !== undefined) {
      return [{ key: name, reason: `is for a stack's config only: read the file and give ${value}` }];
    }
    return key !== undefined && later.has(name) && !("input" in schema[key])
      ? [{ key: name, reason: "must be a plain value, not an output: it shapes which resources there are" }]
      : [];
  });
}

function refuse(name: string, problems: readonly Problem[]): void {
  if (problems.length === 0) {
    return;
  }
  const message = tellProblems(`MlflowServer '${name}'`, problems);
  const error = new pulumi.InputPropertiesError({
    message,
    errors: problems.map(({ key, reason }) => ({ propertyPath: key, reason })),
  });
  // The message says it all. The engine would print the stack, and the SDK puts the name of each property that waits for
  // the value before the message, dozens of them.
  error.stack = "";
  Object.defineProperty(error, "message", { get: () => message, set: () => undefined });
  throw error;
}
