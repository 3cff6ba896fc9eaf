import { Agent as HttpAgent, type RequestOptions } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import type { Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { open } from "./harness";

export interface LoadArgs {
  readonly uri: string;
  readonly user: string;
  readonly password: string;
  /** What Node's requests take on top: authorities to trust, another way from name to address. */
  readonly options?: RequestOptions & { readonly ca?: string | readonly string[] };
}

export interface Report {
  readonly sent: number;
  readonly perSecond: number;
  /** One line for each request without its answer: when, which, why. */
  readonly failed: string[];
  /** The run to which metrics were logged, and how many of them were acknowledged. */
  readonly runId: string;
  readonly logged: number;
  /**
   * Kept connections that the server ended though its last answer did not announce it: a request that was on its way
   * at that moment would have failed. Few are, so this tells what `failed` alone would show by chance only.
   */
  readonly cutOff: number;
}

/** Clients that keep a connection, each one of its own. */
const keepingClients = 12;
/** Clients that open a connection for each request. */
const openingClients = 2;
/** Longest pause of a client between two requests, in ms; on average it is half as long. */
const longestPause = 400;
/** Pause of a slow client between two parts of a request, in ms: with all five longer than a reload, which is 3 s at most. */
const slowness = 900;
const piece = Buffer.alloc(2 ** 16, "artifact ");
const pieces = 16;

/**
 * Clients of a server that send all the time: searches, metrics and questions of health on kept and on new connections, and always
 * an artifact of 1 MB and a request that comes slowly on their way. Nothing is sent twice: a request without the expected answer has failed.
 */
export class Load {
  private running = false;
  private sent = 0;
  private started = 0;
  private stopped = 0;
  private readonly failed: string[] = [];
  private cutOff = 0;
  private readonly sockets = new WeakMap<Socket, { announced: boolean }>();
  private clients: Promise<void>[] = [];
  private readonly agents: HttpAgent[] = [];
  private runId = "";
  private logged = 0;

  constructor(private readonly args: LoadArgs) {}

  /** Comes back when the first request has been answered. */
  async start(): Promise<void> {
    const created = await this.send(undefined, "runs/create", { experiment_id: "0" });
    this.runId = JSON.parse(created).run.info.run_id;
    this.running = true;
    this.started = Date.now();
    for (let count = 0; count < keepingClients; count++) {
      this.clients.push(this.call(this.agent(), `kept ${count}`));
    }
    for (let count = 0; count < openingClients; count++) {
      this.clients.push(this.call(undefined, `new ${count}`));
    }
    this.clients.push(this.upload(this.agent(), "kept"), this.upload(undefined, "new"));
    this.clients.push(this.dictate(this.agent()));
  }

  /** Lets every request that is under way come to its end. */
  async stop(): Promise<Report> {
    this.running = false;
    await Promise.all(this.clients);
    for (const agent of this.agents) {
      agent.destroy();
    }
    this.stopped = Date.now();
    return this.report();
  }

  /** Sends while something is done. */
  async during(work: () => Promise<unknown>): Promise<Report> {
    await this.start();
    try {
      await work();
    } finally {
      await this.stop();
    }
    return this.report();
  }

  private report(): Report {
    const seconds = (this.stopped - this.started) / 1000;
    const { sent, failed, runId, logged, cutOff } = this;
    return { sent, perSecond: sent / seconds, failed, runId, logged, cutOff };
  }

  private agent(): HttpAgent {
    const settings = { keepAlive: true, maxSockets: 1 };
    const agent = this.args.uri.startsWith("https:") ? new HttpsAgent(settings) : new HttpAgent(settings);
    this.agents.push(agent);
    return agent;
  }

  private watch(socket: Socket): void {
    if (!this.sockets.has(socket)) {
      const connection = { announced: false };
      this.sockets.set(socket, connection);
      socket.once("close", () => {
        this.cutOff += this.running && !connection.announced ? 1 : 0;
      });
    }
  }

  private async count(what: string, request: () => Promise<unknown>): Promise<void> {
    const begun = new Date();
    this.sent += 1;
    try {
      await request();
    } catch (error) {
      this.failed.push(
        `${begun.toISOString()} after ${Date.now() - begun.getTime()} ms, ${what}: ${(error as Error).message}`,
      );
    }
  }

  private async call(agent: HttpAgent | undefined, name: string): Promise<void> {
    for (let step = 0; this.running; step++) {
      await this.count(`${this.kind(step)} (${name})`, () => this.request(agent, name, step));
      await pause(Math.random() * longestPause);
    }
  }

  /** Every second request needs no database: a tenth of the work for the server, and the same way to it. */
  private kind(step: number): "health" | "search" | "log-metric" {
    return step % 2 === 1 ? "health" : step % 4 === 0 ? "search" : "log-metric";
  }

  private async request(agent: HttpAgent | undefined, name: string, step: number): Promise<void> {
    switch (this.kind(step)) {
      case "health":
        await this.answer(`${this.args.uri}/health`, { agent });
        return;
      case "search":
        await this.send(agent, "experiments/search", { max_results: 1 });
        return;
      case "log-metric": {
        // A metric of its own: MLflow refuses one point that two log at the same moment.
        const metric = { key: `load ${name}`, value: step, timestamp: Date.now(), step };
        await this.send(agent, "runs/log-metric", { run_id: this.runId, ...metric });
        this.logged += 1;
      }
    }
  }

  private async upload(agent: HttpAgent | undefined, name: string): Promise<void> {
    for (let step = 0; this.running; step++) {
      const path = `${this.args.uri}/api/2.0/mlflow-artifacts/artifacts/load/${this.runId}-${name}-${step % 2}.bin`;
      await this.count(`upload (${name})`, () =>
        this.answer(path, { method: "PUT", agent }, async (outgoing) => {
          for (let sent = 0; sent < pieces; sent++) {
            outgoing.write(piece);
            await pause(Math.random() * longestPause);
          }
        }),
      );
    }
  }

  /** Says slowly what it wants: nginx takes such a request in whole before it sends it on. */
  private async dictate(agent: HttpAgent): Promise<void> {
    while (this.running) {
      await this.count("a search said slowly", () =>
        this.answer(
          `${this.args.uri}/api/2.0/mlflow/experiments/search`,
          { method: "POST", agent, headers: { "Content-Type": "application/json" } },
          async (outgoing) => {
            for (const part of ["{", '"max_', "results", '": ', "1}"]) {
              outgoing.write(part);
              await pause(slowness);
            }
          },
        ),
      );
    }
  }

  private send(agent: HttpAgent | undefined, path: string, body: unknown): Promise<string> {
    const headers = { "Content-Type": "application/json" };
    return this.answer(
      `${this.args.uri}/api/2.0/mlflow/${path}`,
      { method: "POST", agent, headers },
      async (outgoing) => void outgoing.write(JSON.stringify(body)),
    );
  }

  /** The body of the answer, whose status must be 200. */
  private answer(
    url: string,
    options: RequestOptions,
    write: (outgoing: ReturnType<typeof open>) => Promise<void> = async () => {},
  ): Promise<string> {
    const { user, password, options: more } = this.args;
    return new Promise((done, reject) => {
      const outgoing = open(url, {
        // false: a connection of its own, closed after the answer.
        ...options,
        agent: options.agent ?? false,
        auth: `${user}:${password}`,
        timeout: 60_000,
        ...more,
      });
      outgoing.on("socket", (socket) => this.watch(socket));
      outgoing.on("response", (incoming) => {
        const connection = this.sockets.get(incoming.socket);
        if (connection !== undefined) {
          connection.announced = incoming.headers.connection === "close";
        }
        let text = "";
        incoming.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk;
        });
        incoming.on("error", reject);
        incoming.on("end", () =>
          incoming.statusCode === 200
            ? done(text)
            : reject(new Error(`status ${incoming.statusCode}: ${text.slice(0, 200)}`)),
        );
      });
      outgoing.on("timeout", () => outgoing.destroy(new Error("no answer in 60 s")));
      outgoing.on("error", (error) =>
        reject(new Error(`${error.message}${outgoing.reusedSocket ? ", on a kept connection" : ""}`)),
      );
      write(outgoing).then(() => outgoing.end(), reject);
    });
  }
}
