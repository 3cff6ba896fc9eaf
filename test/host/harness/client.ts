import { writeFileSync } from "node:fs";
import { type RequestOptions, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { join } from "node:path";
import { connect, type PeerCertificate } from "node:tls";
import { python, succeed, succeedWarm } from "../processes";
import { waiting } from "../waits";
import type { Deployment, Outputs } from "./deployment";

/** The certificate that a client of a host trusts, and no other: what the last `up` put out. */
const authorities = new Map<string, string>();

export function trust(outputs: Pick<Outputs, "trackingUri" | "caCertificate">): void {
  authorities.set(new URL(outputs.trackingUri).hostname, outputs.caCertificate);
}

/** A request to a server of the tests, as Node makes it, by HTTP or by HTTPS. */
export function open(url: string, options: RequestOptions): ReturnType<typeof requestHttp> {
  const { protocol, hostname } = new URL(url);
  return protocol === "https:"
    ? requestHttps(url, { ca: authorities.get(hostname), ...options })
    : requestHttp(url, options);
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** One HTTP request, as any client sends it. */
export function send(
  url: string,
  options: {
    method?: string;
    headers?: Record<string, string>;
    user?: string;
    password?: string;
    body?: string;
  } = {},
): Promise<Answer> {
  const { method = options.body === undefined ? "GET" : "POST", headers, user, password, body } = options;
  const auth = user === undefined ? undefined : `${user}:${password}`;
  return new Promise((done, reject) => {
    const outgoing = open(url, { method, headers, auth, timeout: 60_000 });
    outgoing.on("response", (incoming) => {
      let text = "";
      incoming.setEncoding("utf8");
      incoming.on("data", (chunk: string) => {
        text += chunk;
      });
      incoming.on("end", () =>
        done({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: text }),
      );
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error(`${url}: no answer in 60 s`)));
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

/** The certificate that a server shows to a client that trusts `ca`. */
export function certificateOf(
  url: string,
  ca = authorities.get(new URL(url).hostname),
): Promise<PeerCertificate> {
  const { hostname, port } = new URL(url);
  return new Promise((done, reject) => {
    const socket = connect({ host: hostname, port: Number(port || 443), ca }, () => {
      done(socket.getPeerCertificate());
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

/** An API request that reads from the database. */
export function searchExperiments(
  uri: string,
  user?: string,
  password?: string,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return send(`${uri}/api/2.0/mlflow/experiments/search`, {
    user,
    password,
    headers: { "Content-Type": "application/json", ...headers },
    body: '{"max_results": 100}',
  });
}

/** The environment of an MLflow client of a deployment, as its first user, set up as the README says. */
function clientEnvironment(deployment: Deployment): NodeJS.ProcessEnv {
  const { clientEnv, caCertificate } = deployment.outputs;
  const { directory } = deployment.guest;
  writeFileSync(join(directory, "mlflow-ca.pem"), caCertificate);
  const variables = Object.fromEntries(
    clientEnv
      .replace("=mlflow-ca.pem", `=${join(directory, "mlflow-ca.pem")}`) // the tests run elsewhere
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.split(/=(.*)/s, 2)),
  );
  return { ...process.env, MLFLOW_DISABLE_TELEMETRY: "true", ...variables };
}

/** Runs Python with the real MLflow client against a deployment: a script (`-c` and its text), or a file. */
export function client(deployment: Deployment, args: readonly string[]): Promise<string> {
  return waiting("client", () => succeedWarm(args, clientEnvironment(deployment)));
}

/** The same from nothing, as a user starts it. */
export function freshClient(deployment: Deployment, args: readonly string[]): Promise<string> {
  return waiting("client", () => succeed(python, args, clientEnvironment(deployment)));
}
