import type { EventEmitter } from "node:events";
import { connect, type Socket } from "node:net";
import { Client, type ClientChannel, type ServerHostKeyAlgorithm } from "ssh2";
import {
  explainLoginError,
  loginSeconds,
  noteOffers,
  type Offers,
  pauseBeforeRetry,
  silent,
  unfinished,
} from "./login";

/** How to log in to the host; the fields are those that `remote.Command` of `@pulumi/command` takes. */
export interface Connection {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly privateKey: string;
  readonly privateKeyPassword?: string;
  /** The only host key that is accepted: one authorized_keys line, ed25519 or ecdsa. Empty where none is known yet. */
  readonly hostKey: string;
}

export interface Finished {
  /** Exit code, or -1 when a signal ended the command. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a host is quoted that lets no further command run over a connection that it has taken. */
export const noSession = "the host opened no session";

/** How a command is explained that the host knows nothing of, for the connection was gone. */
export const brokeBefore = "the connection broke before";

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
  const login = await logIn(connection);
  try {
    return await executeOn(login.client, connection, command, stdin, seconds, onOutput);
  } finally {
    disconnect(login);
  }
}

/** A connection of somebody who is logged in. */
export interface Login {
  readonly client: Client;
  readonly socket: Socket;
}

/** Closes a connection, without waiting for a host that may be gone: that would keep the process. */
export function disconnect({ client, socket }: Login): void {
  client.end();
  socket.destroy();
}

/** Logs in; tries again where that may help. */
export function logIn(connection: Connection): Promise<Login> {
  return retry(connection, () => logInOnce(connection));
}

/** Opens a connection, several times where it fails for a reason that passes. */
export async function retry<Opened>(
  { host, port }: Connection,
  open: () => Promise<Opened>,
): Promise<Opened> {
  // Global, for the engine runs this code apart from its module, and all in one process.
  const shared = globalThis as { mlflowVpsKnown?: Record<string, true> };
  shared.mlflowVpsKnown ??= {};
  const known = shared.mlflowVpsKnown;
  const target = `${host} ${port}`;
  for (let attempt = 1; ; attempt++) {
    try {
      const opened = await open();
      known[target] = true;
      return opened;
    } catch (error) {
      const pause = pauseBeforeRetry((error as Error).message, attempt, known[target] === true);
      if (pause === undefined) {
        throw error;
      }
      await new Promise((next) => setTimeout(next, pause));
    }
  }
}

/** Which host key is accepted. */
export interface HostKeyCheck {
  /** The types that the host may present, the best first. */
  readonly types: readonly string[];
  /** @param presented the host's key, 'type base64' */
  readonly verify: (presented: string, answer: (accepted: boolean) => void) => void;
}

function isPinned({ hostKey }: Connection): HostKeyCheck {
  const [type = "", key] = hostKey.trim().split(/\s+/);
  return { types: [type], verify: (presented, answer) => answer(presented === `${type} ${key}`) };
}

/** Logs in, or says why not, without another try. */
export function logInOnce(connection: Connection, check = isPinned(connection)): Promise<Login> {
  return new Promise((resolve, reject) => {
    const client = new Client();
    const socket = connect({ host: connection.host, port: connection.port });
    let acceptedKey: string | undefined;
    let refusedKey: string | undefined;
    let isSshServer = false;
    const offers: Offers = { local: "", remote: "" };
    let banner = "";
    let greeting = "";
    let timer: NodeJS.Timeout | undefined;
    const fail = (cause: string) => {
      clearTimeout(timer);
      disconnect({ client, socket });
      reject(
        plainError(
          explainLoginError(connection, cause, { presentedKey: refusedKey, offers, banner, greeting }),
        ),
      );
    };
    const limitTime = () => {
      timer = setTimeout(() => {
        const missing = isSshServer ? unfinished : silent;
        fail(socket.connecting ? "timed out" : missing);
      }, loginSeconds * 1000);
    };
    client.on("banner", (text) => {
      banner += text;
    });
    client.on("error", (error) => fail(causeOf(error)));
    client.on("connect", () => client.setNoDelay(true));
    client.on("close", () => fail("the host closed the connection"));
    client.on("ready", () => {
      clearTimeout(timer);
      resolve({ client, socket });
    });
    // ssh2 tells what a host says before its version only where a version follows. Paused, for ssh2 reads later.
    const listen = (bytes: Buffer) => {
      greeting += bytes.toString("latin1");
      isSshServer = /^SSH-/m.test(greeting);
      if (isSshServer || greeting.length > 1000) {
        greeting = "";
        socket.off("data", listen);
      }
    };
    socket.pause().on("data", listen);
    limitTime();
    client.connect({
      sock: socket,
      username: connection.user,
      privateKey: connection.privateKey,
      passphrase: connection.privateKeyPassword,
      readyTimeout: 0,
      debug: noteOffers(offers),
      algorithms: { serverHostKey: check.types as ServerHostKeyAlgorithm[] },
      hostVerifier: (key: Buffer, answer: (accepted: boolean) => void) => {
        const type = key.toString("latin1", 4, 4 + key.readUInt32BE(0));
        const presented = `${type} ${key.toString("base64")}`;
        if (acceptedKey !== undefined) {
          answer(presented === acceptedKey); // of an exchange of keys in the middle, as after an hour or a gigabyte
          return;
        }
        // Somebody may have to be asked, and may end the program instead.
        clearTimeout(timer);
        socket.unref();
        check.verify(presented, (accepted) => {
          acceptedKey = accepted ? presented : undefined;
          refusedKey = accepted ? undefined : presented;
          socket.ref();
          limitTime();
          answer(accepted);
        });
      },
    });
  });
}

/** Node's error for a name with several addresses says nothing itself. */
function causeOf(error: Error & { errors?: readonly Error[] }): string {
  return error.message || (error.errors ?? []).map(({ message }) => message).join(", ");
}

/**
 * Runs one command over a connection that may serve others too; see `execute`.
 *
 * @param openSeconds time limit for the host to begin
 */
export function executeOn(
  client: Client,
  connection: Connection,
  command: string,
  stdin: string,
  seconds: number,
  onOutput: (text: string) => void = () => undefined,
  openSeconds = seconds,
): Promise<Finished> {
  const shown = command.split(" #")[0];
  return new Promise((resolve, reject) => {
    const emitter: EventEmitter = client;
    let channel: ClientChannel | undefined;
    let isOver = false;
    let timer: NodeJS.Timeout | undefined;
    // In this order, because the engine stores this code only when each name is known before it is used.
    const listeners: [string, (error?: Error) => void][] = [];
    const settle = (end: () => void) => {
      isOver = true;
      clearTimeout(timer);
      for (const [event, listener] of listeners) {
        emitter.removeListener(event, listener);
      }
      end();
    };
    const fail = (words: string) => settle(() => reject(plainError(`${connection.host}: ${words}`)));
    const broken = (cause: string) =>
      fail(`${channel ? "the connection broke while" : brokeBefore} '${shown}' ran (${cause})`);
    for (const event of ["error", "close"]) {
      const listener = (error?: Error) => broken(error?.message ?? "the host closed the connection");
      listeners.push([event, listener]);
      emitter.on(event, listener);
    }
    timer = setTimeout(() => broken(`no answer in ${openSeconds} s`), openSeconds * 1000);
    const started = (error: Error | undefined, stream: ClientChannel) => {
      if (error) {
        fail(
          `${noSession} for '${shown}' (${error.message}). On the host, 'sshd -T | grep -i maxsessions' must show 1 or ` +
            "more; after a change of /etc/ssh/sshd_config: systemctl reload ssh",
        );
        return;
      }
      if (isOver) {
        stream.close(); // too late, and may run over another connection by now
        return;
      }
      channel = stream;
      clearTimeout(timer);
      timer = setTimeout(() => {
        fail(`'${shown}' timed out after ${seconds} s`);
        stream.destroy();
      }, seconds * 1000);
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
      broken((error as Error).message); // the connection has ended since
    }
  });
}
