import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import type { Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import type { Access } from "./contestant";

const answerSeconds = 600;
/** Between two questions whether a server answers already. */
const pollMs = 50;
const startSeconds = 300;

export interface Request {
  readonly method?: "GET" | "POST" | "PUT";
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as it is, with its size in bytes. */
  readonly upload?: { readonly content: () => Readable; readonly bytes: number };
}

/** A client of a server that keeps its connection. */
export class Client {
  private readonly agent: HttpAgent;
  private readonly secure: boolean;

  constructor(private readonly access: Access) {
    this.secure = access.uri.startsWith("https:");
    const options = { keepAlive: true, maxSockets: 1 };
    this.agent = this.secure ? new HttpsAgent({ ...options, ca: access.ca }) : new HttpAgent(options);
  }

  close(): void {
    this.agent.destroy();
  }

  /** Calls a method of MLflow's API; what it answers. */
  async call<Answer>(method: string, body: unknown, api = "api"): Promise<Answer> {
    const answer = await this.send(`/${api}/2.0/mlflow/${method}`, { method: "POST", body });
    return JSON.parse(answer) as Answer;
  }

  /** The body of the answer, whose status must be 200, or 201 or 204 where something was put. */
  async send(path: string, request: Request = {}): Promise<string> {
    const incoming = await this.open(path, request);
    let text = "";
    for await (const chunk of incoming.setEncoding("utf8")) {
      text += chunk;
    }
    if (![200, 201, 204].includes(incoming.statusCode ?? 0)) {
      throw new Error(`${path}: ${incoming.statusCode} ${text.slice(0, 300)}`);
    }
    return text;
  }

  /** Reads the answer to its end and forgets it; its bytes. */
  async download(path: string): Promise<number> {
    const incoming = await this.open(path, {});
    let bytes = 0;
    for await (const chunk of incoming) {
      bytes += (chunk as Buffer).length;
    }
    if (incoming.statusCode !== 200) {
      throw new Error(`${path}: ${incoming.statusCode}`);
    }
    return bytes;
  }

  private open(path: string, { method = "GET", body, upload }: Request): Promise<IncomingMessage> {
    const { uri, user, password } = this.access;
    const text = body === undefined ? undefined : JSON.stringify(body);
    // With its length, head and body are one packet; in two, the second one waits for the first one's acknowledgement.
    const headers = {
      ...(text === undefined
        ? {}
        : { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) }),
      ...(upload === undefined ? {} : { "Content-Length": upload.bytes }),
    };
    return new Promise((done, reject) => {
      const outgoing = (this.secure ? requestHttps : requestHttp)(`${uri}${path}`, {
        method,
        headers,
        agent: this.agent,
        auth: `${user}:${password}`,
        timeout: answerSeconds * 1000,
      });
      outgoing.on("response", done);
      outgoing.on("timeout", () => outgoing.destroy(new Error(`${path}: no answer in ${answerSeconds} s`)));
      outgoing.on("error", reject);
      if (upload === undefined) {
        outgoing.end(text);
      } else {
        upload.content().on("error", reject).pipe(outgoing);
      }
    });
  }
}

/** Asks for something that MLflow reads from its database. */
const ask = (client: Client) => client.call("experiments/search", { max_results: 1 });

/** Waits until a user's request is answered. */
export async function firstAnswer(access: Access): Promise<void> {
  const end = performance.now() + startSeconds * 1000;
  for (;;) {
    const client = new Client(access);
    try {
      await ask(client);
      return;
    } catch (error) {
      if (performance.now() > end) {
        throw new Error(
          `${access.uri}: no answer in ${startSeconds} s, at last: ${(error as Error).message}`,
        );
      }
    } finally {
      client.close();
    }
    await pause(pollMs);
  }
}
