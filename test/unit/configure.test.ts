import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server as NetServer, type Socket } from "node:net";
import { join } from "node:path";
import { Server, utils } from "ssh2";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fingerprint, isTrusted, meet } from "../../cli/configure/hostKey";
import { parseTarget } from "../../cli/configure/settings";
import { StackFile } from "../../cli/configure/stackFile";
import { type Conversation, Shell } from "./commandLine";
import { ecdsaHostKey, encryptedLoginKey, hostKey, loginKey, otherHostKey, passphrase } from "./keys";

describe("user@host", () => {
  it.each([
    ["deploy@203.0.113.10", { user: "deploy", address: "203.0.113.10" }],
    ["root@mlflow.example.com", { user: "root", address: "mlflow.example.com" }],
    ["203.0.113.10", { address: "203.0.113.10" }],
    ["deploy@2001:db8::1", { user: "deploy", address: "2001:db8::1" }],
    ["deploy@[2001:db8::1]", { user: "deploy", address: "2001:db8::1" }],
    ["[2001:db8::1]", { address: "2001:db8::1" }],
  ])("%s is understood", (text, target) => {
    expect(parseTarget(text)).toEqual(target);
  });

  it.each([
    "",
    "@host",
    "deploy@",
    "Deploy@host",
    "deploy@host:22",
    "ssh://deploy@host",
    "deploy@[host]",
    "deploy@1.2.3",
    "-oProxyCommand=x@host",
  ])("'%s' is refused", (text) => {
    expect(() => parseTarget(text)).toThrow(/^user@host: must be .* \(got /);
  });
});

// Two real keys, and what `ssh-keygen -lf` says of them.
const ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM50Pdm8ubuNK5J2JhkCsDTqcrgGaghwSb6Wb76pOQN1";
const ed25519Fingerprint = "SHA256:F4zVeSiVy4FP99hqz5MhO5bv6PvCtqj4x1q5MHMFKj8";
const ecdsa =
  "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBOq1ekDMjrBFpTqKyDf0jZyApFZyPpWpTkPeV7yz/Hk5gCTmLid9cmxU28KjJXUgfVKSEoWQSBb0xkeI21g209E=";
const ecdsaFingerprint = "SHA256:s5OxbIriSUDL8KmRKb0dPubhNyKF8uhL0s4R7WISl1k";

describe("a host key", () => {
  it("has the fingerprint that ssh-keygen prints", () => {
    expect(fingerprint(ed25519)).toBe(ed25519Fingerprint);
    expect(fingerprint(ecdsa)).toBe(ecdsaFingerprint);
  });

  it.each([
    ["is new", {}, false],
    ["is new, with --yes", { yes: true }, true],
    ["is new, with its fingerprint", { fingerprint: ed25519Fingerprint }, true],
    ["is the pinned one", { pinned: ed25519 }, true],
    ["replaces another", { pinned: ecdsa }, false],
    ["replaces another, with --yes", { pinned: ecdsa, yes: true }, false],
    ["replaces another, with its fingerprint", { pinned: ecdsa, fingerprint: ed25519Fingerprint }, true],
    ["replaces another, with --accept-new-host-key", { pinned: ecdsa, acceptNewHostKey: true }, true],
  ])("that %s: trusted without a question?", (_case, flags, trusted) => {
    expect(isTrusted({ presented: ed25519, ...flags })).toBe(trusted);
  });

  it.each([[{}], [{ yes: true }], [{ pinned: ed25519 }], [{ acceptNewHostKey: true }]])(
    "is refused when --fingerprint is of another key, whatever else is said: %j",
    (flags) => {
      expect(() => isTrusted({ presented: ed25519, fingerprint: ecdsaFingerprint, ...flags })).toThrow(
        ed25519Fingerprint,
      );
    },
  );
});

describe("the stack's config file", () => {
  const text = `# Our server.
encryptionsalt: v1:abc:v1:def+/==
config:
  # paid until May
  mlflow-vps:host.address: 203.0.113.10 # Falkenstein
  mlflow-vps:host:
    user: deploy # as 'pulumi config set --path' writes it
  mlflow-vps:host.port: 2222
  mlflow-vps:users:
    - ada # head of research
    - bob
  mlflow-vps:host.privateKeyPassphrase:
    secure: v1:${"x".repeat(120)}
  other:key: true
`;
  const edit = (before: string, change: (stack: StackFile) => void) => {
    const stack = new StackFile(before, "mlflow-vps");
    change(stack);
    return stack.toString();
  };

  it("keeps comments, secrets and the keys of others when values change", () => {
    const after = edit(text, (stack) => {
      stack.set("host.address", "203.0.113.11");
      stack.set("host.user", "admin");
      stack.set("host.port", undefined);
      stack.set("users", ["grace", "ada"]);
      stack.set("domain", "mlflow.example.com");
    });
    expect(after).toBe(
      text
        .replace("203.0.113.10", "203.0.113.11")
        .replace("user: deploy", "user: admin")
        .replace("  mlflow-vps:host.port: 2222\n", "")
        .replace("    - ada # head of research\n    - bob", "    - grace\n    - ada # head of research")
        .replace("other:key: true\n", "other:key: true\n  mlflow-vps:domain: mlflow.example.com\n"),
    );
  });

  it("does not change when the values are there already", () => {
    edit(text, (stack) => {
      expect(stack.set("host.address", "203.0.113.10")).toBe(false);
      expect(stack.set("host.user", "deploy")).toBe(false);
      expect(stack.set("host.port", 2222)).toBe(false);
      expect(stack.set("users", ["ada", "bob"])).toBe(false);
      expect(stack.set("domain", undefined)).toBe(false);
    });
  });

  it.each(["", "# nothing yet\n", "config:\n", "config: {}\n"])("is begun from %j", (before) => {
    const after = edit(before, (stack) => stack.set("users", ["ada"]));
    expect(after).toContain("config:\n  mlflow-vps:users:\n    - ada\n");
    expect(after).toContain(before.startsWith("#") ? before : "");
  });

  it("has no value where 'pulumi new' left an empty one", () => {
    const after = edit('config:\n  mlflow-vps:host.address: ""\n', (stack) => {
      expect(stack.get("host.address")).toBeUndefined();
      stack.set("host.address", "203.0.113.10");
    });
    expect(after).toMatch(/^config:\n {2}mlflow-vps:host.address: "?203.0.113.10"?\n$/);
  });

  it("takes a list that the CLI wrote as text for what it is", () => {
    edit(`config:\n  mlflow-vps:users: '["ada"]'\n`, (stack) =>
      expect(stack.set("users", ["ada"])).toBe(false),
    );
  });

  it.each([
    ["a: [", /./],
    ["- a\n", /the file is not a mapping/],
    ["config: x\n", /config is not a mapping/],
  ])("is refused as %j", (before, problem) => {
    expect(() => new StackFile(before, "mlflow-vps")).toThrow(problem);
  });
});

/** A host on loopback that takes one key, and runs nothing but echo, or what stands in its place. */
class FakeHost {
  private server: NetServer | undefined;
  port = 0;
  /** Of the first key. */
  fingerprint = "";
  readonly commands: string[] = [];
  exitCode = 0;
  /** What it says whatever it is asked to run. */
  forced: string | undefined;
  /** Connections that were ever made; the first ones it ends at once, with these words. */
  connections = 0;
  turnsAway = 0;
  private readonly open = new Set<Socket>();

  async present(...hostKeys: { private: string; public: string }[]): Promise<void> {
    await this.stop();
    this.fingerprint = fingerprint(hostKeys[0]?.public ?? "");
    const server = new Server({ hostKeys: hostKeys.map((key) => key.private) }, (client) => {
      client.on("error", () => undefined);
      client.on("authentication", (login) =>
        login.method === "publickey" ? login.accept() : login.reject(),
      );
      client.on("session", (accept) =>
        accept().on("exec", (acceptCommand, _reject, { command }) => {
          this.commands.push(command);
          const stream = acceptCommand();
          stream.write(this.forced ?? `${/echo '(.*)'$/.exec(command)?.[1]}\n`);
          stream.exit(this.exitCode);
          stream.end();
        }),
      );
    });
    const front = createServer((socket) => {
      this.connections += 1;
      this.open.add(socket.on("close", () => this.open.delete(socket)));
      if (this.connections <= this.turnsAway) {
        socket.end("Exceeded MaxStartups\r\n");
      } else {
        server.injectSocket(socket);
      }
    });
    await new Promise<void>((done) => front.listen(this.port, "127.0.0.1", done));
    this.port = (front.address() as AddressInfo).port;
    this.server = front;
  }

  /** As sshd does with who does not log in within two minutes. */
  hangUp(): void {
    for (const socket of this.open) {
      socket.destroy();
    }
  }

  async stop(): Promise<void> {
    this.hangUp();
    await new Promise<void>((done) => (this.server === undefined ? done() : this.server.close(() => done())));
    this.server = undefined;
  }
}

describe("configure", () => {
  let shell: Shell;
  let home: string;
  let directory: string;
  let file: string;
  const written = () => readFileSync(file, "utf8");
  const [oldKey, newKey] = [hostKey, otherHostKey];
  const host = new FakeHost();
  const flags = () => ["deploy@127.0.0.1", "--port", String(host.port), "--directory", directory];
  /** Nobody is there: what it prints, or its error. */
  const configure = async (args: readonly string[]) => {
    const { code, stdout, stderr } = await shell.run("configure", ...args);
    if (code !== 0) {
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      throw new Error(stderr.trim());
    }
    return stdout;
  };
  /** Somebody answers at a terminal, and is asked nothing else: then it would not come to its end. */
  const answering = async (
    args: readonly string[],
    ...steps: (readonly [string, string])[]
  ): Promise<Conversation> => {
    const conversation = await shell.converse(["configure", ...args], ...steps);
    expect(conversation.unasked).toEqual([]);
    return conversation;
  };
  const enter = "\r";
  /** In place of what was answered before. */
  const instead = "\x15";

  beforeEach(async () => {
    shell = new Shell();
    home = shell.directory;
    directory = join(home, "project");
    file = join(directory, "Pulumi.prod.yaml");
    mkdirSync(directory);
    mkdirSync(join(home, ".ssh"));
    writeFileSync(join(home, ".ssh/id_ecdsa"), utils.generateKeyPairSync("ecdsa", { bits: 256 }).private);
    host.exitCode = 0;
    host.forced = undefined;
    host.commands.length = 0;
    host.connections = 0;
    host.turnsAway = 0;
    await host.present(oldKey);
  });
  afterEach(() => host.stop());

  it("writes what it was told, unattended", async () => {
    const output = await configure([
      ...flags(),
      "--fingerprint",
      host.fingerprint,
      "--domain",
      "ml.example.com",
      "--users",
      "ada,grace",
    ]);
    expect(written()).toBe(`config:
  mlflow-vps:host:
    address: 127.0.0.1
    user: deploy
    port: ${host.port}
    hostKey: ${oldKey.public.trim()}
    privateKeyFile: ~/.ssh/id_ecdsa
  mlflow-vps:domain: ml.example.com
  mlflow-vps:users:
    - ada
    - grace
`);
    expect(output).toContain("pulumi stack init prod");
    expect(output).toContain("pulumi up --stack prod");
    expect(host.commands).toEqual(["sudo -n echo 'mlflow-vps may run commands'"]);
    expect(readdirSync(directory)).toEqual(["Pulumi.prod.yaml"]);
  });

  it("changes nothing the second time, and says so", async () => {
    await configure([...flags(), "--yes"]);
    writeFileSync(file, written().replace(/$/, "\n#   as it was\n\n\n"));
    const before = written();
    expect(await configure([...flags(), "--users", "mlflow"])).toContain("nothing was changed");
    expect(await configure(["--directory", directory])).toContain("nothing was changed");
    expect(written()).toBe(before);
  });

  it("logs in over the connection that has shown the host key, whatever is pinned and asked", async () => {
    await host.present(newKey, ecdsaHostKey);
    const pinned = () => /hostKey: (\S+)/.exec(written())?.[1];
    await configure([...flags(), "--yes"]);
    expect([pinned(), host.connections]).toEqual(["ssh-ed25519", 1]);
    await configure([...flags(), "--yes"]);
    await configure([...flags(), "--fingerprint", host.fingerprint]);
    expect(host.connections).toBe(3);

    const ecdsa = ecdsaHostKey.public.split(" ").slice(0, 2).join(" ");
    writeFileSync(file, `config:\n  mlflow-vps:host:\n    hostKey: ${ecdsa}\n`);
    await configure(flags());
    expect([pinned(), host.connections]).toEqual(["ecdsa-sha2-nistp256", 4]);
    await configure([...flags(), "--fingerprint", fingerprint(ecdsa)]);
    expect([pinned(), host.connections]).toEqual(["ecdsa-sha2-nistp256", 5]);
    await configure([...flags(), "--fingerprint", host.fingerprint]);
    expect([pinned(), host.connections]).toEqual(["ssh-ed25519", 6]);
  });

  it("logs in anew where the host has ended the connection while somebody was asked", async () => {
    const connection = { host: "127.0.0.1", port: host.port, user: "deploy", hostKey: "" };
    const met = await meet({ ...connection, privateKey: loginKey.private });
    expect(met.hostKey).toBe(oldKey.public.trim());
    host.hangUp();
    await new Promise((next) => setTimeout(next, 100));
    const { client } = await met.logIn();
    client.end();
    expect(host.connections).toBe(2);
  });

  it("tries again where the host turns the connection away", async () => {
    host.turnsAway = 2;
    await configure([...flags(), "--yes"]);
    expect(host.connections).toBe(3);
  });

  it("says which host keys there must be", async () => {
    await host.present(utils.generateKeyPairSync("rsa", { bits: 2048 }));
    await expect(configure([...flags(), "--yes"])).rejects.toThrow(
      /the host shows neither an ed25519 nor an ecdsa host key \(it has: [^)]*rsa[^)]*\)\. As root there, make one: ssh-keygen -A/,
    );
  });

  it("removes the domain with --domain -", async () => {
    await configure([...flags(), "--yes", "--domain", "ml.example.com"]);
    expect(await configure(["--directory", directory, "--domain", "-"])).toContain("domain: (removed)");
    expect(written()).not.toContain("domain");
  });

  it("asks for what is missing, and again after a wrong answer", async () => {
    const { shown, code } = await answering(
      ["--port", String(host.port), "--directory", directory],
      ["user@host", `Ada@127.0.0.1${enter}`],
      ["must be", `${instead}127.0.0.1${enter}`],
      ["Login name", enter],
      ["Is it the same?", `perhaps${enter}`],
      ["'yes' or 'no', please.", `${instead}256 ${host.fingerprint} root@host (ED25519)${enter}`],
      ["Host name of the server", enter],
      ["Who may use the server", `ada, grace${enter}`],
    );
    expect(code).toBe(0);
    expect(shown).toContain(host.fingerprint);
    expect(shown).toContain("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub");
    expect(written()).toMatch(/host:\n {4}address: 127\.0\.0\.1\n {4}user: root\n/);
    expect(written()).toMatch(/users:\n {4}- ada\n {4}- grace\n/);
    expect(written()).not.toMatch(/domain/);
    expect(host.commands).toEqual(["echo 'mlflow-vps may run commands'"]);
  });

  it.each(["no", ecdsaFingerprint])(
    "writes nothing when the answer about the host key is '%s'",
    async (text) => {
      const { shown, code } = await answering(flags(), ["Is it the same?", text + enter]);
      expect(shown).toContain("not confirmed");
      expect(code).toBe(1);
      expect(readdirSync(directory)).toEqual([]);
      expect(host.commands).toEqual([]);
    },
  );

  it.each([
    ["Ctrl-C", "\x03"],
    ["Ctrl-D", "\x04"],
  ])("writes nothing when it is cancelled by %s, and says so", async (_, key) => {
    const { shown, code } = await answering(flags(), ["Is it the same?", key]);
    expect(shown).toContain("cancelled, nothing was changed");
    expect(code).toBe(130);
    expect(readdirSync(directory)).toEqual([]);
  });

  it("asks nothing with --yes, at a terminal too", async () => {
    expect((await answering([...flags(), "--yes"])).code).toBe(0);
    expect(written()).toContain("address: 127.0.0.1");
  });

  it("does not take another host key than the pinned one by itself", async () => {
    await configure([...flags(), "--yes"]);
    const [before, old] = [written(), host.fingerprint];
    await host.present(newKey);

    for (const extra of [[], ["--yes"]]) {
      const refused = configure([...flags(), ...extra]);
      await expect(refused).rejects.toThrow(old);
      await expect(refused).rejects.toThrow(host.fingerprint);
      await expect(refused).rejects.toThrow("--accept-new-host-key");
    }
    await expect(configure([...flags(), "--fingerprint", old])).rejects.toThrow("--fingerprint is");
    const { shown, code } = await answering(flags(), ["Is it the same?", `no${enter}`]);
    expect(shown).toContain(`old  ${old}`);
    expect(shown).toContain("not confirmed");
    expect(code).toBe(1);
    expect(written()).toBe(before);

    await configure([...flags(), "--accept-new-host-key"]);
    expect(written()).toBe(before.replace(oldKey.public.trim(), newKey.public.trim()));
  });

  it("replaces the file as a whole", async () => {
    await configure([...flags(), "--yes"]);
    const before = written();
    linkSync(file, join(home, "old"));
    await configure([...flags(), "--users", "ada"]);
    expect(written()).not.toBe(before);
    expect(readFileSync(join(home, "old"), "utf8")).toBe(before);
  });

  it("compares with the key in host.hostKeyFile too, and replaces that key", async () => {
    writeFileSync(join(home, "host_key.pub"), `${oldKey.public.trim()} root@host\n`);
    writeFileSync(file, `config:\n  mlflow-vps:host.hostKeyFile: ${home}/host_key.pub\n`);
    await configure(flags());
    expect(written()).not.toContain("host.hostKey:");

    await host.present(newKey);
    await expect(configure(flags())).rejects.toThrow("--accept-new-host-key");
    await configure([...flags(), "--accept-new-host-key"]);
    expect(written()).toContain(`    hostKey: ${newKey.public.trim()}\n`);
    expect(written()).not.toContain("hostKeyFile");
  });

  it("says how to let the user become root", async () => {
    host.exitCode = 1;
    host.forced = "sudo: a password is required\n";
    await expect(configure([...flags(), "--yes"])).rejects.toThrow(
      "deploy may not use sudo without a password; as root: echo 'deploy ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/deploy (sudo says: sudo: a password is required)",
    );
    expect(readdirSync(directory)).toEqual([]);
  });

  it.each([0, 142])(
    "shows what a forced command says, and writes nothing, whatever its exit code: %i",
    async (exitCode) => {
      host.exitCode = exitCode;
      host.forced = "Please login as the user deploy\n";
      const { port } = host;
      for (const user of ["root", "deploy"]) {
        await expect(
          configure([`${user}@127.0.0.1`, "--port", String(port), "--directory", directory, "--yes"]),
        ).rejects.toThrow(
          `${user} may log in, but not run commands: Please login as the user deploy (a forced command`,
        );
      }
      expect(readdirSync(directory)).toEqual([]);
    },
  );

  it("uses the passphrase of the private key, but leaves storing it to the Pulumi CLI", async () => {
    writeFileSync(join(home, ".ssh/id_ed25519"), encryptedLoginKey.private);
    await expect(configure([...flags(), "--yes"])).rejects.toThrow("MLFLOW_VPS_KEY_PASSPHRASE");

    const { shown } = await answering(
      flags(),
      ["Passphrase", `wrong${enter}`],
      ["Wrong passphrase", `${instead}${passphrase}${enter}`],
      ["same", `no${enter}`],
    );
    expect(shown).toContain("not confirmed");
    expect(shown).not.toContain(passphrase);

    shell.env.MLFLOW_VPS_KEY_PASSPHRASE = passphrase;
    const output = await configure([...flags(), "--yes"]);
    expect(output).toContain("pulumi config set --path --secret host.privateKeyPassphrase --stack prod");
    expect(written()).not.toContain(passphrase);
    expect(written()).not.toContain("privateKeyFile");
  });

  it.each([
    [[], "user@host"],
    [["127.0.0.1"], "user@127.0.0.1"],
    [["deploy@127.0.0.1", "--key", "/nowhere/key"], "/nowhere/key: cannot be read"],
    [["deploy@127.0.0.1", "--key", "/"], "cannot be read"],
    [["deploy@127.0.0.1", "--port", "0"], "--port: must be a whole number from 1 to 65535 (got 0)"],
    [["deploy@127.0.0.1", "--users", "ada,Bob"], '(got ["ada","Bob"])'],
    [["deploy@127.0.0.1", "--domain", "a b"], '--domain: must be a host name (got "a b")'],
    [["deploy@127.0.0.1", "--fingerprint", "MD5:aa:bb"], "--fingerprint: "],
    [["deploy@127.0.0.1", "--stack", "../x"], "--stack: "],
    [["deploy@127.0.0.1", "prod"], "Expected 1 argument but got 2"],
    [["deploy@127.0.0.1", "--force"], "--force"],
  ])("says in one line what is missing or wrong, unattended: %j", async (args, problem) => {
    const refused = configure([...args, "--directory", directory]);
    await expect(refused).rejects.toThrow(problem);
    await expect(refused).rejects.toThrow(/^[^\n]+$/);
  });

  it("names --fingerprint and --key when they are missing, unattended", async () => {
    await expect(configure(flags())).rejects.toThrow("--fingerprint");
    rmSync(join(home, ".ssh/id_ecdsa"));
    await expect(configure(flags())).rejects.toThrow("--key FILE");
  });
});
