import type { CommandModule } from "./command";

/**
 * All commands, in the order of the help: name, summary, file. Only the one that is called is loaded, for what another
 * needs (prompts, Pulumi's SDK) takes longer to load than a look at the host.
 */
export const commands: readonly (readonly [string, string, () => Promise<CommandModule>])[] = [
  ["configure", "get to know a server, and write its stack's config", () => import("./commands/configure")],
  ["drift", "say what was changed on the host since the last 'up'", () => import("./commands/drift")],
  ["env", "write what a client needs: .env and the certificate to trust", () => import("./commands/env")],
  ["open", "open the web interface in a browser", () => import("./commands/open")],
  ["unlock", "let an address log in again that is locked out", () => import("./commands/unlock")],
];
