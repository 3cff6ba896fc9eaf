import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { Client, type ServerHostKeyAlgorithm } from "ssh2";
import { explainLoginError, noteOffers, type Offers } from "../../components/step/login";
import type { Connection } from "../../components/step/ssh";
import type { Dialog } from "../dialog";
import { project } from "../paths";
import { expandPath } from "./settings";
import type { StackFile } from "./stackFile";

const answerSeconds = 20;

/** No RSA: `@pulumi/command` pins by the type 'ssh-rsa', a signature that current servers refuse. */
const hostKeyTypes = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];

/** What `ssh-keygen -l` prints for the key 'type base64'. */
export function fingerprint(hostKey: string): string {
  const key = Buffer.from(hostKey.split(" ")[1] ?? "", "base64");
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

/** @returns the fingerprint in `text`, which may be a line of `ssh-keygen -l` */
function findFingerprint(text: string): string | undefined {
  return /(?:^|\s)(SHA256:[A-Za-z0-9+/]{43})(?![^\s=])/.exec(text)?.[1];
}

/** @throws when there is none in `text` */
export function parseFingerprint(text: string, name: string): string {
  const found = findFingerprint(text);
  if (found === undefined) {
    throw new Error(
      `${name}: must be SHA256: and 43 characters, as 'ssh-keygen -l' prints it (got ${JSON.stringify(text)})`,
    );
  }
  return found;
}

/** 'ed25519', 'ecdsa' or 'rsa', as in the names of sshd's files. */
const typeOf = (hostKey: string) => hostKey.split(/[- ]/)[hostKey.startsWith("ssh-") ? 1 : 0] ?? "";

const describe = (hostKey: string) => `${fingerprint(hostKey)} (${typeOf(hostKey).toUpperCase()})`;

const publicKeyFile = (hostKey: string) => `/etc/ssh/ssh_host_${typeOf(hostKey)}_key.pub`;

export interface Trust {
  /** What the host presents, and what is pinned so far: 'type base64'. */
  readonly presented: string;
  readonly pinned?: string;
  /** The flags. */
  readonly fingerprint?: string;
  readonly yes?: boolean;
  readonly acceptNewHostKey?: boolean;
}

/**
 * Decides whether the presented host key may be pinned without a question.
 *
 * @throws when `fingerprint` is that of another key
 */
export function isTrusted({ presented, pinned, ...flags }: Trust): boolean {
  if (flags.fingerprint !== undefined) {
    if (flags.fingerprint !== fingerprint(presented)) {
      throw new Error(
        `the host presents ${describe(presented)}, but --fingerprint is ${flags.fingerprint}; ` +
          `compare it with ${publicKeyFile(presented)} on the host`,
      );
    }
    return true;
  }
  return (
    presented === pinned || flags.acceptNewHostKey === true || (pinned === undefined && flags.yes === true)
  );
}

/** The host key that the program accepts so far, without a comment after it. */
export function readPinnedKey(config: StackFile): string | undefined {
  const hostKeyFile = config.get("host.hostKeyFile");
  const path = hostKeyFile === undefined ? undefined : expandPath(hostKeyFile, project);
  const line =
    config.get("host.hostKey") ?? (path && existsSync(path) ? readFileSync(path, "utf8") : undefined);
  return line?.trim().split(/\s+/).slice(0, 2).join(" ");
}

/** Where to read the host key; the user is for messages only. */
type Address = Pick<Connection, "host" | "port" | "user">;

/** A host has several keys: the pinned one, if it still has that and no other is expected, else the best. */
export async function findHostKey(address: Address, pinned?: string, expected?: string): Promise<string> {
  const best = await readHostKey(address, hostKeyTypes);
  const pinnedType = pinned?.split(" ")[0] ?? "";
  if (
    !hostKeyTypes.includes(pinnedType) ||
    best.startsWith(`${pinnedType} `) ||
    fingerprint(best) === expected
  ) {
    return best;
  }
  const other = await readHostKey(address, [pinnedType, ...hostKeyTypes]);
  return other === pinned ? other : best;
}

/** Reads the key that the host presents, and nothing more: no login is tried. */
function readHostKey(address: Address, types: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const client = new Client();
    const offers: Offers = { local: "", remote: "" };
    client.on("error", ({ message }) => {
      client.destroy();
      const ownProblem = /no matching host key/i.test(message)
        ? `${address.host} shows neither an ed25519 nor an ecdsa host key (it has: ${offers.remote}). As root there, make one: ` +
          "ssh-keygen -A && systemctl restart ssh; where it is there already, add its type to HostKeyAlgorithms in /etc/ssh/sshd_config"
        : explainLoginError({ ...address, privateKey: "", hostKey: "" }, message, { offers });
      reject(new Error(ownProblem));
    });
    client.connect({
      host: address.host,
      port: address.port,
      username: address.user,
      readyTimeout: answerSeconds * 1000,
      debug: noteOffers(offers),
      algorithms: { serverHostKey: types as ServerHostKeyAlgorithm[] },
      hostVerifier: (key: Buffer) => {
        const type = key.toString("latin1", 4, 4 + key.readUInt32BE(0));
        resolve(`${type} ${key.toString("base64")}`);
        return false;
      },
    });
  });
}

/** @throws when neither a flag nor the person at the terminal says that the presented key is the host's */
export async function confirmHostKey(host: string, trust: Trust, dialog: Dialog): Promise<void> {
  const { presented, pinned } = trust;
  const shown = describe(presented);
  if (isTrusted(trust)) {
    if (presented !== pinned) {
      dialog.say(`Host key: ${shown}${pinned === undefined ? "" : `, was ${describe(pinned)}`}`);
    }
    return;
  }
  dialog.requireTerminal(
    pinned === undefined
      ? `the host key of ${host} is not confirmed: ${shown}. Pass --fingerprint SHA256:… as the provider's console shows it, or --yes to trust it`
      : `${host} presents the host key ${shown}, but ${describe(pinned)} is pinned. If the server was reinstalled, ` +
          "pass --fingerprint with the new fingerprint, or --accept-new-host-key; if not, this may be a man-in-the-middle",
  );
  dialog.say(
    [
      ...(pinned === undefined
        ? [`${host} presents the host key`, `  ${shown}`]
        : [
            `CAUTION: the host key of ${host} does not match the pinned one.`,
            `  old  ${describe(pinned)}`,
            `  new  ${shown}`,
            "If the server was not reinstalled, this may be a man-in-the-middle.",
          ]),
      "Compare it with the key on the server itself. On the provider's console:",
      `  ssh-keygen -lf ${publicKeyFile(presented)}`,
    ].join("\n"),
  );
  const isSame = (text: string) => {
    const pasted = findFingerprint(text);
    if (pasted === undefined && !/^(y|yes|n|no)$/i.test(text)) {
      throw new Error("'yes' or 'no', please.");
    }
    return pasted === undefined ? /^y/i.test(text) : pasted === fingerprint(presented);
  };
  if (!(await dialog.ask("Is it the same? (yes, no, or paste the fingerprint):", isSame))) {
    throw new Error("the host key is not confirmed, nothing was written");
  }
}
