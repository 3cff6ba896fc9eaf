import { stringify } from "yaml";
import type { Settings } from "../../contestant";
import type { Guest } from "../../guests";

const project = "mlflow-vps";

/** The config file of a stack for these settings. */
export function stackConfig(
  { mlflow, workers, password }: Settings,
  host: Readonly<Record<string, string>>,
): string {
  const values = {
    ...host,
    "mlflow.version": mlflow,
    ...(workers === undefined ? {} : { "service.workers": workers }),
    "rotation.users.mlflow": password,
  };
  return stringify({
    config: Object.fromEntries(Object.entries(values).map(([key, value]) => [`${project}:${key}`, value])),
  });
}

/** How a stack reaches a guest. */
export const hostOf = (guest: Guest) => ({
  "host.address": guest.address,
  "host.user": guest.login,
  "host.hostKeyFile": `${guest.directory}/host_key.pub`,
  "host.privateKeyFile": guest.keyFile,
});

/** What a stack puts out. */
export interface Outputs {
  readonly trackingUri: string;
  readonly users: Readonly<Record<string, string>>;
  readonly caCertificate: string;
}

export function accessOf({ trackingUri, users, caCertificate }: Outputs) {
  const password = users.mlflow;
  if (password === undefined) {
    throw new Error(`the stack has no user mlflow, but ${Object.keys(users).join(", ")}`);
  }
  return { uri: trackingUri, user: "mlflow", password, ca: caCertificate };
}
