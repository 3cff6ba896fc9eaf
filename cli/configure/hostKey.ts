import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { type Connection, type Login, logIn, logInOnce, retry } from "../../components/step/ssh";
import type { Dialog } from "../dialog";
import { project } from "../paths";
import { expandPath } from "./settings";
import type { StackFile } from "./stackFile";

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

/** A host that has shown its key, and waits for whether it is the right one. */
export interface Met {
  /** 'type base64' */
  readonly hostKey: string;
  /** Goes on over the same connection, for a host may shut out who connects and does not log in (PerSourcePenalties). */
  readonly logIn: () => Promise<Login>;
  readonly leave: () => void;
}

/**
 * Connects, and reads the key that the host presents: of the pinned one's type, where it has such and no other key is
 * expected, else the best.
 *
 * @param expected the fingerprint
 */
export function meet(connection: Connection, pinned?: string, expected?: string): Promise<Met> {
  const keepsPinned = pinned !== undefined && [undefined, fingerprint(pinned)].includes(expected);
  const rank = (type: string) => (keepsPinned && pinned.startsWith(`${type} `) ? 0 : 1);
  const types = [...hostKeyTypes].sort((one, other) => rank(one) - rank(other));
  return retry(connection, () => meetOnce(connection, types));
}

function meetOnce(connection: Connection, types: readonly string[]): Promise<Met> {
  return new Promise((resolve, reject) => {
    let isOpen = true;
    const verify = (hostKey: string, answer: (accepted: boolean) => void) =>
      resolve({
        hostKey,
        logIn: () => {
          if (!isOpen) {
            // sshd waits two minutes for a login, and a person may take longer to compare a key.
            return logIn({ ...connection, hostKey });
          }
          answer(true);
          return opened;
        },
        leave: () => isOpen && answer(false),
      });
    const opened = logInOnce(connection, { types, verify });
    opened.catch((error) => {
      isOpen = false;
      reject(error);
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
