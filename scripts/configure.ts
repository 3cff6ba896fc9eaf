/** `npm run configure -- user@host`: gets to know a real server and writes its stack's config; see `usage`. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve, sep } from "node:path";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { parseArgs } from "node:util";
import { Client, type ServerHostKeyAlgorithm, utils } from "ssh2";
import { isMap, isNode, isScalar, isSeq, parse, parseDocument } from "yaml";
import { type Key, schema, type Values } from "../components/schema/schema";
import { type Connection, execute, explainLoginError } from "../components/step/ssh";
import { expandPath } from "../config/files";
import { parseText } from "../config/text";

const usage = `Usage: npm run configure -- user@host [flags]

Reads the server's host key, checks the login, and writes both to Pulumi.<stack>.yaml. Asks for what is missing;
running it again is how an answer, or the key of a server that was set up anew, is changed.
IPv6: user@2001:db8::1 or user@[2001:db8::1].

  --stack NAME             the stack (default: prod)
  --port NUMBER            SSH port (default: 22)
  --key FILE               private SSH key (default: ~/.ssh/id_ed25519, else id_ecdsa, else id_rsa)
  --domain NAME            host name that leads to the server; - for none
  --users A,B              who gets a login for MLflow (default: mlflow)
  --directory DIRECTORY    where Pulumi.<stack>.yaml is (default: the project)

Without a terminal every value comes from a flag or from an earlier run, and one of these confirms the host key:
  --fingerprint SHA256:…   it must have this fingerprint
  --yes                    trust the key that is presented, and ask nothing
  --accept-new-host-key    the same, also when another one is pinned already
The environment variable MLFLOW_VPS_KEY_PASSPHRASE holds the passphrase of the private key, if it has one.
`;

const project = resolve(__dirname, "..");
const loginSeconds = 20;
const defaultKeyFiles = [schema["host.privateKeyFile"].default, "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"];

/** No RSA: `@pulumi/command` pins by the type 'ssh-rsa', a signature that servers of today refuse. */
const hostKeyTypes = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];

/** The person at the terminal, if there is one. */
export interface Dialog {
  /** False: a question is an error instead, which names the flag that answers it. */
  readonly interactive: boolean;
  readonly ask: (question: string, hidden?: boolean) => Promise<string>;
  readonly say: (text: string) => void;
}

function check<K extends Key>(name: string, key: K, raw: string): NonNullable<Values[K]> {
  const parsed = parseText(key, raw);
  if ("problem" in parsed) {
    throw new Error(`${name}: ${parsed.problem}`);
  }
  return parsed.value;
}

export interface Target {
  readonly user?: string;
  readonly address: string;
}

/** @throws when it is not `user@host` or `host`, with a name or an address, an IPv6 one with or without brackets */
export function parseTarget(text: string): Target {
  const at = text.lastIndexOf("@");
  const host = text.slice(at + 1).replace(/^\[(.*:.*)\]$/, "$1");
  return {
    ...(at < 0 ? {} : { user: check("user@host", "host.user", text.slice(0, at)) }),
    address: check("user@host", "host.address", host),
  };
}

const parseUsers = (name: string, text: string) =>
  check(name, "users", JSON.stringify(text.split(",").map((user) => user.trim())));

const parseDomain = (name: string, text: string) =>
  text === "-" || text === "" ? undefined : check(name, "domain", text);

/** @returns the fingerprint in `text`, which may be a line of `ssh-keygen -l` */
function findFingerprint(text: string): string | undefined {
  return /(?:^|\s)(SHA256:[A-Za-z0-9+/]{43})(?![^\s=])/.exec(text)?.[1];
}

/** What `ssh-keygen -l` prints for the key 'type base64'. */
export function fingerprint(hostKey: string): string {
  const key = Buffer.from(hostKey.split(" ")[1] ?? "", "base64");
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

/** 'ed25519', 'ecdsa' or 'rsa', as in the names of sshd's files. */
const typeOf = (hostKey: string) => hostKey.split(/[- ]/)[hostKey.startsWith("ssh-") ? 1 : 0] ?? "";

const describe = (hostKey: string) => `${fingerprint(hostKey)} (${typeOf(hostKey).toUpperCase()})`;

/** `~/` stays readable, and right on a colleague's machine. */
const shorten = (path: string) =>
  path.startsWith(homedir() + sep) ? `~${path.slice(homedir().length)}` : path;

const publicKeyFile = (hostKey: string) => `/etc/ssh/ssh_host_${typeOf(hostKey)}_key.pub`;

type Value = string | number | readonly string[];

/** A stack's config file, where comments and everything that is not set stay as they are. */
export class StackConfig {
  private readonly document;

  /** @param name of the project, which is the prefix of its keys */
  constructor(
    text: string,
    private readonly name: string,
  ) {
    this.document = parseDocument(text);
    const problem = this.document.errors[0]?.message.split("\n")[0];
    if (problem !== undefined) {
      throw new Error(problem);
    }
    for (const path of [[], ["config"]]) {
      const node = this.document.getIn(path, true);
      if (node !== undefined && node !== null && !isMap(node) && !(isScalar(node) && node.value === null)) {
        throw new Error(`${path[0] ?? "the file"} is not a mapping of keys to values`);
      }
    }
    const config = this.document.get("config");
    if (!isMap(config) || config.items.length === 0) {
      // An empty one may be in flow style, `config: {}`, which would put all keys into one line.
      this.document.set("config", this.document.createNode({}));
    }
  }

  /** An empty text, as `pulumi new` leaves it where nobody answered, is no value. */
  has(key: string): boolean {
    const node: unknown = this.document.getIn(this.path(key));
    return node !== undefined && node !== null && node !== "";
  }

  /** The value as the engine hands it to the program: text, or JSON for a list. */
  get(key: string): string | undefined {
    if (!this.has(key)) {
      return undefined;
    }
    const node: unknown = this.document.getIn(this.path(key));
    if (isMap(node)) {
      throw new Error(
        `${key} is a secret, which only the Pulumi CLI can read: remove it with 'pulumi config rm'`,
      );
    }
    return asText(isNode(node) ? node.toJS(this.document) : node);
  }

  /** @returns whether that changed anything; `undefined` removes the key */
  set(key: string, value: Value | undefined): boolean {
    const path = this.path(key);
    if ((value === undefined ? undefined : asText(value)) === this.get(key)) {
      return false;
    }
    const old: unknown = this.document.getIn(path, true);
    if (value === undefined) {
      this.document.deleteIn(path);
    } else if (isSeq(old) && Array.isArray(value)) {
      // Entries that stay keep their comments.
      old.items = value.map(
        (entry) =>
          old.items.find((item) => isScalar(item) && item.value === entry) ?? this.document.createNode(entry),
      );
    } else {
      this.document.setIn(path, typeof value === "object" ? this.document.createNode(value) : value);
    }
    return true;
  }

  toString(): string {
    return this.document.toString({ lineWidth: 0 });
  }

  /** `host.address` is address in host, as `pulumi config set --path` writes it, unless the file has it as one key. */
  private path(key: string): string[] {
    const flat = ["config", `${this.name}:${key}`];
    const [first, ...rest] = key.split(".");
    const nested = ["config", `${this.name}:${first}`, ...rest];
    return this.document.hasIn(flat) ? flat : nested;
  }
}

const asText = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));

export interface Trust {
  /** What the host presents, and what is pinned so far: 'type base64'. */
  readonly presented: string;
  readonly pinned?: string;
  /** The flags. */
  readonly fingerprint?: string;
  readonly yes?: boolean;
  readonly acceptNewHostKey?: boolean;
}

/**
 * Decides whether the presented host key may be pinned without a question.
 *
 * @throws when `fingerprint` is that of another key
 */
export function isTrusted({ presented, pinned, ...flags }: Trust): boolean {
  if (flags.fingerprint !== undefined) {
    if (flags.fingerprint !== fingerprint(presented)) {
      throw new Error(
        `the host presents ${describe(presented)}, but --fingerprint is ${flags.fingerprint}; ` +
          `compare it with ${publicKeyFile(presented)} on the host`,
      );
    }
    return true;
  }
  return (
    presented === pinned || flags.acceptNewHostKey === true || (pinned === undefined && flags.yes === true)
  );
}

/** Reads the key that the host presents, and nothing more: no login is tried. */
function readHostKey(connection: Connection, types: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const client = new Client();
    client.on("error", ({ message }) => {
      client.destroy();
      const ownProblem = /no matching host key/i.test(message)
        ? `${connection.host} has neither an ed25519 nor an ecdsa host key. Make one there, as root: ssh-keygen -A && systemctl restart ssh`
        : explainLoginError(connection, message);
      reject(new Error(ownProblem));
    });
    client.connect({
      host: connection.host,
      port: connection.port,
      username: connection.user,
      readyTimeout: loginSeconds * 1000,
      algorithms: { serverHostKey: types as ServerHostKeyAlgorithm[] },
      hostVerifier: (key: Buffer) => {
        const type = key.toString("latin1", 4, 4 + key.readUInt32BE(0));
        resolve(`${type} ${key.toString("base64")}`);
        return false;
      },
    });
  });
}

async function confirmHostKey(target: string, trust: Trust, dialog: Dialog): Promise<void> {
  const { presented, pinned } = trust;
  const shown = describe(presented);
  if (isTrusted(trust)) {
    if (presented !== pinned) {
      dialog.say(`Host key: ${shown}${pinned === undefined ? "" : `, was ${describe(pinned)}`}`);
    }
    return;
  }
  if (!dialog.interactive) {
    throw new Error(
      pinned === undefined
        ? `nobody has confirmed the host key of ${target}, ${shown}: give --fingerprint SHA256:… as the provider's console shows it, or --yes to trust it`
        : `${target} presents the host key ${shown}, but ${describe(pinned)} is pinned. If the server was set up anew, ` +
            "give --fingerprint with the new fingerprint, or --accept-new-host-key; if not, somebody may be in between",
    );
  }
  dialog.say(
    [
      ...(pinned === undefined
        ? [`${target} presents the host key`, `  ${shown}`]
        : [
            `CAUTION: ${target} presents another host key than the pinned one.`,
            `  old  ${describe(pinned)}`,
            `  new  ${shown}`,
            "If the server was not set up anew, somebody may be in between.",
          ]),
      "Compare it with what the server says of itself. On the provider's console:",
      `  ssh-keygen -lf ${publicKeyFile(presented)}`,
    ].join("\n"),
  );
  await answer(dialog, "Is it the same? (yes, no, or paste the fingerprint): ", (text) => {
    const pasted = findFingerprint(text);
    if (/^no?$/i.test(text) || (pasted !== undefined && pasted !== fingerprint(presented))) {
      throw new Cancelled("the host key is not confirmed, nothing was written");
    }
    if (pasted === undefined && !/^y(es)?$/i.test(text)) {
      throw new Error("'yes' or 'no', please.");
    }
  });
}

/** An answer that ends the program; any other error of `answer` makes it ask again. */
class Cancelled extends Error {}

async function answer<T>(dialog: Dialog, question: string, read: (text: string) => T): Promise<T> {
  for (;;) {
    const text = (await dialog.ask(question)).trim();
    try {
      return read(text);
    } catch (error) {
      if (error instanceof Cancelled) {
        throw error;
      }
      dialog.say((error as Error).message);
    }
  }
}

interface PrivateKey {
  readonly text: string;
  readonly passphrase?: string;
}

async function readPrivateKey(file: string, name: string, dialog: Dialog): Promise<PrivateKey> {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`${name}: can not be read (${(error as Error).message})`);
  }
  const bare = utils.parseKey(text);
  if (!(bare instanceof Error)) {
    if (!bare.isPrivateKey()) {
      throw new Error(`${name}: is a public key; give the private one, which is the file without '.pub'`);
    }
    return { text };
  }
  if (text.startsWith("PuTTY") || !/encrypted|passphrase/i.test(bare.message)) {
    throw new Error(`${name}: is not ${schema["host.privateKey"].type.description}`);
  }
  let passphrase = process.env.MLFLOW_VPS_KEY_PASSPHRASE;
  while (!passphrase || utils.parseKey(text, passphrase) instanceof Error) {
    if (!dialog.interactive) {
      throw new Error(
        `${name}: the key has a passphrase, ${passphrase ? "and MLFLOW_VPS_KEY_PASSPHRASE is another" : "give it in MLFLOW_VPS_KEY_PASSPHRASE"}`,
      );
    }
    if (passphrase) {
      dialog.say("That is not its passphrase.");
    }
    passphrase = await dialog.ask(`Passphrase of ${name} (to check the login, it is not stored): `, true);
  }
  return { text, passphrase };
}

async function checkLogin(connection: Connection): Promise<void> {
  const { user } = connection;
  const isRoot = user === "root";
  const done = await execute(connection, isRoot ? "true" : "sudo -n true", "", loginSeconds);
  if (done.code === 0) {
    return;
  }
  const reason = (done.stderr.trim() || done.stdout.trim() || `exit code ${done.code}`).replace(/\s+/g, " ");
  if (isRoot) {
    throw new Error(`root may log in, but not run commands: ${reason}`);
  }
  const sudoMissing = done.code === 127 ? "apt-get install -y sudo && " : "";
  throw new Error(
    `${user} may not use sudo without a password (${reason}); as root on the host: ` +
      `${sudoMissing}echo '${user} ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/${user}`,
  );
}

/** A reader, and a crash, see the old file or the new one. */
function writeAtomically(file: string, text: string): void {
  const target = existsSync(file) ? realpathSync(file) : file;
  const temporary = `${target}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, text, { mode: existsSync(target) ? statSync(target).mode : 0o644 });
    renameSync(temporary, target);
  } finally {
    rmSync(temporary, { force: true });
  }
}

function readFlags(args: readonly string[]) {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        stack: { type: "string", default: "prod" },
        port: { type: "string" },
        key: { type: "string" },
        domain: { type: "string" },
        users: { type: "string" },
        directory: { type: "string", default: project },
        fingerprint: { type: "string" },
        yes: { type: "boolean", default: false },
        "accept-new-host-key": { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (positionals.length > 1) {
      throw new Error(
        `one user@host is needed, not ${positionals.join(" ")} (npm wants a '--' before the flags)`,
      );
    }
    return { ...values, target: positionals[0] };
  } catch (error) {
    throw new Error(`${(error as Error).message.split(". ")[0]}; see npm run configure -- --help`);
  }
}

/**
 * @param args the command line
 * @returns what to print at the end
 * @throws an error with one line that says what is wrong; then nothing was written
 */
export async function configure(args: readonly string[], terminal: Dialog): Promise<string> {
  const flags = readFlags(args);
  if (flags.help) {
    return usage;
  }
  const dialog: Dialog = { ...terminal, interactive: terminal.interactive && !flags.yes };
  // npm runs scripts in the project's directory; a path is meant from where the user is.
  const here = process.env.INIT_CWD ?? process.cwd();

  if (!/^[A-Za-z0-9_.-]{1,100}$/.test(flags.stack)) {
    throw new Error(
      `--stack: ${JSON.stringify(flags.stack)} is given; allowed are letters, digits, '-', '_' and '.'`,
    );
  }
  const expected = flags.fingerprint === undefined ? undefined : findFingerprint(flags.fingerprint);
  if (flags.fingerprint !== undefined && expected === undefined) {
    throw new Error(
      `--fingerprint: ${JSON.stringify(flags.fingerprint)} is given; allowed is SHA256: and 43 characters, as 'ssh-keygen -l' prints it`,
    );
  }
  const given = {
    target: flags.target === undefined ? undefined : parseTarget(flags.target),
    port: flags.port === undefined ? undefined : check("--port", "host.port", flags.port),
    users: flags.users === undefined ? undefined : parseUsers("--users", flags.users),
    domain: flags.domain === undefined ? undefined : parseDomain("--domain", flags.domain),
  };

  const fileName = `Pulumi.${flags.stack}.yaml`;
  const file = join(resolve(here, flags.directory), fileName);
  const stack = readStack(file, fileName);
  const isNew = !stack.has("host.address");
  const stored = <K extends Key>(key: K): NonNullable<Values[K]> | undefined => {
    const raw = stack.get(key);
    return raw === undefined ? undefined : check(`${fileName}: ${key}`, key, raw);
  };

  const { address, user } = await chooseLogin(
    given.target?.address ?? stored("host.address"),
    given.target?.user ?? stored("host.user"),
    dialog,
  );
  const port = given.port ?? stored("host.port") ?? 22;

  const storedKeyFile = stored("host.privateKeyFile");
  const givenKeyFile = flags.key === undefined ? undefined : shorten(expandPath(flags.key, here));
  const keyFile =
    (isSameFile(givenKeyFile, storedKeyFile) ? storedKeyFile : (givenKeyFile ?? storedKeyFile)) ??
    (await findKeyFile(here, dialog));
  const privateKey = await readPrivateKey(expandPath(keyFile, project), keyFile, dialog);

  const login = {
    host: address,
    port,
    user,
    privateKey: privateKey.text,
    privateKeyPassword: privateKey.passphrase,
  };
  const pinned = readPinnedKey(stack);
  const hostKey = await findHostKey({ ...login, hostKey: "" }, pinned, expected);
  await confirmHostKey(
    address,
    {
      presented: hostKey,
      pinned,
      fingerprint: expected,
      yes: flags.yes,
      acceptNewHostKey: flags["accept-new-host-key"],
    },
    dialog,
  );
  await checkLogin({ ...login, hostKey });
  dialog.say(`The login as ${user} works${user === "root" ? "" : ", and sudo does"}.`);

  let domain = flags.domain === undefined ? stored("domain") : given.domain;
  let users = given.users ?? stored("users");
  if (isNew && dialog.interactive) {
    if (flags.domain === undefined && domain === undefined) {
      domain = await answer(dialog, "Domain that leads to the server (Enter: none): ", (text) =>
        parseDomain("domain", text),
      );
    }
    users ??= await answer(dialog, "Users, separated by commas (Enter: mlflow): ", (text) =>
      text === "" ? undefined : parseUsers("users", text),
    );
  }

  // A default is only written where the file says so already.
  const unlessDefault = (key: "host.port" | "host.privateKeyFile", value: string | number) =>
    value === schema[key].default && stack.get(key) !== asText(value) ? undefined : value;
  const changed = Object.entries({
    "host.address": address,
    "host.user": user,
    "host.port": unlessDefault("host.port", port),
    ...(hostKey === pinned ? {} : { "host.hostKey": hostKey, "host.hostKeyFile": undefined }),
    "host.privateKeyFile": unlessDefault("host.privateKeyFile", keyFile),
    domain,
    users: users ?? schema.users.default,
  } satisfies Record<string, Value | undefined>).filter(([key, value]) => stack.set(key, value));

  if (changed.length > 0) {
    writeAtomically(file, stack.toString());
  }
  return report(fileName, flags.stack, stack, changed, privateKey.passphrase !== undefined);
}

async function chooseLogin(
  address: string | undefined,
  user: string | undefined,
  dialog: Dialog,
): Promise<Required<Target>> {
  if (address === undefined) {
    demand(dialog, "no server is given: write user@host");
    const target = await answer(dialog, "Server (user@host): ", parseTarget);
    return chooseLogin(target.address, target.user, dialog);
  }
  if (user === undefined) {
    demand(dialog, `no login name is given: write user@${address}`);
    return {
      address,
      user: await answer(dialog, `Login name on ${address} (Enter: root): `, (text) =>
        check("login name", "host.user", text || "root"),
      ),
    };
  }
  return { address, user };
}

const isSameFile = (one: string | undefined, other: string | undefined) =>
  one !== undefined && other !== undefined && expandPath(one, project) === expandPath(other, project);

async function findKeyFile(here: string, dialog: Dialog): Promise<string> {
  const found = defaultKeyFiles.find((path) => existsSync(expandPath(path, project)));
  if (found !== undefined) {
    return found;
  }
  demand(dialog, `none of ${defaultKeyFiles.join(", ")} is there: give --key FILE`);
  return answer(dialog, "Private SSH key (file): ", (text) => {
    const path = expandPath(text, here);
    if (text === "" || !existsSync(path)) {
      throw new Error("There is no such file. 'ssh-keygen -t ed25519' makes a key.");
    }
    return shorten(path);
  });
}

/** @throws `problem` when there is nobody to ask */
function demand(dialog: Dialog, problem: string): void {
  if (!dialog.interactive) {
    throw new Error(problem);
  }
}

function readStack(file: string, fileName: string): StackConfig {
  const { name } = parse(readFileSync(join(project, "Pulumi.yaml"), "utf8")) as { name: string };
  try {
    return new StackConfig(existsSync(file) ? readFileSync(file, "utf8") : "", name);
  } catch (error) {
    throw new Error(`${fileName}: ${(error as Error).message}`);
  }
}

/** The host key that the program accepts so far, without a comment after it. */
function readPinnedKey(stack: StackConfig): string | undefined {
  const hostKeyFile = stack.get("host.hostKeyFile");
  const path = hostKeyFile === undefined ? undefined : expandPath(hostKeyFile, project);
  const line =
    stack.get("host.hostKey") ?? (path && existsSync(path) ? readFileSync(path, "utf8") : undefined);
  return line?.trim().split(/\s+/).slice(0, 2).join(" ");
}

/** A host has several keys: the pinned one, if it still has that and no other is expected, else the best. */
async function findHostKey(connection: Connection, pinned?: string, expected?: string): Promise<string> {
  const best = await readHostKey(connection, hostKeyTypes);
  const pinnedType = pinned?.split(" ")[0] ?? "";
  if (
    !hostKeyTypes.includes(pinnedType) ||
    best.startsWith(`${pinnedType} `) ||
    fingerprint(best) === expected
  ) {
    return best;
  }
  const other = await readHostKey(connection, [pinnedType, ...hostKeyTypes]);
  return other === pinned ? other : best;
}

function report(
  fileName: string,
  stackName: string,
  stack: StackConfig,
  changed: readonly (readonly [string, Value | undefined])[],
  hasPassphrase: boolean,
): string {
  const lines = changed.map(([key, value]) =>
    value === undefined
      ? `  ${key}: (removed)`
      : `  ${key}: ${Array.isArray(value) ? value.join(", ") : value}`,
  );
  const next = [
    // The CLI leaves its mark in the file when it makes the stack (unless Pulumi Cloud keeps the secrets' key).
    ...(/^(encryptionsalt|secretsprovider|encryptedkey):/m.test(stack.toString())
      ? []
      : [`pulumi stack init ${stackName}     # once`]),
    ...(hasPassphrase && !stack.has("host.privateKeyPassphrase")
      ? [`pulumi config set --secret host.privateKeyPassphrase --stack ${stackName}`]
      : []),
    `pulumi up --stack ${stackName}`,
  ];
  return [
    changed.length === 0
      ? `${fileName} says all that already, nothing was changed.`
      : `Written to ${fileName}:`,
    ...lines,
    ...(stack.has("host.privateKey")
      ? ["Note: host.privateKey is set too, and goes before host.privateKeyFile."]
      : []),
    "Next:",
    ...next.map((command) => `  ${command}`),
    "",
  ].join("\n");
}

/** Questions go to stderr, so that the standard output holds the result only. */
const terminal: Dialog = {
  interactive: process.stdin.isTTY === true,
  say: (text) => process.stderr.write(`${text}\n`),
  ask: async (question, hidden = false) => {
    const output = new Writable({
      write: (chunk, _encoding, done) => {
        if (!hidden) {
          process.stderr.write(chunk);
        }
        done();
      },
    });
    const readline = createInterface({ input: process.stdin, output, terminal: true, historySize: 0 });
    const abort = new AbortController();
    // Without these, Ctrl-C and Ctrl-D would leave the question open and the program would end as if all were well.
    readline.on("SIGINT", () => abort.abort()).on("close", () => abort.abort());
    if (hidden) {
      // Only now, when the terminal does not echo any more.
      process.stderr.write(question);
    }
    try {
      return await readline.question(hidden ? "" : question, { signal: abort.signal });
    } catch {
      throw new Cancelled("cancelled, nothing was written");
    } finally {
      if (hidden || abort.signal.aborted) {
        process.stderr.write("\n");
      }
      readline.close();
    }
  },
};

if (require.main === module) {
  configure(process.argv.slice(2), terminal).then(
    (text) => {
      process.stdout.write(text);
    },
    (error: unknown) => {
      process.stderr.write(`configure: ${error instanceof Error ? error.message : error}\n`);
      process.exitCode = 1;
    },
  );
}
