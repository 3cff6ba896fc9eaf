import * as pulumi from "@pulumi/pulumi";

/** A resource's inputs as plain values: secret ones reach a mock monitor wrapped. */
export function unwrap(value: unknown): unknown {
  if (pulumi.runtime.isRpcSecret(value)) {
    return unwrap(pulumi.runtime.unwrapRpcSecret(value));
  }
  if (Array.isArray(value)) {
    return value.map(unwrap);
  }
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unwrap(inner)]));
  }
  return value;
}
