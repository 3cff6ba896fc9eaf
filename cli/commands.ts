import type { CommandModule } from "./command";

/**
 * All commands, in the order of the help: name, summary, file. Only the one that is called is loaded, for what another
 * needs (prompts, Pulumi's SDK) takes longer to load than a check of the host.
 */
export const commands: readonly (readonly [string, string, () => Promise<CommandModule>])[] = [
  ["configure", "pin a server's host key and write the stack's config", () => import("./commands/configure")],
  ["drift", "report what has changed on the host since the last 'up'", () => import("./commands/drift")],
  ["env", "write what a client needs: .env and the certificate to trust", () => import("./commands/env")],
  ["open", "open the web interface in a browser", () => import("./commands/open")],
  ["unlock", "end the lockout of an address", () => import("./commands/unlock")],
];
