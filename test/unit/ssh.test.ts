import { execFile } from "node:child_process";
import dns from "node:dns";
import { once } from "node:events";
import { createRequire } from "node:module";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Algorithms, Client, type ServerChannel } from "ssh2";
import { afterEach, describe, expect, test, vi } from "vitest";
import { explainLoginError } from "../../components/step/login";
import { executeShared } from "../../components/step/sharedLogin";
import { disconnect, execute, executeOn, logIn } from "../../components/step/ssh";
import {
  ecdsaHostKey,
  encryptedLoginKey,
  hostKey,
  loginKey,
  otherHostKey,
  otherLoginKey,
  passphrase,
  pinned,
} from "./keys";
import { exit, type SshServer, type SshServerOptions, startSshServer } from "./sshServer";

const servers: SshServer[] = [];
async function start(options?: SshServerOptions): Promise<SshServer> {
  const server = await startSshServer(options);
  servers.push(server);
  return server;
}
afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

/** The message with which a promise is refused. */
async function refusal(promise: Promise<unknown>): Promise<string> {
  const outcome = await promise.then(
    () => "it went well",
    (error: Error) => error,
  );
  if (typeof outcome === "string") {
    throw new Error(outcome);
  }
  return outcome.message;
}

/** Has timers of one length be over sooner. */
function hasten(time: number, sooner: number): void {
  const later = setTimeout;
  vi.spyOn(globalThis, "setTimeout").mockImplementation(((action: () => void, after?: number) =>
    later(action, after === time ? sooner : after)) as typeof setTimeout);
}

/** What a program prints that begins with these lines: once it has ended by itself. */
async function outputOf(lines: string): Promise<string> {
  const program = `
    const { execute, logIn } = require("./components/step/ssh.ts");
    const { executeShared } = require("./components/step/sharedLogin.ts");
    const { checkLogin } = require("./cli/configure/login.ts");
    const later = setTimeout;
    const hasten = (time) => {
      setTimeout = (action, after) => later(action, after === time ? 1000 : after);
    };
    const tell = (promise) => promise.then(({ code }) => console.log(code), ({ message }) => console.log(message));
    ${lines}`;
  const { stdout } = await promisify(execFile)("node", ["--import", "tsx", "--eval", program], {
    cwd: join(__dirname, "../.."),
    timeout: 12_000,
  });
  return stdout;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise((done) => setTimeout(done, 5));
  }
}

describe("a command on the host", () => {
  test("gets its standard input to the last byte, and gives back output and exit code", async () => {
    const server = await start({
      run: (channel, _, stdin) => {
        channel.write(`got ${Buffer.byteLength(stdin)}\n`);
        channel.stderr.write("and an error\n");
        exit(channel, 3);
      },
    });
    const stdin = `${"ä\n".repeat(200_000)}end`;
    expect(await execute(server.connection, "sudo -n bash -s apply # step", stdin, 10)).toEqual({
      code: 3,
      stdout: `got ${Buffer.byteLength(stdin)}\n`,
      stderr: "and an error\n",
    });
    expect(server.commands).toEqual([{ command: "sudo -n bash -s apply # step", stdin }]);
  });

  test("may write more than a window, in characters of several bytes", async () => {
    const line = `${"漢".repeat(1000)}\n`;
    const server = await start({
      run: (channel) => {
        channel.stderr.write("e".repeat(1000));
        for (let count = 0; count < 1000; count += 1) {
          channel.write(line);
        }
        exit(channel, 0);
      },
    });
    const finished = await execute(server.connection, "true", "", 20);
    expect(finished.stdout === line.repeat(1000)).toBe(true);
    expect(finished.stderr).toBe("e".repeat(1000));
  });

  test("shows its output as it comes, not at the end", async () => {
    let goOn = () => {};
    const server = await start({
      run: (channel) => {
        channel.write("first\n");
        goOn = () => {
          channel.write("second\n");
          exit(channel, 0);
        };
      },
    });
    const shown: string[] = [];
    await execute(server.connection, "true", "", 10, (text) => {
      shown.push(text);
      goOn(); // the second line comes only when the first was seen
      goOn = () => {};
    });
    expect(shown.join("")).toBe("first\nsecond\n");
  });

  test("that a signal ended has the exit code -1", async () => {
    const server = await start({
      run: (channel) => {
        channel.exit("KILL");
        channel.end();
      },
    });
    expect(await execute(server.connection, "true", "", 10)).toMatchObject({ code: -1 });
  });

  test("that does not end in time is given up, and its connection closed", async () => {
    const server = await start({ run: () => undefined });
    const begun = Date.now();
    expect(await refusal(execute(server.connection, "bash -s check # step {}", "", 0.1))).toBe(
      "127.0.0.1: 'bash -s check' timed out after 0.1 s",
    );
    expect(Date.now() - begun).toBeLessThan(5000);
    await until(() => server.open() === 0);
  });

  test("that does not begin in time gets nothing to do later", async () => {
    const server = await start({ delay: 200 });
    const login = await logIn(server.connection);
    expect(
      await refusal(executeOn(login.client, server.connection, "work", "script", 10, undefined, 0.1)),
    ).toBe("127.0.0.1: the connection broke before 'work' ran (no answer in 0.1 s)");
    await until(() => server.commands.length > 0);
    await new Promise((done) => setTimeout(done, 50));
    expect(server.commands).toEqual([{ command: "work", stdin: "" }]);
    disconnect(login);
  });

  test("leaves no connection open", async () => {
    const server = await start();
    await execute(server.connection, "true", "", 10);
    await until(() => server.open() === 0);
  });

  test.each([
    'tell(execute(connection, "slow # step", "", 1));',
    'tell(executeShared(connection, "slow # step", "", 1));',
    "hasten(20_000); tell(checkLogin(connection, logIn(connection)));",
  ])("does not keep its program where the host is gone: %s", async (lines) => {
    const server = await start({ run: (_channel, _command, _stdin, socket) => void socket.pause() });
    const program = `const connection = ${JSON.stringify(server.connection)}; ${lines}`;
    expect(await outputOf(program)).toMatch(/^127\.0\.0\.1: '.*' timed out after \d+ s\n$/);
  });

  test("goes on when the host asks for new keys, however long it takes then", async () => {
    let renewed = false;
    const server = await start({
      run: (channel, _command, _stdin, _socket, client) =>
        client.rekey(() => {
          renewed = true;
          setTimeout(() => exit(channel, 0), 500);
        }),
    });
    const login = await logIn(server.connection);
    hasten(15_000, 50);
    expect(await executeOn(login.client, server.connection, "true", "", 10)).toMatchObject({ code: 0 });
    expect(renewed).toBe(true);
    disconnect(login);
  });

  test("is never taken for done when the connection breaks", async () => {
    const server = await start({
      run: (channel, _command, _stdin, socket) => {
        channel.write("half of");
        setTimeout(() => socket.destroy(), 20);
      },
    });
    const outcome = await execute(server.connection, "true", "", 10).then(
      ({ code }) => code,
      () => "refused",
    );
    expect(outcome).not.toBe(0);
  });
});

describe("commands at the same time", () => {
  const steps = Array.from({ length: 20 }, (_, index) => `step ${index}`);
  const runAll = (server: SshServer) =>
    Promise.all(steps.map((step) => executeShared(server.connection, step, `stdin of ${step}`, 10)));
  /** Ends a command only when others are there as well, as far as the host lets them be. */
  const together = (number: number) => {
    const channels: ServerChannel[] = [];
    let most = 0;
    const run = (channel: ServerChannel, command: string) => {
      channels.push(channel);
      most = Math.max(most, channels.length);
      channel.write(`output of ${command}`);
      const last = () =>
        channels.length > 0 && setTimeout(() => exit(channels.shift() as ServerChannel, 0), 5);
      if (channels.length === number) {
        last();
      } else {
        setTimeout(last, 100);
      }
    };
    return { run, most: () => most };
  };

  test("share one connection", async () => {
    const { run, most } = together(8);
    const server = await start({ run });
    const all = await runAll(server);
    expect(all.map(({ stdout }) => stdout)).toEqual(steps.map((step) => `output of ${step}`));
    expect([server.met(), most()]).toEqual([1, 8]);
    expect(server.commands.map(({ command, stdin }) => stdin === `stdin of ${command}`)).not.toContain(false);
  });

  test("wait for each other on a host that allows fewer over one connection", async () => {
    const { run, most } = together(2);
    const server = await start({ run, sessions: 2 });
    expect((await runAll(server)).map(({ code }) => code)).toEqual(steps.map(() => 0));
    expect([server.met(), most(), server.commands.length]).toEqual([1, 2, 20]);
  });

  test.each([1, 8])("leave the connection to those that wait, %i at a time", async (sessions) => {
    const server = await start({ sessions, run: (channel) => setTimeout(() => exit(channel, 0), 5) });
    expect((await runAll(server)).map(({ code }) => code)).toEqual(steps.map(() => 0));
    expect(server.met()).toBe(1);
  });

  test("are refused with the true cause on a host that allows none", async () => {
    const server = await start({ sessions: 0 });
    expect(await refusal(executeShared(server.connection, "work # step", "", 10))).toMatch(
      /^127\.0\.0\.1: the host opened no session for 'work' \(.*open failure.*\)\. On the host, 'sshd -T \| grep -i maxsessions' must/,
    );
    await until(() => server.open() === 0);
  });

  test("end when the connection breaks, and those that come later, or wait, have a new one", async () => {
    let broken = false;
    const server = await start({
      run: (channel, _command, _stdin, socket) => {
        if (broken) {
          exit(channel, 0);
          return;
        }
        setTimeout(() => {
          broken = true;
          socket.destroy();
        }, 50);
      },
    });
    const outcomes = await Promise.allSettled(
      steps.map((step) => executeShared(server.connection, step, "", 10)),
    );
    for (const outcome of outcomes.slice(0, 8)) {
      expect(outcome).toMatchObject({
        reason: { message: expect.stringContaining("the connection broke while") },
      });
    }
    expect(outcomes.slice(8)).toEqual(
      Array(12).fill({ status: "fulfilled", value: expect.objectContaining({ code: 0 }) }),
    );
    expect((await executeShared(server.connection, "true", "", 10)).code).toBe(0);
    expect([server.met(), server.commands.length]).toEqual([2, 21]);
  });

  test("have a new connection, all of them one, where the host has left the last one without a word", async () => {
    const server = await start({
      run: (channel, _command, _stdin, socket) => {
        exit(channel, 0);
        setTimeout(() => server.met() > 1 || socket.pause(), 20);
      },
    });
    await executeShared(server.connection, "true", "", 10);
    await new Promise((done) => setTimeout(done, 50));
    hasten(15_000, 1000);
    const begun = Date.now();
    expect((await runAll(server)).map(({ code }) => code)).toEqual(steps.map(() => 0));
    expect(Date.now() - begun).toBeLessThan(5000);
    expect([server.met(), server.commands.length]).toEqual([2, 21]);
  });

  test("have one more connection, no third, where the last one has just ended", async () => {
    const server = await start();
    await executeShared(server.connection, "true", "", 10);
    const exec = vi.spyOn(Client.prototype, "exec").mockImplementation(() => {
      throw new Error("Not connected");
    });
    expect(await refusal(executeShared(server.connection, "work # step", "", 10))).toBe(
      "127.0.0.1: the connection broke before 'work' ran (Not connected)",
    );
    expect([exec.mock.calls.length, server.met()]).toEqual([2, 2]);
    exec.mockRestore();
    await executeShared(server.connection, "true", "", 10);
    vi.spyOn(Client.prototype, "exec").mockImplementationOnce(() => {
      throw new Error("Not connected");
    });
    expect((await executeShared(server.connection, "true", "", 10)).code).toBe(0);
    expect([server.met(), server.commands.length]).toEqual([4, 3]);
  });

  test("are all refused when the login is, and the next ones try again", async () => {
    let refused = true;
    const server = await start({ login: (context) => (refused ? context.reject() : context.accept()) });
    const outcomes = await Promise.allSettled(
      steps.map((step) => executeShared(server.connection, step, "", 10)),
    );
    expect(new Set(outcomes.map((each) => each.status === "rejected" && each.reason.message)).size).toBe(1);
    expect(server.met()).toBe(1);
    refused = false;
    expect((await executeShared(server.connection, "true", "", 10)).code).toBe(0);
  });

  test("leave the connection to those that follow within half a minute, then it is closed", async () => {
    hasten(30_000, 200);
    const server = await start();
    for (const step of steps) {
      await executeShared(server.connection, step, "", 10);
    }
    expect([server.met(), server.open()]).toEqual([1, 1]);
    await until(() => server.open() === 0);
    await executeShared(server.connection, "true", "", 10);
    expect(server.met()).toBe(2);
  });

  test.each(["host", "user", "privateKey", "hostKey"] as const)(
    "share no connection with those of another %s",
    async (key) => {
      const server = await start({ login: (context) => context.accept() });
      const other = {
        ...server.connection,
        ...{ host: "localhost", user: "root", privateKey: otherLoginKey.private },
        hostKey: `${server.connection.hostKey} root@vps`,
      };
      await executeShared(server.connection, "true", "", 10);
      await executeShared({ ...server.connection, [key]: other[key] }, "true", "", 10);
      expect([server.met(), server.open()]).toEqual([2, 2]);
    },
  );

  test("have another connection after one that did not answer in time", async () => {
    const server = await start({
      run: (channel, command) => void (command === "slow" || exit(channel, 0)),
    });
    expect(await refusal(executeShared(server.connection, "slow", "", 0.1))).toContain("timed out");
    await until(() => server.open() === 0);
    await executeShared(server.connection, "true", "", 10);
    expect(server.met()).toBe(2);
  });

  test.each([true, false])(
    "do not keep their program, whether the login was taken or not: %s",
    async (taken) => {
      const server = await start({ authorized: (taken ? loginKey : otherLoginKey).public });
      const stdout = await outputOf(
        `tell(executeShared(${JSON.stringify(server.connection)}, "true", "", 10));`,
      );
      expect(stdout).toContain(taken ? "0\n" : "the login was refused");
      await until(() => server.open() === 0);
    },
  );

  test("have a time limit each, which ends no other", async () => {
    const server = await start({
      run: (channel, command) => void (command === "slow" || setTimeout(() => exit(channel, 0), 300)),
    });
    const other = executeShared(server.connection, "other", "", 10);
    expect(await refusal(executeShared(server.connection, "slow", "", 0.1))).toContain(
      "'slow' timed out after 0.1 s",
    );
    expect((await other).code).toBe(0);
    await until(() => server.open() === 0);
  });
});

describe("the host's key", () => {
  test("is the pinned one, or nothing is sent: no login, no command, no input", async () => {
    const server = await start({ key: otherHostKey.private });
    const message = await refusal(execute(server.connection, "bash -s apply", "a secret", 10));
    expect(message).toContain("host key does not match the pinned key");
    expect(message).toContain(`It presents: ${pinned(otherHostKey.public)}.`);
    expect(message).toContain("./mlflow-vps configure deploy@127.0.0.1");
    expect(server.logins).toEqual([]);
    expect(server.commands).toEqual([]);
  });

  test("may be an ecdsa key", async () => {
    const server = await start({ key: ecdsaHostKey.private });
    const connection = { ...server.connection, hostKey: pinned(ecdsaHostKey.public) };
    expect(await execute(connection, "true", "", 10)).toMatchObject({ code: 0 });
  });

  test("may be pinned with a comment", async () => {
    const server = await start();
    const connection = { ...server.connection, hostKey: `${pinned(hostKey.public)} root@vps\n` };
    expect(await execute(connection, "true", "", 10)).toMatchObject({ code: 0 });
  });

  test("of another type than the pinned one is refused too, and the message says what to do", async () => {
    const server = await start({ key: ecdsaHostKey.private });
    const message = await refusal(execute(server.connection, "bash -s apply", "a secret", 10));
    expect(message).toContain(
      "the host has no key of the pinned type (host.hostKey) (it has: ecdsa-sha2-nistp256)",
    );
    expect(message).toContain("./mlflow-vps configure deploy@127.0.0.1");
    expect(server.logins).toEqual([]);
  });
});

describe("a host that has other algorithms", () => {
  test.each([
    ["key exchange", { kex: ["diffie-hellman-group14-sha1"] }, "KexAlgorithms", "curve25519-sha256"],
    ["cipher", { cipher: ["aes256-cbc"] }, "Ciphers", "aes256-gcm@openssh.com"],
    ["MAC", { cipher: ["aes128-ctr"], hmac: ["hmac-md5"] }, "MACs", "hmac-sha2-256-etm@openssh.com"],
  ] as [string, Algorithms, string, string][])(
    "is refused with what it has, what we have, and what to add: %s",
    async (kind, algorithms, setting, one) => {
      const server = await start({ algorithms });
      const message = await refusal(execute(server.connection, "true", "", 10));
      const [only] = Object.values(algorithms).at(-1) as string[];
      expect(message).toContain(`the host and this program have no ${kind} in common`);
      expect(message).toContain(`The host allows: ${only}. This program has: `);
      expect(/This program has: (.*?)\. On the host/.exec(message)?.[1]?.split(", ")).toContain(one);
      expect(message).toContain(`On the host, add ${one} to ${setting} in /etc/ssh/sshd_config`);
    },
  );

  test("may have any one that is safe and that ssh2 knows", async () => {
    const { DEFAULT_KEX, DEFAULT_CIPHER, DEFAULT_MAC } = createRequire(__filename)(
      "ssh2/lib/protocol/constants.js",
    );
    expect(DEFAULT_KEX).toEqual(
      expect.arrayContaining(["curve25519-sha256", "diffie-hellman-group18-sha512"]),
    );
    expect(DEFAULT_CIPHER).toEqual(
      expect.arrayContaining(["chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com"]),
    );
    for (const algorithms of [
      ...DEFAULT_KEX.map((kex: string) => ({ kex: [kex] })),
      ...DEFAULT_CIPHER.map((cipher: string) => ({ cipher: [cipher] })),
      ...DEFAULT_MAC.map((hmac: string) => ({ cipher: ["aes256-ctr"], hmac: [hmac] })),
    ]) {
      // ssh2's own server lacks the primes for this one.
      if (!algorithms.kex?.[0]?.includes("group-exchange")) {
        const server = await start({ algorithms });
        expect(await execute(server.connection, "true", "", 10)).toMatchObject({ code: 0 });
      }
    }
  });
});

describe("the login", () => {
  /** In front of a server: ends the first connections with these words as sshd does, then passes on. */
  async function turningAway(
    connection: SshServer["connection"],
    times: number,
    words = "Exceeded MaxStartups\r\n",
  ) {
    let met = 0;
    const front = createServer((socket) => {
      met += 1;
      if (met <= times) {
        socket.end(words);
        return;
      }
      const onward = connect(connection.port, connection.host);
      for (const end of [socket, onward]) {
        end.on("error", () => undefined);
      }
      socket.pipe(onward).pipe(socket);
    }).listen(0, "127.0.0.1");
    await once(front, "listening");
    const { port } = front.address() as AddressInfo;
    return { connection: { ...connection, port }, met: () => met, close: () => front.close() };
  }

  test("that was turned away is tried again, a few times", async () => {
    const server = await start();
    const front = await turningAway(server.connection, 2);
    expect((await execute(front.connection, "true", "", 10)).code).toBe(0);
    expect([front.met(), server.commands.length]).toEqual([3, 1]);
    front.close();
    const closed = await turningAway(server.connection, 99);
    expect(await refusal(execute(closed.connection, "true", "", 10))).toContain(
      "connection closed before authentication (it says: Exceeded MaxStartups)",
    );
    expect([closed.met(), server.commands.length]).toEqual([4, 1]);
    closed.close();
  });

  /** The pauses between tries, which then are none. */
  function skippingPauses(): number[] {
    const pauses: number[] = [];
    const later = setTimeout;
    vi.spyOn(globalThis, "setTimeout").mockImplementation(((action: () => void, time = 0) => {
      const isPause = [5000, 16_000].includes(time);
      pauses.push(...(isPause ? [time] : []));
      return later(action, isPause ? 0 : time);
    }) as typeof setTimeout);
    return pauses;
  }

  test("that sshd refuses for a while is tried again for 40 seconds, and the message says why", async () => {
    const pauses = skippingPauses();
    const server = await start();
    const words = "Not allowed at this time\r\n";
    const front = await turningAway(server.connection, 6, words);
    expect((await execute(front.connection, "true", "", 10)).code).toBe(0);
    expect(pauses).toEqual(Array(6).fill(5000));
    front.close();
    pauses.length = 0;
    const closed = await turningAway(server.connection, 99, words);
    expect(await refusal(execute(closed.connection, "true", "", 10))).toMatch(
      /: sshd refuses this address for a while \(PerSourcePenalties\), .* systemctl restart ssh\.$/,
    );
    expect(pauses).toEqual(Array(8).fill(5000));
    closed.close();
  });

  test("that is refused by a host that has let this program in is tried again after pauses, else not", async () => {
    const pauses = skippingPauses();
    const server = await start();
    await executeShared(server.connection, "true", "", 10);
    await server.close();
    const limited = "nothing listens there, or the host limits new connections ('ufw limit', fail2ban).";
    expect(await refusal(execute(server.connection, "true", "", 10))).toContain(limited);
    expect(pauses).toEqual([16_000, 16_000]);
    pauses.length = 0;
    const other = await start();
    await other.close();
    expect(await refusal(execute(other.connection, "true", "", 10))).toContain(limited);
    expect(pauses).toEqual([]);
  });

  test("to a name with several addresses, none of which answers, says why", async () => {
    const server = await start();
    await server.close();
    vi.spyOn(dns, "lookup").mockImplementation(((
      _name: string,
      _options: object,
      found: (error: null, all: object[]) => void,
    ) =>
      found(null, [
        { address: "127.0.0.1", family: 4 },
        { address: "127.0.0.2", family: 4 },
      ])) as unknown as typeof dns.lookup);
    expect(await refusal(execute({ ...server.connection, host: "vps.test" }, "true", "", 10))).toContain(
      "nothing listens there",
    );
  });

  test("is not repeated for a command whose connection broke", async () => {
    const server = await start({ run: (_channel, _command, _stdin, socket) => void socket.destroy() });
    expect(await refusal(execute(server.connection, "work # step", "", 10))).toMatch(
      /the connection broke while 'work' ran/,
    );
    expect(server.commands).toHaveLength(1);
  });

  test("with a key that the host does not know is refused with what to do", async () => {
    const server = await start({ authorized: otherLoginKey.public });
    const message = await refusal(execute(server.connection, "true", "a secret", 10));
    expect(message).toBe(
      `deploy@127.0.0.1 (port ${server.connection.port}): the login was refused. Put the public half of the key ` +
        "(host.privateKeyFile) into ~deploy/.ssh/authorized_keys on the host, or set host.user to the right name.",
    );
    expect(server.commands).toEqual([]);
  });

  test("that is refused shows the host's banner", async () => {
    const server = await start({
      authorized: otherLoginKey.public,
      banner: "Log in as the user debian.\r\n\u001b[31mRoot is closed.\r\n",
    });
    expect(await refusal(execute(server.connection, "true", "", 10))).toMatch(
      /or set host\.user to the right name\. The host says: Log in as the user debian\.\n\?\[31mRoot is closed\.$/,
    );
  });

  test("with a key that has a passphrase uses it", async () => {
    const server = await start({ authorized: encryptedLoginKey.public });
    const connection = {
      ...server.connection,
      privateKey: encryptedLoginKey.private,
      privateKeyPassword: passphrase,
    };
    expect(await execute(connection, "true", "", 10)).toMatchObject({ code: 0 });
  });

  test("to a port where nothing listens says so", async () => {
    const server = await start();
    await server.close();
    expect(await refusal(execute(server.connection, "true", "", 10))).toContain(
      "nothing listens there, or the host limits new connections",
    );
  });

  test("to something that is not an SSH server is refused, with its words", async () => {
    const web = createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    await new Promise<void>((done) => web.listen(0, "127.0.0.1", () => done()));
    const { port } = web.address() as { port: number };
    const { connection } = await start();
    expect(await refusal(execute({ ...connection, port }, "true", "", 10))).toMatch(
      /connection closed before authentication \(it says: HTTP\/1\.1 400 Bad Request\)\. Check host\.address and host\.port/,
    );
    web.close();
  });

  test.each([
    ["", "no SSH server answers. Check host.address and host.port"],
    ["Please wait\r\n", "no SSH server answers (it says: Please wait). Check host.address and host.port"],
    ["SSH-2.0-OpenSSH_9.2\r\n", "sshd answers, but the login was not finished in 15 s."],
  ])("to a host that says '%s' and no more is given up, and its program ends", async (words, message) => {
    const silent = createServer({ allowHalfOpen: true }, (socket) => socket.write(words)).listen(
      0,
      "127.0.0.1",
    );
    await once(silent, "listening");
    const { connection } = await start();
    const login = { ...connection, port: (silent.address() as AddressInfo).port };
    expect(
      await outputOf(`hasten(15_000); tell(execute(${JSON.stringify(login)}, "true", "", 10));`),
    ).toContain(message);
    silent.close();
  });

  test("that the host cuts off is refused at once, not waited for without end", async () => {
    // As fail2ban, or sshd when too many are logging in: the connection closes without a word.
    const server = await start({ login: (_, socket) => socket.destroy() });
    const given = new Promise<string>((done) => setTimeout(() => done("still waiting"), 5000));
    expect(await Promise.race([refusal(execute(server.connection, "true", "", 1)), given])).toContain(
      `deploy@127.0.0.1 (port ${server.connection.port})`,
    );
  });
});

describe("the reason why a login failed", () => {
  const connection = {
    host: "vps.example.org",
    port: 2222,
    user: "deploy",
    privateKey: "PRIVATE",
    hostKey: "ssh-ed25519 PINNED",
  };
  const target = "deploy@vps.example.org (port 2222): ";

  test.each([
    ["All configured authentication methods failed", "the login was refused."],
    ["getaddrinfo ENOTFOUND vps.example.org", "the name does not resolve. Check host.address."],
    ["getaddrinfo EAI_AGAIN vps.example.org", "the name does not resolve. Check host.address."],
    ["connect ECONNREFUSED 192.0.2.10:22", "nothing listens there, or the host limits new connections"],
    ["connect EHOSTUNREACH 192.0.2.10:22", "no answer. Check host.address"],
    ["connect ENETUNREACH 192.0.2.10:22", "no answer. Check host.address"],
    ["connect ETIMEDOUT 192.0.2.10:22", "no answer. Check host.address"],
    ["timed out", "no answer. Check host.address"],
    [
      "Handshake failed: no matching host key format",
      "the host has no key of the pinned type (host.hostKey).",
    ],
    ["something else", "SSH failed: something else"],
  ])("'%s' is put into plain words", (cause, words) => {
    const message = explainLoginError(connection, cause);
    expect(message.startsWith(target + words)).toBe(true);
    expect(message).not.toContain("PRIVATE");
  });

  test("another host key goes before every other cause", () => {
    const presented = pinned(otherHostKey.public);
    for (const cause of ["Host denied (verification failed)", "connect ETIMEDOUT 192.0.2.10:22"]) {
      const message = explainLoginError({ ...connection, hostKey: pinned(hostKey.public) }, cause, {
        presentedKey: presented,
      });
      expect(message).toContain(`${target}host key does not match the pinned key (host.hostKey)`);
      expect(message).toContain(`It presents: ${pinned(otherHostKey.public)}.`);
      expect(message).toContain("'./mlflow-vps configure deploy@vps.example.org'");
    }
  });

  test("is told without a stack, which the engine would print", async () => {
    const server = await start({ authorized: otherLoginKey.public });
    const error: Error = await execute(server.connection, "true", "", 10).then(
      () => new Error("it went well"),
      (reason) => reason,
    );
    expect(error.message).toContain("the login was refused");
    expect(error.stack).toBe("");
  });
});
