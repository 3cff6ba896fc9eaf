import type * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import type { Host } from "./host";
import type { Settings } from "./settings";

/** What every part of a server is made with. */
export interface PartArgs {
  /** Name of the server, with which the names of its resources begin. */
  readonly name: string;
  readonly settings: Settings;
  /** The server, whose children the resources are. */
  readonly parent: pulumi.Resource;
}

/** What every role of a host is made with. */
export interface RoleArgs extends PartArgs {
  /** Who has the role. */
  readonly host: Host;
}

/** 32 letters and digits: 190 bits. Raising `rotation` makes a new one. */
export function password({ name, parent }: PartArgs, role: string, rotation: number): pulumi.Output<string> {
  const keepers = { rotation: String(rotation) };
  return new random.RandomPassword(`${name}-${role}`, { length: 32, special: false, keepers }, { parent })
    .result;
}

/** 32 random bytes in URL-safe base64: a key of Fernet, the way that MLflow encrypts what webhooks sign with. */
export function fernetKey({ name, parent }: PartArgs, role: string): pulumi.Output<string> {
  const keepers = { rotation: "1" };
  const { base64 } = new random.RandomBytes(`${name}-${role}`, { length: 32, keepers }, { parent });
  return base64.apply((text) => text.replaceAll("+", "-").replaceAll("/", "_"));
}
