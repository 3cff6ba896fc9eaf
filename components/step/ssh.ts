import { Client } from "ssh2";

/** How to log in to the host; the fields are those that `remote.Command` of `@pulumi/command` takes. */
export interface Connection {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly privateKey: string;
  readonly privateKeyPassword?: string;
  /** The only host key that is accepted: one authorized_keys line, ed25519 or ecdsa. */
  readonly hostKey: string;
}

export interface Finished {
  /** Exit code, or -1 when a signal ended the command. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const loginSeconds = 15;
/** How a login is explained that sshd did not take up; such a one is worth another try. */
const turnedAway = "something answers there, but it ends the connection before a login";

/** An error whose message says it all: the engine prints the stack of every other one. */
export function plainError(message: string): Error {
  const error = new Error(message);
  error.stack = "";
  return error;
}

/** Says in plain words why a login failed, and what to do. */
export function explainLoginError(connection: Connection, cause: string, presentedKey?: string): string {
  const target = `${connection.user}@${connection.host} (port ${connection.port})`;
  if (presentedKey !== undefined) {
    return (
      `${target}: the host presents another key than the pinned one (host.hostKey), so nothing was sent to it. ` +
      `It presents: ${presentedKey}. If the server was set up anew, accept the new key with ` +
      `'npm run configure -- ${connection.user}@${connection.host}'; if not, somebody may be in between.`
    );
  }
  if (/authentication methods failed/i.test(cause)) {
    return (
      `${target}: the login was refused. Put the public half of the key (host.privateKeyFile) into ` +
      `~${connection.user}/.ssh/authorized_keys on the host, or set host.user to the right name.`
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
      "host.port, and on the host that sshd runs and has not shut this address out (fail2ban, MaxStartups)."
    );
  }
  if (/no matching host key/i.test(cause)) {
    return (
      `${target}: the host has no key of the pinned type (host.hostKey). If the server was set up anew, accept ` +
      `the new key with 'npm run configure -- ${connection.user}@${connection.host}'.`
    );
  }
  return `${target}: SSH failed: ${cause}. Try 'ssh -p ${connection.port} ${connection.user}@${connection.host}' by hand.`;
}

/**
 * Runs one command on the host with `stdin`, over a connection of its own.
 *
 * @param seconds time limit for the command, after the login
 * @param onOutput gets the standard output as it comes
 * @throws when the host can not be reached or logged in to, or the time limit is over; never because of the exit code
 */
export async function execute(
  connection: Connection,
  command: string,
  stdin: string,
  seconds: number,
  onOutput: (text: string) => void = () => undefined,
): Promise<Finished> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await executeOnce(connection, command, stdin, seconds, onOutput);
    } catch (error) {
      // sshd turns some of more than ten logins at once away (MaxStartups), and a refresh looks at all steps at once.
      if (attempt === 4 || !(error as Error).message.includes(turnedAway)) {
        throw error;
      }
      await new Promise((next) => setTimeout(next, 200 + 400 * Math.random()));
    }
  }
}

function executeOnce(
  connection: Connection,
  command: string,
  stdin: string,
  seconds: number,
  onOutput: (text: string) => void,
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const client = new Client();
    const [keyType = "", pinnedKey = ""] = connection.hostKey.trim().split(/\s+/);
    let presentedKey: string | undefined;
    let timer: NodeJS.Timeout | undefined;
    const end = (finish: () => void) => {
      clearTimeout(timer);
      client.end();
      finish();
    };
    let loggedIn = false;
    const failure = (cause: string) =>
      plainError(
        loggedIn
          ? `${connection.host}: the connection broke while '${command.split(" #")[0]}' ran (${cause})`
          : explainLoginError(connection, cause, presentedKey),
      );
    client.on("error", (error) => end(() => reject(failure(error.message))));
    client.on("connect", () => client.setNoDelay(true));
    client.on("close", () => reject(failure("the host closed the connection")));
    client.on("ready", () => {
      loggedIn = true;
      timer = setTimeout(() => {
        end(() =>
          reject(plainError(`${connection.host}: no end of '${command.split(" #")[0]}' after ${seconds} s`)),
        );
        client.destroy();
      }, seconds * 1000);
      client.exec(command, (error, stream) => {
        if (error) {
          end(() => reject(error));
          return;
        }
        let stdout = "";
        let stderr = "";
        stream.setEncoding("utf8").on("data", (text: string) => {
          stdout += text;
          onOutput(text);
        });
        stream.stderr.setEncoding("utf8").on("data", (text: string) => {
          stderr += text;
        });
        let code = -1;
        stream.on("exit", (exitCode: number | null) => {
          code = exitCode ?? -1;
        });
        stream.on("close", () => end(() => resolve({ code, stdout, stderr })));
        stream.end(stdin);
      });
    });
    client.connect({
      host: connection.host,
      port: connection.port,
      username: connection.user,
      privateKey: connection.privateKey,
      passphrase: connection.privateKeyPassword,
      readyTimeout: loginSeconds * 1000,
      algorithms: { serverHostKey: [keyType as "ssh-ed25519"] },
      hostVerifier: (key: Buffer) => {
        const presented = key.toString("base64");
        if (presented === pinnedKey) {
          return true;
        }
        presentedKey = `${keyType} ${presented}`;
        return false;
      },
    });
  });
}
