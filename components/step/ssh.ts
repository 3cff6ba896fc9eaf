import type { EventEmitter } from "node:events";
import { Client, type ClientChannel } from "ssh2";
import { explainLoginError, noteOffers, type Offers, turnedAway } from "./login";

// States of programs that use the npm package look for them here.
export { explainLoginError, lastWords, noteOffers, type Offers, type Shown } from "./login";

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

/** How a host is quoted that lets no further command run over a connection that it has taken. */
const noSession = "the host opened no session";

/** An error whose message says it all: the engine prints the stack of every other one. */
export function plainError(message: string): Error {
  const error = new Error(message);
  error.stack = "";
  return error;
}

/**
 * Runs one command on the host with `stdin`, over a connection of its own.
 *
 * @param seconds time limit for the command, after the login
 * @param onOutput gets the standard output as it comes
 * @throws when the host cannot be reached or logged in to, or the time limit is over; never because of the exit code
 */
export async function execute(
  connection: Connection,
  command: string,
  stdin: string,
  seconds: number,
  onOutput?: (text: string) => void,
): Promise<Finished> {
  const client = await logIn(connection);
  try {
    return await executeOn(client, connection, command, stdin, seconds, onOutput);
  } finally {
    client.end();
  }
}

/** A connection that several commands share, and who waits for their turn on it. */
interface SharedLogin {
  readonly client: Promise<Client>;
  commands: number;
  /** Will close it, when no command follows. */
  closing?: NodeJS.Timeout;
  /** Commands at once; sshd's default (MaxSessions) is 10. */
  limit: number;
  readonly waiting: (() => void)[];
}

/**
 * Like `execute`, over one connection for all that run at the same time: a host may allow few logins in a minute. It does
 * not show what a command does to later logins, as a firewall's rule may.
 *
 * @param keepFor how long the connection is kept for a command that may follow, in ms; so long it also keeps the process
 */
export async function executeShared(
  connection: Connection,
  command: string,
  stdin: string,
  seconds: number,
  onOutput?: (text: string) => void,
  keepFor = 0,
): Promise<Finished> {
  // Global, for the engine runs this code apart from its module.
  const holder = globalThis as { mlflowVpsLogins?: Record<string, SharedLogin> };
  holder.mlflowVpsLogins ??= {};
  const logins = holder.mlflowVpsLogins;
  const key = JSON.stringify(connection);
  const login = logins[key] ?? { client: logIn(connection), commands: 0, limit: 8, waiting: [] };
  const { client, waiting } = login;
  const forget = () => {
    if (logins[key] === login) {
      delete logins[key];
    }
  };
  if (logins[key] === undefined) {
    logins[key] = login;
    client.then((opened) => opened.on("close", forget), forget);
  }
  for (;;) {
    while (login.commands >= login.limit) {
      await new Promise<void>((free) => waiting.push(free));
    }
    login.commands += 1;
    clearTimeout(login.closing);
    try {
      return await executeOn(await client, connection, command, stdin, seconds, onOutput);
    } catch (error) {
      // This host allows fewer at once: the others have come first.
      if (login.commands === 1 || !(error as Error).message.includes(noSession)) {
        throw error;
      }
      login.limit = login.commands - 1;
    } finally {
      login.commands -= 1;
      waiting.shift()?.();
      if (login.commands === 0 && waiting.length === 0) {
        login.closing = setTimeout(() => {
          forget();
          client.then(
            (opened) => opened.end(),
            () => undefined, // the command has thrown why
          );
        }, keepFor);
      }
    }
  }
}

async function logIn(connection: Connection): Promise<Client> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await logInOnce(connection);
    } catch (error) {
      // sshd turns some of more than ten logins at once away (MaxStartups), and the engine runs several commands at once.
      if (attempt === 4 || !(error as Error).message.includes(turnedAway)) {
        throw error;
      }
      await new Promise((next) => setTimeout(next, 200 + 400 * Math.random()));
    }
  }
}

function logInOnce(connection: Connection): Promise<Client> {
  return new Promise((resolve, reject) => {
    const client = new Client();
    const [keyType = "", pinnedKey = ""] = connection.hostKey.trim().split(/\s+/);
    let presentedKey: string | undefined;
    const offers: Offers = { local: "", remote: "" };
    let banner = "";
    const fail = (cause: string) => {
      client.end();
      reject(plainError(explainLoginError(connection, cause, { presentedKey, offers, banner })));
    };
    client.on("banner", (text) => {
      banner += text;
    });
    client.on("error", (error) => fail(error.message));
    client.on("connect", () => client.setNoDelay(true));
    client.on("close", () => fail("the host closed the connection"));
    client.on("ready", () => resolve(client));
    client.connect({
      host: connection.host,
      port: connection.port,
      username: connection.user,
      privateKey: connection.privateKey,
      passphrase: connection.privateKeyPassword,
      readyTimeout: loginSeconds * 1000,
      debug: noteOffers(offers),
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

function executeOn(
  client: Client,
  connection: Connection,
  command: string,
  stdin: string,
  seconds: number,
  onOutput: (text: string) => void = () => undefined,
): Promise<Finished> {
  const shown = command.split(" #")[0];
  return new Promise((resolve, reject) => {
    const emitter: EventEmitter = client;
    let channel: ClientChannel | undefined;
    let timer: NodeJS.Timeout | undefined;
    // In this order, because the engine stores this code only when each name is known before it is used.
    const listeners: [string, (error?: Error) => void][] = [];
    const settle = (end: () => void) => {
      clearTimeout(timer);
      for (const [event, listener] of listeners) {
        emitter.removeListener(event, listener);
      }
      end();
    };
    const broken = (cause: string) =>
      settle(() =>
        reject(plainError(`${connection.host}: the connection broke while '${shown}' ran (${cause})`)),
      );
    for (const event of ["error", "close"]) {
      const listener = (error?: Error) => broken(error?.message ?? "the host closed the connection");
      listeners.push([event, listener]);
      emitter.on(event, listener);
    }
    timer = setTimeout(() => {
      settle(() => reject(plainError(`${connection.host}: '${shown}' timed out after ${seconds} s`)));
      channel?.destroy();
    }, seconds * 1000);
    const started = (error: Error | undefined, stream: ClientChannel) => {
      if (error) {
        settle(() =>
          reject(plainError(`${connection.host}: ${noSession} for '${shown}' (${error.message})`)),
        );
        return;
      }
      channel = stream;
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
      stream.on("close", () => settle(() => resolve({ code, stdout, stderr })));
      stream.end(stdin);
    };
    try {
      client.exec(command, started);
    } catch (error) {
      broken((error as Error).message); // before this one had its turn
    }
  });
}
