const isPlainObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;

/** Nested objects as a list of dotted keys: `{ rotation: { users: { ada: 2 } } }` is `rotation.users.ada: 2`. */
export function flatten(nested: object, prefix = ""): (readonly [key: string, value: unknown])[] {
  return Object.entries(nested).flatMap(([part, value]) =>
    isPlainObject(value) ? flatten(value, `${prefix}${part}.`) : [[`${prefix}${part}`, value] as const],
  );
}

/** The other way round; a path is a key in parts. */
export function nest(entries: readonly (readonly [path: readonly string[], value: unknown])[]): object {
  const heads = [...new Set(entries.map(([[head = ""]]) => head))];
  return Object.fromEntries(
    heads.map((head) => {
      const inner = entries
        .filter(([[first]]) => first === head)
        .map(([[, ...rest], value]) => [rest, value] as const);
      const leaf = inner.find(([rest]) => rest.length === 0);
      return [head, leaf === undefined ? nest(inner) : leaf[1]];
    }),
  );
}
