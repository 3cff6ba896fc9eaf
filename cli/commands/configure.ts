import { basename, join, resolve } from "node:path";
import type { Command } from "commander";
import { example } from "../command";
import { confirmHostKey, meet, parseFingerprint, readPinnedKey } from "../configure/hostKey";
import { checkLogin, chooseKeyFile, chooseLogin, readPrivateKey } from "../configure/login";
import { report } from "../configure/report";
import {
  defaults,
  meaningOf,
  parseDomain,
  parseSetting,
  parseTarget,
  parseUsers,
  type SettingName,
  type Target,
} from "../configure/settings";
import { asText, StackFile, type Value } from "../configure/stackFile";
import { Dialog } from "../dialog";
import { here, project } from "../paths";
import { withProgress } from "../terminal";

interface Flags {
  readonly stack: string;
  readonly port?: number;
  readonly key?: string;
  /** Empty for none. */
  readonly domain?: string;
  readonly users?: readonly string[];
  readonly directory?: string;
  readonly fingerprint?: string;
  readonly yes?: boolean;
  readonly acceptNewHostKey?: boolean;
}

export function define(command: Command): void {
  command
    .description(
      "Reads the server's host key, checks the login, and writes both to Pulumi.<stack>.yaml. Asks for what is " +
        "missing; run it again to change an answer, or to accept the key of a reinstalled server.",
    )
    .argument("[USER@HOST]", "the server; IPv6: user@2001:db8::1 or user@[2001:db8::1]", parseTarget)
    .option("--stack <NAME>", "the stack", parseStack, "prod")
    .option("--port <NUMBER>", meaningOf("host.port", `default: ${defaults["host.port"]}`), (text) =>
      parseSetting("host.port", text, "--port"),
    )
    .option(
      "--key <FILE>",
      meaningOf("host.privateKey", "default: ~/.ssh/id_ed25519, else id_ecdsa, else id_rsa"),
    )
    .option("--domain <NAME>", meaningOf("domain", "- for none"), (text) => parseDomain(text, "--domain"))
    .option("--users <A,B>", meaningOf("users", `default: ${defaults.users?.join(",")}`), (text) =>
      parseUsers(text, "--users"),
    )
    .option("--directory <DIRECTORY>", "where Pulumi.<stack>.yaml is (default: the project)")
    .option("--fingerprint <SHA256:…>", "the host key must have this fingerprint", (text) =>
      parseFingerprint(text, "--fingerprint"),
    )
    .option("--yes", "trust the host key that is presented, and ask nothing")
    .option("--accept-new-host-key", "the same, also when another one is pinned already")
    .addHelpText(
      "after",
      "\nWithout a terminal every value comes from a flag or from an earlier run, and one of the last three confirms the\n" +
        "host key. MLFLOW_VPS_KEY_PASSPHRASE holds the passphrase of the private key, if it has one.",
    )
    .addHelpText(...example("./mlflow-vps configure root@203.0.113.7 --stack prod"))
    .action(async (target: Target | undefined, flags: Flags) => {
      process.stdout.write(await configure(target, flags));
    });
}

function parseStack(name: string): string {
  if (!/^[A-Za-z0-9_.-]{1,100}$/.test(name)) {
    throw new Error(`--stack: must be of letters, digits, '-', '_' and '.' (got ${JSON.stringify(name)})`);
  }
  return name;
}

/**
 * @returns what to print at the end
 * @throws an error with one line that says what is wrong; then nothing was written
 */
async function configure(target: Target | undefined, flags: Flags): Promise<string> {
  const dialog = new Dialog({ unattended: flags.yes });
  const file = join(resolve(here, flags.directory ?? project), `Pulumi.${flags.stack}.yaml`);
  const config = StackFile.read(file);
  const isNew = !config.has("host.address");
  const stored = <Name extends SettingName>(name: Name) => {
    const raw = config.get(name);
    return raw === undefined ? undefined : parseSetting(name, raw, `${basename(file)}: ${name}`);
  };

  const { address, user } = await chooseLogin(
    { address: target?.address ?? stored("host.address"), user: target?.user ?? stored("host.user") },
    dialog,
  );
  const port = flags.port ?? stored("host.port") ?? defaults["host.port"];
  const keyFile = await chooseKeyFile(flags.key, stored("host.privateKeyFile"), dialog);
  const { text: privateKey, passphrase } = await readPrivateKey(keyFile, dialog);

  const connection = {
    host: address,
    port,
    user,
    privateKey,
    privateKeyPassword: passphrase,
    hostKey: "",
  };
  const pinned = readPinnedKey(config);
  const { hostKey, logIn, leave } = await withProgress(
    `reading the host key of ${address}`,
    meet(connection, pinned, flags.fingerprint),
  );
  try {
    await confirmHostKey(address, { ...flags, presented: hostKey, pinned }, dialog);
  } catch (error) {
    leave();
    throw error;
  }
  await withProgress(`logging in to ${address}`, checkLogin(connection, logIn()));
  dialog.say(`Logged in as ${user}${user === "root" ? "" : ", and sudo works"}.`);

  let domain = flags.domain ?? stored("domain");
  let users = flags.users ?? stored("users");
  if (isNew && dialog.interactive) {
    domain ??= await dialog.ask(`${meaningOf("domain", "Enter: none")}:`, parseDomain);
    users ??= await dialog.ask(
      `${meaningOf("users", "names, separated by commas")}:`,
      parseUsers,
      defaults.users?.join(","),
    );
  }

  // A default is only written where the file says so already.
  const unlessDefault = (key: "host.port" | "host.privateKeyFile", value: string | number) =>
    value === defaults[key] && config.get(key) !== asText(value) ? undefined : value;
  const changed = Object.entries({
    "host.address": address,
    "host.user": user,
    "host.port": unlessDefault("host.port", port),
    ...(hostKey === pinned ? {} : { "host.hostKey": hostKey, "host.hostKeyFile": undefined }),
    "host.privateKeyFile": unlessDefault("host.privateKeyFile", keyFile),
    domain: domain || undefined,
    users: users ?? defaults.users,
  } satisfies Partial<Record<SettingName, Value>>).filter(([key, value]) => config.set(key, value));

  if (changed.length > 0) {
    config.write(file);
  }
  return report(basename(file), flags.stack, config, changed, passphrase !== undefined);
}
