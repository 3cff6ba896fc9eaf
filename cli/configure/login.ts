import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { sep } from "node:path";
import { utils } from "ssh2";
import { explainSudo, lastWords, otherCommand } from "../../components/step/login";
import { type Connection, disconnect, executeOn, type Login } from "../../components/step/ssh";
import type { Dialog } from "../dialog";
import { here, project } from "../paths";
import {
  defaults,
  expandPath,
  meaningOf,
  parseSetting,
  parseTarget,
  privateKeyAllowed,
  type Target,
} from "./settings";

const checkSeconds = 20;

const defaultKeyFiles = [defaults["host.privateKeyFile"], "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"].filter(
  (path) => path !== undefined,
);

export async function chooseLogin(
  { address, user }: Partial<Target>,
  dialog: Dialog,
): Promise<Required<Target>> {
  if (address === undefined) {
    dialog.requireTerminal("no server given: pass user@host");
    return chooseLogin(await dialog.ask(`${meaningOf("host.address", "user@host")}:`, parseTarget), dialog);
  }
  if (user === undefined) {
    dialog.requireTerminal(`no login name given: pass user@${address}`);
    const parseUser = (text: string) => parseSetting("host.user", text, "login name");
    return {
      address,
      user: await dialog.ask(`${meaningOf("host.user", `on ${address}`)}:`, parseUser, "root"),
    };
  }
  return { address, user };
}

/** `~/` stays readable, and right on a colleague's machine. */
const shorten = (path: string) =>
  path.startsWith(homedir() + sep) ? `~${path.slice(homedir().length)}` : path;

const isSameFile = (one: string | undefined, other: string | undefined) =>
  one !== undefined && other !== undefined && expandPath(one, project) === expandPath(other, project);

/** The file that the flag names, that the config names, that is usually there, or that is answered: as the config has it. */
export async function chooseKeyFile(
  given: string | undefined,
  stored: string | undefined,
  dialog: Dialog,
): Promise<string> {
  const flag = given === undefined ? undefined : shorten(expandPath(given, here));
  const found =
    (isSameFile(flag, stored) ? stored : (flag ?? stored)) ??
    defaultKeyFiles.find((path) => existsSync(expandPath(path, project)));
  if (found !== undefined) {
    return found;
  }
  dialog.requireTerminal(`found none of ${defaultKeyFiles.join(", ")}: pass --key FILE`);
  return dialog.ask(`${meaningOf("host.privateKey", "file")}:`, (text) => {
    const path = expandPath(text, here);
    if (text === "" || !existsSync(path)) {
      throw new Error("No such file. 'ssh-keygen -t ed25519' creates a key.");
    }
    return shorten(path);
  });
}

interface PrivateKey {
  readonly text: string;
  readonly passphrase?: string;
}

/** @param file as the config has it */
export async function readPrivateKey(file: string, dialog: Dialog): Promise<PrivateKey> {
  let text: string;
  try {
    text = readFileSync(expandPath(file, project), "utf8");
  } catch (error) {
    throw new Error(`${file}: cannot be read (${(error as Error).message})`);
  }
  const bare = utils.parseKey(text);
  if (!(bare instanceof Error)) {
    if (!bare.isPrivateKey()) {
      throw new Error(`${file}: is a public key; give the private one, which is the file without '.pub'`);
    }
    return { text };
  }
  if (text.startsWith("PuTTY") || !/encrypted|passphrase/i.test(bare.message)) {
    throw new Error(`${file}: is not ${privateKeyAllowed}`);
  }
  return { text, passphrase: await findPassphrase(file, text, dialog) };
}

async function findPassphrase(file: string, key: string, dialog: Dialog): Promise<string> {
  const given = process.env.MLFLOW_VPS_KEY_PASSPHRASE;
  const opens = (passphrase: string) => !(utils.parseKey(key, passphrase) instanceof Error);
  if (given && opens(given)) {
    return given;
  }
  dialog.requireTerminal(
    `${file}: the key has a passphrase, ${given ? "which is not the one in MLFLOW_VPS_KEY_PASSPHRASE" : "set MLFLOW_VPS_KEY_PASSPHRASE"}`,
  );
  return dialog.askSecret(`Passphrase of ${file} (to check the login, it is not stored):`, (passphrase) => {
    if (!opens(passphrase)) {
      throw new Error("Wrong passphrase.");
    }
  });
}

/** @throws when the user may not log in, or not become root on the host, with the way out */
export async function checkLogin(connection: Connection, login: Promise<Login>): Promise<void> {
  const { user } = connection;
  const isRoot = user === "root";
  // Its output tells it from a forced command, which may well succeed.
  const said = "mlflow-vps may run commands";
  const opened = await login;
  const command = `${isRoot ? "" : "sudo -n "}echo '${said}'`;
  const done = await executeOn(opened.client, connection, command, "", checkSeconds).finally(() =>
    disconnect(opened),
  );
  if (done.code === 0 && done.stdout.includes(said)) {
    return;
  }
  const reason = (lastWords(`${done.stdout}\n${done.stderr}`) || `exit code ${done.code}`).replace(
    /\s+/g,
    " ",
  );
  if (isRoot || !/sudo/.test(reason)) {
    throw new Error(`${user} may log in, but not run commands: ${reason} (${otherCommand})`);
  }
  const isInstalled = done.code !== 127;
  throw new Error(explainSudo(user, isInstalled) + (isInstalled ? ` (sudo says: ${reason})` : ""));
}
