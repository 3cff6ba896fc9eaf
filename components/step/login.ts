/** Why a login to the host failed, in plain words. */
import type { Connection } from "./ssh";

/** Time limit for a login, and as much again once the host's key is confirmed. */
export const loginSeconds = 15;

/** Causes where that is over: the connection is there, but no SSH server has answered; it has, but let nobody in. */
export const silent = "no SSH server in time";
export const unfinished = "no login in time";

/** How logins are explained that may succeed a while later. */
const turnedAway = "connection closed before authentication";
const penalized = "sshd refuses this address for a while (PerSourcePenalties)";
const refused = "nothing listens there, or the host limits new connections";

/**
 * How long to wait, in ms, before a login is tried again that failed with this message; nothing where it is of no use.
 *
 * @param attempt how many have failed
 * @param isKnown whether the host has let this process in before: then sshd is there, and something limits new connections
 */
export function pauseBeforeRetry(message: string, attempt: number, isKnown: boolean): number | undefined {
  if (message.includes(penalized)) {
    return attempt < 9 ? 5000 : undefined;
  }
  // sshd turns some of more than ten logins at once away (MaxStartups), and the engine runs several commands at once.
  if (message.includes(turnedAway)) {
    return attempt < 4 ? 200 + 400 * Math.random() : undefined;
  }
  // 'ufw limit' allows fewer than six connections in 30 s, and counts those that it refuses, twice.
  return isKnown && message.includes(refused) && attempt < 3 ? 16_000 : undefined;
}

/** The end of what a host said, as a message quotes it: without what would move the cursor of a terminal. */
export function lastWords(text: string): string {
  const lines = text
    .replaceAll("\r\n", "\n")
    .replace(/[^\P{Cc}\n\t]/gu, "?")
    .trim()
    .split("\n");
  return lines.slice(-5).join("\n").slice(-1000);
}

/** What may keep a host from running the command that it was sent. */
export const otherCommand = "a forced command of the key or of sshd, or a login shell that takes no commands";

/** Why a user does not get root's rights, and what to do; the preflight says the same. */
export function explainSudo(user: string, isInstalled: boolean): string {
  const allow = `echo '${user} ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/${user}`;
  return isInstalled
    ? `${user} may not use sudo without a password; as root: ${allow}`
    : `sudo is not installed, and ${user} is not root; as root: apt-get install -y sudo && ${allow}`;
}

/** The algorithms of one kind that the two sides of a connection have. */
export interface Offers {
  local: string;
  remote: string;
}

/** What the host has shown of itself before the login failed. */
export interface Shown {
  /** Its key, where that is not the pinned one. */
  readonly presentedKey?: string;
  /** What was compared last. */
  readonly offers?: Offers;
  /** What it says to everybody who logs in. */
  readonly banner?: string;
  /** What it says to everybody who connects. */
  readonly greeting?: string;
}

/** Kinds of algorithms, by the words of ssh2; sshd's setting, and one that Pulumi's commands have as well. */
const negotiated = [
  {
    words: /no matching key exchange/i,
    kind: "key exchange",
    setting: "KexAlgorithms",
    one: "curve25519-sha256",
  },
  { words: /no matching \S+ cipher/i, kind: "cipher", setting: "Ciphers", one: "aes256-gcm@openssh.com" },
  { words: /no matching \S+ MAC/i, kind: "MAC", setting: "MACs", one: "hmac-sha2-256-etm@openssh.com" },
] as const;

/** ssh2 tells what the two sides have in its debug output only. */
export function noteOffers(offers: Offers): (line: string) => void {
  return (line) => {
    const [, side, list] = /^Handshake: \((local|remote)\) [^:]+: (.*)$/.exec(line) ?? [];
    if (side !== undefined && list !== undefined) {
      // What is no algorithm but says that an extension is known.
      const names = list.split(",").filter((name) => !/^(ext-info|kex-strict)-/.test(name));
      offers[side as keyof Offers] = names.join(", ") || "nothing";
    }
  };
}

/** Says in plain words why a login failed, and what to do. */
export function explainLoginError(
  connection: Connection,
  cause: string,
  { presentedKey, offers = { local: "", remote: "" }, banner = "", greeting = "" }: Shown = {},
): string {
  const target = `${connection.user}@${connection.host} (port ${connection.port})`;
  if (presentedKey !== undefined) {
    return (
      `${target}: host key does not match the pinned key (host.hostKey), so nothing was sent to the host. ` +
      `It presents: ${presentedKey}. If the server was set up anew, accept the new key with ` +
      `'./mlflow-vps configure ${connection.user}@${connection.host}'; if not, this may be a man-in-the-middle attack.`
    );
  }
  if (/authentication methods failed/i.test(cause)) {
    return (
      `${target}: the login was refused. Put the public half of the key (host.privateKeyFile) into ` +
      `~${connection.user}/.ssh/authorized_keys on the host, or set host.user to the right name.` +
      (banner === "" ? "" : ` The host says: ${lastWords(banner)}`)
    );
  }
  if (/ENOTFOUND|EAI_AGAIN/.test(cause)) {
    return `${target}: the name does not resolve. Check host.address.`;
  }
  if (/ECONNREFUSED/.test(cause)) {
    return (
      `${target}: ${refused} ('ufw limit', fail2ban). Check host.port, and that sshd runs on the host; ` +
      "where there is a limit, wait a minute, or let your address in ahead of it."
    );
  }
  if (/EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|timed out/i.test(cause)) {
    return (
      `${target}: no answer. Check host.address, that the host is on, and that no firewall is in the way ` +
      "or limits new connections. A host that is gone for good: see docs/troubleshooting.md, 'The host is gone, and destroy fails'."
    );
  }
  const words = lastWords(greeting);
  const itSays = words === "" ? "" : ` (it says: ${words})`;
  if (cause === silent) {
    return (
      `${target}: the host takes the connection, but no SSH server answers${itSays}. Check host.address and host.port; ` +
      "where they are right, sshd hangs: restart it, or the host, by the provider's console."
    );
  }
  if (cause === unfinished) {
    return (
      `${target}: sshd answers, but the login was not finished in ${loginSeconds} s. The host is slow, or the network loses ` +
      `large packets: 'ssh -v -p ${connection.port} ${connection.user}@${connection.host} true' shows where it stops.`
    );
  }
  if (/before handshake|closed the connection|ECONNRESET/i.test(cause)) {
    // OpenSSH 9.8 and later.
    return /not allowed at this time/i.test(words)
      ? `${target}: ${penalized}, after failed or abandoned logins. Wait some minutes, or on the host: systemctl restart ssh.`
      : `${target}: ${turnedAway}${itSays}. Check host.address and ` +
          "host.port, and on the host that sshd runs and does not turn this address away (MaxStartups, a ban).";
  }
  if (/no matching host key/i.test(cause)) {
    const offered = offers.remote === "" ? "" : ` (it has: ${offers.remote})`;
    if (connection.hostKey === "") {
      return (
        `${target}: the host shows neither an ed25519 nor an ecdsa host key${offered}. As root there, make one: ` +
        "ssh-keygen -A && systemctl restart ssh; where it is there already, add its type to HostKeyAlgorithms in /etc/ssh/sshd_config"
      );
    }
    return (
      `${target}: the host has no key of the pinned type (host.hostKey)${offered}. If the server was set up anew, accept ` +
      `the new key with './mlflow-vps configure ${connection.user}@${connection.host}'.`
    );
  }
  for (const { words, kind, setting, one } of negotiated) {
    if (words.test(cause)) {
      return (
        `${target}: the host and this program have no ${kind} in common, which 'ssh' by hand may have. ` +
        `The host allows: ${offers.remote}. This program has: ${offers.local}. On the host, add ${one} to ${setting} in ` +
        "/etc/ssh/sshd_config or the file in sshd_config.d that sets it " +
        `('sshd -T | grep -i ${setting}' shows what is in force), then: systemctl reload ssh.`
      );
    }
  }
  return `${target}: SSH failed: ${cause}. Try 'ssh -p ${connection.port} ${connection.user}@${connection.host}' by hand.`;
}
