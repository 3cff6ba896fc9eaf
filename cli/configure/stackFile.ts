import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { isMap, isNode, isScalar, isSeq, parse, parseDocument } from "yaml";
import { writeAtomically } from "../files";
import { project } from "../paths";

export type Value = string | number | readonly string[];

/** A stack's config, `Pulumi.<stack>.yaml`, where comments and everything that is not set stay as they are. */
export class StackFile {
  private readonly document;

  /** @param project the name of the Pulumi project, which is the prefix of its keys */
  constructor(
    text: string,
    private readonly project: string,
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

  /** @param file need not be there yet */
  static read(file: string): StackFile {
    const { name } = parse(readFileSync(join(project, "Pulumi.yaml"), "utf8")) as { name: string };
    try {
      return new StackFile(existsSync(file) ? readFileSync(file, "utf8") : "", name);
    } catch (error) {
      throw new Error(`${basename(file)}: ${(error as Error).message}`);
    }
  }

  write(file: string): void {
    writeAtomically(file, this.toString(), existsSync(file) ? statSync(file).mode : 0o644);
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

  /** Whether the Pulumi CLI has left its mark, as it does when it makes the stack (but where Pulumi Cloud keeps the key). */
  get isInitialized(): boolean {
    return ["encryptionsalt", "secretsprovider", "encryptedkey"].some((key) => this.document.has(key));
  }

  toString(): string {
    return this.document.toString({ lineWidth: 0 });
  }

  /** `host.address` is address in host, as `pulumi config set --path` writes it, unless the file has it as one key. */
  private path(key: string): string[] {
    const flat = ["config", `${this.project}:${key}`];
    const [first, ...rest] = key.split(".");
    const nested = ["config", `${this.project}:${first}`, ...rest];
    return this.document.hasIn(flat) ? flat : nested;
  }
}

export const asText = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));
