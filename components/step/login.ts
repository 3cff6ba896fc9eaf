/** Why a login to the host failed, in plain words. */
import type { Connection } from "./ssh";

/** How a login is explained that sshd did not take up; such a one is worth another try. */
export const turnedAway = "connection closed before authentication";

/** The end of what a host said, as a message quotes it: without what would move the cursor of a terminal. */
export function lastWords(text: string): string {
  const lines = text
    .replaceAll("\r\n", "\n")
    .replace(/[^\P{Cc}\n\t]/gu, "?")
    .trim()
    .split("\n");
  return lines.slice(-5).join("\n").slice(-1000);
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
  { presentedKey, offers = { local: "", remote: "" }, banner = "" }: Shown = {},
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
    return `${target}: nothing listens there. Check host.port, and that sshd runs on the host.`;
  }
  if (/EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|timed out/i.test(cause)) {
    return `${target}: no answer. Check host.address, that the host is on, and that no firewall is in the way.`;
  }
  if (/before handshake|closed the connection|ECONNRESET/i.test(cause)) {
    return (
      `${target}: ${turnedAway}. Check host.address and ` +
      "host.port, and on the host that sshd runs and has not banned this address (fail2ban, MaxStartups)."
    );
  }
  if (/no matching host key/i.test(cause)) {
    const offered = offers.remote === "" ? "" : ` (it has: ${offers.remote})`;
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
