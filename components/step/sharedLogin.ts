/** One login for all commands of a process that follow each other closely: a host may allow few in a minute. */
import {
  brokeBefore,
  type Connection,
  disconnect,
  executeOn,
  type Finished,
  type Login,
  logIn,
  noSession,
} from "./ssh";

/** A login that several commands share, and who waits for their turn on it. */
interface SharedLogin {
  readonly opened: Promise<Login>;
  /** A command has run over it: so its host opens the next one's channel at once, or is not there any more. */
  isProven: boolean;
  commands: number;
  /** Commands at once; sshd's default (MaxSessions) is 10. */
  limit: number;
  readonly waiting: (() => void)[];
  /** Will close it, when no command follows. */
  closing?: NodeJS.Timeout;
}

/** So long, in ms, a login is kept for commands that follow. */
const idleTime = 30_000;

/** Time limit for a host to begin with a command, over a login that is proven. */
const openSeconds = 15;

/** Global, for the engine runs this code apart from its module, and all in one process. */
function sharedLogins(): Record<string, SharedLogin> {
  const shared = globalThis as { mlflowVpsConnections?: Record<string, SharedLogin> };
  shared.mlflowVpsConnections ??= {};
  return shared.mlflowVpsConnections;
}

/**
 * Like `execute`, over a login that is shared. It does not show what a command does to later logins, as a firewall's rule may.
 */
export async function executeShared(
  connection: Connection,
  command: string,
  stdin: string,
  seconds: number,
  onOutput?: (text: string) => void,
): Promise<Finished> {
  const key = JSON.stringify(connection);
  for (;;) {
    const login = await takeTurn(key, connection);
    const { isProven } = login;
    try {
      const { client, socket } = await login.opened;
      socket.ref();
      const limit = isProven ? openSeconds : seconds;
      const finished = await executeOn(client, connection, command, stdin, seconds, onOutput, limit);
      login.isProven = true;
      return finished;
    } catch (error) {
      const { message } = error as Error;
      if (login.commands > 1 && message.includes(noSession)) {
        login.limit = login.commands - 1; // this host allows fewer at once: the others have come first
      } else {
        forget(key, login); // where no answer came, another connection may bring one
        // The host was started anew since the last command, or a router has forgotten the connection.
        if (!isProven || !message.includes(brokeBefore)) {
          throw error;
        }
      }
    } finally {
      login.commands -= 1;
      login.waiting.shift()?.();
      if (login.commands === 0 && login.waiting.length === 0) {
        closeLater(key, login);
      }
    }
  }
}

/** Waits until a command may run over a login, which it opens where there is none. */
async function takeTurn(key: string, connection: Connection): Promise<SharedLogin> {
  for (;;) {
    const login = sharedLogins()[key] ?? open(key, connection);
    if (login.commands < login.limit) {
      login.commands += 1;
      clearTimeout(login.closing);
      return login;
    }
    await new Promise<void>((free) => login.waiting.push(free));
    await login.opened; // a login that is refused is not repeated for who waited
  }
}

function open(key: string, connection: Connection): SharedLogin {
  const login = { opened: logIn(connection), isProven: false, commands: 0, limit: 8, waiting: [] };
  sharedLogins()[key] = login;
  const forgetThis = () => forget(key, login);
  login.opened.then(({ client }) => client.on("close", forgetThis), forgetThis);
  return login;
}

/** Has commands take another login, also those that wait for this one. */
function forget(key: string, login: SharedLogin): void {
  const logins = sharedLogins();
  if (logins[key] === login) {
    delete logins[key];
  }
  for (const free of login.waiting.splice(0)) {
    free();
  }
}

/** Closes a login that no command uses, if none does until then; the process may end before. */
function closeLater(key: string, login: SharedLogin): void {
  const time = sharedLogins()[key] === login ? idleTime : 0;
  const close = (opened: Login) => {
    opened.socket.unref();
    login.closing = setTimeout(() => {
      forget(key, login);
      disconnect(opened);
    }, time).unref();
  };
  login.opened.then(
    (opened) => login.commands > 0 || close(opened),
    () => undefined, // the command has thrown why
  );
}
