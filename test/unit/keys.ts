/** SSH keys for tests, made anew for each run. */
import { utils } from "ssh2";

type KeyPair = ReturnType<typeof utils.generateKeyPairSync>;

/** One ed25519 key of 200 that ssh2 generates is malformed: a byte is missing where it begins with zero. */
function sound(generate: () => KeyPair, passphrase?: string): KeyPair {
  for (;;) {
    const pair = generate();
    const parsed = [utils.parseKey(pair.private, passphrase), utils.parseKey(pair.public)];
    if (!parsed.some((key) => key instanceof Error)) {
      return pair;
    }
  }
}
const ed25519 = () => sound(() => utils.generateKeyPairSync("ed25519"));

export const hostKey = ed25519();
export const otherHostKey = ed25519();
export const ecdsaHostKey = sound(() => utils.generateKeyPairSync("ecdsa", { bits: 256 }));
export const loginKey = ed25519();
export const otherLoginKey = ed25519();

export const passphrase = "a passphrase of the test";
export const encryptedLoginKey = sound(
  () => utils.generateKeyPairSync("ed25519", { passphrase, cipher: "aes256-ctr", rounds: 4 }),
  passphrase,
);

/** The line without the comment, as it is pinned. */
export const pinned = (publicKey: string) => publicKey.trim().split(/\s+/).slice(0, 2).join(" ");

/** How to log in to a host that nobody asks. */
export const nowhere = {
  host: "127.0.0.1",
  port: 1,
  user: "deploy",
  privateKey: loginKey.private,
  hostKey: pinned(hostKey.public),
};
