/** A real SSH server in this process, on 127.0.0.1. */
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import {
  type Algorithms,
  type AuthContext,
  type Connection as Client,
  Server,
  type ServerChannel,
  utils,
} from "ssh2";
import type { Connection } from "../../components/step/ssh";
import { hostKey, loginKey, pinned } from "./keys";

export interface SshServer {
  readonly connection: Connection;
  /** Commands that were asked for, with what came on their standard input until then. */
  readonly commands: readonly { readonly command: string; stdin: string }[];
  /** Methods by which somebody tried to log in. */
  readonly logins: readonly string[];
  /** Connections that are open now. */
  readonly open: () => number;
  /** Connections that were ever made. */
  readonly met: () => number;
  readonly close: () => Promise<void>;
}

export interface SshServerOptions {
  /** Private host key. @default the one that the connection pins */
  readonly key?: string;
  /** Public key that may log in. @default that of the connection */
  readonly authorized?: string;
  /** What it says to everybody who logs in. */
  readonly banner?: string;
  /** What it has, in place of all that ssh2 takes for safe. */
  readonly algorithms?: Algorithms;
  /** What a login does in place of asking the keys. */
  readonly login?: (context: AuthContext, socket: Socket) => void;
  /** Commands that may run at the same time over one connection (MaxSessions of sshd). @default any number */
  readonly sessions?: number;
  /** Time until a command may begin, in ms. @default none */
  readonly delay?: number;
  /** What a command does, once its standard input has ended. */
  readonly run?: (
    channel: ServerChannel,
    command: string,
    stdin: string,
    socket: Socket,
    client: Client,
  ) => void;
}

export const exit = (channel: ServerChannel, code: number) => {
  channel.exit(code);
  channel.end();
};

export async function startSshServer(options: SshServerOptions = {}): Promise<SshServer> {
  const {
    key = hostKey.private,
    authorized = loginKey.public,
    sessions = Number.POSITIVE_INFINITY,
    run = (channel) => exit(channel, 0),
  } = options;
  let met = 0;
  const commands: { command: string; stdin: string }[] = [];
  const logins: string[] = [];
  const sockets = new Set<Socket>();
  const allowed = utils.parseKey(authorized);
  if (allowed instanceof Error) {
    throw allowed;
  }

  const server = new Server(
    { hostKeys: [key], algorithms: options.algorithms, banner: options.banner },
    (client) => {
      const socket = [...sockets].at(-1) as Socket;
      client.on("error", () => undefined); // a client that turns away is what some tests are about
      client.on("authentication", (context) => {
        logins.push(context.method);
        if (options.login) {
          options.login(context, socket);
        } else if (
          context.method === "publickey" &&
          context.key.data.equals(allowed.getPublicSSH()) &&
          (context.signature === undefined ||
            (context.blob !== undefined &&
              allowed.verify(context.blob, context.signature, context.hashAlgo) === true))
        ) {
          context.accept();
        } else {
          context.reject(["publickey"]);
        }
      });
      let running = 0;
      client.on("session", (accept, reject) => {
        if (running >= sessions) {
          reject();
          return;
        }
        running += 1;
        const session = accept();
        session.on("close", () => {
          running -= 1;
        });
        session.on("exec", async (acceptCommand, _reject, { command }) => {
          if (options.delay !== undefined) {
            await new Promise((next) => setTimeout(next, options.delay));
          }
          const channel = acceptCommand();
          const seen = { command, stdin: "" };
          commands.push(seen);
          channel.setEncoding("utf8");
          channel.on("data", (text: string) => {
            seen.stdin += text;
          });
          channel.on("end", () => run(channel, command, seen.stdin, socket, client));
        });
      });
    },
  );
  // ssh2 gives the connection no access to its socket, which some tests cut.
  (server as unknown as { _srv: NodeJS.EventEmitter })._srv.prependListener(
    "connection",
    (socket: Socket) => {
      met += 1;
      sockets.add(socket);
      socket.setNoDelay(true); // or each answer waits for an acknowledgement
      socket.on("close", () => sockets.delete(socket));
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    connection: {
      host: "127.0.0.1",
      port: (server.address() as AddressInfo).port,
      user: "deploy",
      privateKey: loginKey.private,
      hostKey: pinned(hostKey.public),
    },
    commands,
    logins,
    open: () => sockets.size,
    met: () => met,
    close: async () => {
      for (const socket of sockets) {
        socket.destroy();
      }
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
}
