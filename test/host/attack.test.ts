import { existsSync, readFileSync } from "node:fs";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { Agent, type RequestOptions } from "node:https";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Deployment, Guest, hostTool, open, send, until } from "./harness";

/**
 * An attack on our own guest from outside, through its public address. Requests are sent as bytes, for an HTTP client
 * would tidy them up; a listener on the guest's loopback sees what the proxy lets through to the service.
 */
const guest = new Guest("test-attack");
const deployment = new Deployment(guest, { users: ["ada", "grace"] });

// --- the table -----------------------------------------------------------------------------------------------------

/** What is tried, how, the statuses of the answer (or what it says), and what the service is told of it. */
type Case = readonly [what: string, how: Attempt, answer: string | RegExp, told?: readonly string[]];
/** Does something from an address; everything that comes back. */
type Attempt = (from: string) => Promise<string>;

/** The service hears nothing of it. */
const nothing: readonly string[] = [];
/** {ada} and {grace} are passwords, {host} is the server's address, {from} the caller's, {basic …} is encoded. */
const ada = "Authorization: {basic ada:{ada}}";
const basic = (credentials: string) => `Authorization: {basic ${credentials}}`;
const host = (name: string) => `Host: ${name}\r\n${ada}`;
const origin = (text: string) => `Origin: ${text}`;
const evil = origin("https://evil.example");
const webSocket = "Connection: Upgrade\r\nUpgrade: websocket";
const search = "/api/2.0/mlflow/experiments/search";
const artifacts = "/api/2.0/mlflow-artifacts/artifacts";
const assistant = (path: string) => `/ajax-api/3.0/mlflow${path}/config`;
const post = `POST ${search} HTTP/1.1\r\n${host("{host}")}\r\nContent-Type: application/json\r\n`;
const post2 = [":method POST", `:path ${search}`];
const get = "GET /version";
const ours = origin("https://{host}");
const ourHost = "\r\nHost: {host}\r\n";
const caller = "X-Forwarded-For: {from}\r\n";
const tls12 = { maxVersion: "TLSv1.2" } as const;
const megabyte = "a".repeat(2 ** 20);
const tooLong = megabyte.slice(-(2 ** 16));
const json = '{"max_results": 1}';
const traces = "X-MLflow-Experiment-Id: 0\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: gzip";
const zeros = (bytes: number) => gzipSync(Buffer.alloc(bytes)).toString("latin1");
/** A second request, hidden in or behind a first one. */
const hidden = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
const chunked = "Transfer-Encoding: chunked";
const chunk = (text: string, size = text.length.toString(16)) => `${size}\r\n${text}\r\n0\r\n\r\n`;
const end = "0\r\n\r\n";
const close = "Connection: close";
const preflight = "Access-Control-Request-Method: POST";

/** As nginx of Debian 12 refuses a malformed HTTP/2 request, or that of Debian 13. */
const refused2 = /^(reset|HTTP\/2 400)$/m;

const cases: readonly Case[] = [
  // No credentials: nothing but 401, and the service hears nothing.
  ["no credentials: the interface", visitor("GET /"), "401", nothing],
  ["no credentials: its files", visitor("GET /static-files/static/js/main.js"), "401", nothing],
  ["no credentials: the API", visitor(`GET ${search}?max_results=1`), "401", nothing],
  ["no credentials: the API by POST", visitor(`POST ${search}`, "", json), "401", nothing],
  ["no credentials: an artifact", visitor(`GET ${artifacts}/0/x`), "401", nothing],
  ["no credentials: an upload", visitor(`PUT ${artifacts}/0/planted`, "", "x"), "401", nothing],
  ["no credentials: a deletion", visitor(`DELETE ${artifacts}/0/x`), "401", nothing],
  ["no credentials: /version", visitor(get), "401", nothing],
  ["no credentials: /health", visitor("GET /health"), "401", nothing],
  ["no credentials: GraphQL", visitor("POST /graphql", "", "{}"), "401", nothing],
  ["no credentials: traces", visitor("POST /v1/traces", "", "x"), "401", nothing],
  ["no credentials: the gateway", visitor("GET /gateway/x"), "401", nothing],
  ["no credentials: HTTP/2", visitor2([]), "401", nothing],
  ["no credentials: HTTP/0.9", raw("GET /version\r\n\r\n"), /401 Authorization Required/, nothing],
  ["no credentials: a web socket", visitor("GET /", webSocket), "401", nothing],
  ["no credentials: a preflight", visitor(`OPTIONS ${search}`, ours), "401", nothing],

  // Wrong credentials.
  ["a wrong user", visitor(get, basic("eve:{ada}")), "401", nothing],
  ["a wrong password", visitor(get, basic("ada:wrong")), "401", nothing],
  ["a wrong password by HTTP/2", visitor2(["authorization {basic ada:wrong}"]), "401", nothing],
  ["another user's password", visitor(get, basic("ada:{grace}")), "401", nothing],
  ["the user in capitals", visitor(get, basic("ADA:{ada}")), "401", nothing],
  ["an empty password", visitor(get, basic("ada:")), "401", nothing],
  ["an empty user", visitor(get, basic(":{ada}")), "401", nothing],
  ["no colon", visitor(get, basic("ada")), "401", nothing],
  ["a NUL in the user", visitor(get, basic("ada\0:{ada}")), "401", nothing],
  ["a line break in the user", visitor(get, basic("x\nada:{ada}")), "401", nothing],
  ["not base64", visitor(get, "Authorization: Basic %%%%"), "401", nothing],
  ["not encoded", visitor(get, "Authorization: Basic ada:{ada}"), "401", nothing],
  ["a scheme alone", visitor(get, "Authorization: Basic"), "401", nothing],
  ["the password as Bearer", visitor(get, "Authorization: Bearer {ada}"), "401", nothing],
  ["Digest", visitor(get, 'Authorization: Digest username="ada"'), "401", nothing],
  ["8 KB of credentials", visitor(get, `Authorization: Basic ${"QUFB".repeat(2000)}`), "401", nothing],
  ["credentials for a proxy", visitor(get, `Proxy-${ada}`), "401", nothing],
  ["a user said by headers", visitor(get, "X-Forwarded-User: ada"), "401", nothing],
  ["credentials in the URL", visitor("GET https://ada:{ada}@{host}/version"), "400", nothing],
  ["wrong and right ones", visitor(get, `${basic("a:b")}\r\n${ada}`), "400", nothing],
  ["no credentials, hop by hop", visitor(get, "Connection: Authorization"), "401", nothing],

  // Out of the artifacts' directory, with valid credentials. The file canary is beside the directory.
  ["read ../", user(`GET ${artifacts}/../canary`), "400"],
  ["read ../../..", user(`GET ${artifacts}/../../../../etc/passwd`), "400"],
  ["read %2e%2e", user(`GET ${artifacts}/%2e%2e/canary`), "400"],
  ["read %2f", user(`GET ${artifacts}/..%2fcanary`), "400"],
  ["read %2f, beyond the root", user(`GET ${artifacts}/${"..%2f".repeat(9)}etc%2fpasswd`), "400", nothing],
  ["read %252e%252f", user(`GET ${artifacts}/%252e%252e%252fcanary`), "400"],
  ["read %25252e", user(`GET ${artifacts}/%25252e%25252e%25252fcanary`), "400"],
  ["read ..\\", user(`GET ${artifacts}/..\\canary`), "404"],
  ["read ..%5c", user(`GET ${artifacts}/..%5ccanary`), "404"],
  ["read ..;/", user(`GET ${artifacts}/..;/canary`), "404"],
  ["read ....//", user(`GET ${artifacts}/....//canary`), "404"],
  ["read overlong UTF-8", user(`GET ${artifacts}/%c0%ae%c0%ae/canary`), "404"],
  ["read an absolute path", user(`GET ${artifacts}//etc/passwd`), "400"],
  ["read an absolute path, encoded", user(`GET ${artifacts}/%2fetc%2fpasswd`), "400"],
  ["read an absolute path, encoded twice", user(`GET ${artifacts}/%252fetc%252fpasswd`), "400"],
  ["read file://", user(`GET ${artifacts}/file:///etc/passwd`), "400"],
  ["read with a NUL", user(`GET ${artifacts}/x%00/../canary`), "400", nothing],
  ["read by the interface's API", user("GET /ajax-api/2.0/mlflow-artifacts/artifacts/..%2fcanary"), "400"],
  ["read by HTTP/2", user2([`:path ${artifacts}/..%2fcanary`]), "400"],
  ["write ../", user(`PUT ${artifacts}/../planted`, "", "x"), "400"],
  ["write %2f", user(`PUT ${artifacts}/..%2fplanted`, "", "x"), "400"],
  ["write %252f", user(`PUT ${artifacts}/..%252fcanary`, "", "x"), "400"],
  ["write an absolute path", user(`PUT ${artifacts}/%252ftmp%252fplanted`, "", "x"), "400"],
  ["write ..\\ is but a name", user(`PUT ${artifacts}/..%5cplanted`, "", "x"), "200"],
  ["delete ../", user(`DELETE ${artifacts}/../canary`), "400"],
  ["delete %2f", user(`DELETE ${artifacts}/..%2fcanary`), "400"],
  ["delete %252f", user(`DELETE ${artifacts}/..%252fcanary`), "400"],
  ["delete an absolute path", user(`DELETE ${artifacts}/%252fvar%252flib%252fmlflow%252fcanary`), "400"],
  ["list ../..", user(`GET ${artifacts}?path=../..`), "400"],
  ["list %252e%252e", user(`GET ${artifacts}?path=%252e%252e`), "400"],
  ["list an absolute path", user(`GET ${artifacts}?path=/etc`), "400"],
  ["a run's artifact", user("GET /get-artifact?path=../../etc/passwd&run_uuid=0"), "400"],
  ["a model's artifact", user("GET /model-versions/get-artifact?path=../../passwd&name=a&version=1"), "400"],
  ["the interface's files ../", user("GET /static-files/../../etc/passwd"), "400", nothing],
  ["the interface's files %252f", user("GET /static-files/..%252f..%252fetc/passwd"), "404"],
  // A user may put an experiment anywhere, but each run has a new directory there, and no path leads out of it.
  ["an experiment in /etc", inExperiment("file:///etc", "get", "passwd"), "404"],
  ["an experiment in /etc, ../", inExperiment("file:///etc", "get", "../../passwd"), "400"],
  ["an experiment in /etc, upload", inExperiment("file:///etc", "upload", "planted"), "500"],
  ["an experiment in mlflow-artifacts:/..", inExperiment("mlflow-artifacts:/..", "get", "canary"), "400"],
  ["a model from /etc", modelFrom("file:///etc"), "400"],
  ["a model from the artifacts' neighbour", modelFrom("/var/lib/mlflow"), "400"],

  // For whom the service takes the caller, and for which server itself.
  ["who calls", user(get), "200", [caller, "X-Real-IP: {from}\r\n"]],
  ["which server", user(get), "200", [ourHost, "X-Forwarded-Proto: https\r\n"]],
  ["X-Forwarded-For", user(get, "X-Forwarded-For: 6.6.6.6"), "200", [caller]],
  ["X_Forwarded_For", user(get, "X_Forwarded_For: 6.6.6.6"), "200", [caller]],
  ["X-Real-IP", user(get, "X-Real-IP: 6.6.6.6"), "200", ["X-Real-IP: {from}\r\n"]],
  ["X-Forwarded-Host", user(get, "X-Forwarded-Host: 6.6.6.6"), "200", ["X-Forwarded-Host: {host}\r\n"]],
  ["X-Forwarded-Proto", user(get, "X-Forwarded-Proto: 6.6.6.6"), "200", ["X-Forwarded-Proto: https\r\n"]],
  ["hop by hop", user(get, "Connection: X-Forwarded-For"), "200", [caller]],
  ["a trailer", posts(`${chunked}\r\n${close}`, `12\r\n${json}\r\n0\r\nX-Real-IP: 6.6.6.6\r\n\r\n`), "200"],
  ["another Host", send1(`GET ${search}?max_results=1`, host("evil.example")), "403"],
  ["Host with our port", send1("GET /", host("{host}:443")), "200"],
  ["Host with another port", send1("GET /", host("{host}:5000")), "403"],
  ["Host with a user", send1("GET /", host("evil@{host}")), "403"],
  ["an empty Host", send1("GET /", host("")), "400", nothing],
  ["no Host", send1("GET /", ada), "400", nothing],
  ["two Hosts", send1("GET /", `Host: {host}\r\n${host("evil.example")}`), "400", nothing],
  ["no Host in HTTP/1.0", raw(`GET / HTTP/1.0\r\n${ada}\r\n\r\n`), "400"],
  ["another host in the target", user("GET https://evil.example/version"), "200", [ourHost]],
  ["our host in the target", send1("GET https://{host}/", host("evil.example")), "403"],
  ["another :authority", user2([":authority evil.example", ":path /"]), "403"],
  ["another host beside :authority", user2([":path /", "host evil.example"]), "400", nothing],
  ["port 80", port80("/x?y", "{host}"), leadsTo("/x?y")],
  ["port 80: X-Forwarded-Host", port80("/x", "{host}\r\nX-Forwarded-Host: evil.example"), leadsTo("/x")],
  ["port 80: //", port80("//evil.example", "{host}"), leadsTo("//evil.example")],
  ["port 80: @", port80("@evil.example", "{host}"), "400"],
  ["port 80: a line break", port80("/%0d%0aX-Planted:1", "{host}"), leadsTo("/%0d%0aX-Planted:1")],
  ["port 80: another Host", port80("/x", "evil.example"), leadsTo("/x")],
  ["port 80: another host in the target", port80("http://evil.example/x", "{host}"), leadsTo("/x")],

  // Too large.
  ["a header of 65 KB", user(get, `X-Big: ${tooLong}`), "400", nothing],
  [
    "150 headers of 1 KB",
    user(get, `X-Big: ${megabyte.slice(-1000)}\r\n`.repeat(150).trim()),
    "400",
    nothing,
  ],
  ["headers without end", endless("", "X-Big: 1\r\n".repeat(1000)), "400", nothing],
  ["a path of 65 KB", user(`GET /${tooLong}`), "414", nothing],
  ["a path of 65 KB by HTTP/2", user2([`:path /${tooLong}`]), "goaway", nothing],
  ["a body of 65 MB", posts(`Content-Length: ${65 * 2 ** 20}`, ""), "413", nothing],
  [
    "a body without end",
    endless(`${chunked}\r\n\r\n`, chunk(megabyte).slice(0, -end.length)),
    "413",
    nothing,
  ],
  // MLflow unpacks it whatever its size: one of 64 MB would fill 64 GB of memory.
  ["a gzip bomb of 64 MB", user("POST /v1/traces", traces, zeros(2 ** 26)), "400"],

  // A second request, hidden from the proxy or from the service: all is refused, or is one request.
  ["CL.TE", posts(`Content-Length: 6\r\n${chunked}`, end + hidden), "400", nothing],
  ["TE.CL", posts(`${chunked}\r\nContent-Length: 4`, chunk(hidden)), "400", nothing],
  ["TE with a space", posts("Transfer-Encoding : chunked", end + hidden), "400", nothing],
  ["TE with a tab", posts("Transfer-Encoding:\tchunked", end + hidden), "501", nothing],
  ["TE with a vertical tab", posts("Transfer-Encoding: \x0bchunked", end + hidden), "501", nothing],
  ["TE folded", posts("Transfer-Encoding:\r\n chunked", end + hidden), "400", nothing],
  ["TE unknown", posts("Transfer-Encoding: xchunked", end + hidden), "501", nothing],
  ["TE identity", posts("Transfer-Encoding: identity\r\nContent-Length: 0", hidden), "501", nothing],
  ["TE a list", posts("Transfer-Encoding: chunked, identity", end + hidden), "501", nothing],
  ["TE twice", posts(`${chunked}\r\nTransfer-Encoding: x`, end + hidden), "400", nothing],
  ["TE in HTTP/1.0", raw(`POST / HTTP/1.0\r\n${ada}\r\n${chunked}\r\n\r\n${end}${hidden}`), "400", nothing],
  ["TE in capitals", posts(`Transfer-Encoding: CHUNKED\r\n${close}`, chunk(json)), "200"],
  ["two lengths", posts(`Content-Length: 0\r\nContent-Length: ${hidden.length}`, hidden), "400", nothing],
  ["the same length twice", posts("Content-Length: 18\r\nContent-Length: 18", json), "400", nothing],
  ["a list of lengths", posts("Content-Length: 18, 18", json), "400", nothing],
  ["a negative length", posts("Content-Length: -1", hidden), "400", nothing],
  ["a hexadecimal length", posts("Content-Length: 0x12", json), "400", nothing],
  ["a length with a sign", posts("Content-Length: +18", json), "400", nothing],
  ["a length beyond 64 bits", posts("Content-Length: 99999999999999999999", hidden), "400", nothing],
  ["a length with an underscore", posts(`Content_Length: 0\r\nContent-Length: 18\r\n${close}`, json), "200"],
  ["a negative chunk", posts(chunked, `-1\r\n${hidden}`), "400", nothing],
  ["a chunk beyond 64 bits", posts(chunked, chunk(hidden, "f".repeat(17))), "400", nothing],
  ["a chunk size with 0x", posts(chunked, chunk(json, "0x12")), "400", nothing],
  ["a chunk longer than said", posts(chunked, chunk(`${json}XX`, "12") + hidden), "400", nothing],
  ["a chunk with an extension", posts(`${chunked}\r\n${close}`, chunk(json, "12;x=y")), "200"],
  ["bare LF", raw(`GET /version HTTP/1.1\nHost: {host}\n${ada}\n${close}\n\n`), "200"],
  ["bare CR in a header", user(get, "X: a\rContent-Length: 9"), "400", nothing],
  ["NUL in a header", user(get, "X: a\0b"), "400", nothing],
  ["a space in a header's name", user(get, "X Y: a"), "400", nothing],
  ["a space before a header", user(get, " X: a"), "400", nothing],
  ["a space in the target", user("GET /version HTTP/1.1"), "400", nothing],
  ["a line break in the path", user("GET /x%0d%0aX-Planted:1"), "404", ["GET /x%0d%0aX-Planted:1 HTTP"]],
  ["behind a refusal", visitor("POST /version", "", hidden), "401", nothing],
  ["behind a web socket", keptOpen(webSocket, hidden), "400 401"],
  ["behind h2c", keptOpen("Upgrade: h2c", hidden), "200 401"],
  ["HTTP/2 begun on HTTP/1", raw(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${hidden}`), "400", nothing],
  ["HTTP/3.0", raw(`GET / HTTP/3.0\r\n${host("{host}")}\r\n\r\n`), "505", nothing],
  ["HTTP/2, another length", user2([...post2, "content-length 0"], hidden), "400", nothing],
  ["HTTP/2, chunked", user2([...post2, "transfer-encoding chunked"], end + hidden), "400"],
  ["HTTP/2, a line break in a header", user2([`x a\r\n\r\n${hidden}`]), refused2, nothing],
  ["HTTP/2, a line break in a name", user2([`x:a\r\n\r\n${hidden}`]), refused2, nothing],
  ["HTTP/2, a line break in the path", user2([`:path / HTTP/1.1\r\n\r\n${hidden}`]), refused2, nothing],

  // Pages from elsewhere.
  ["our page", user(`POST ${search}`, `${ours}\r\nContent-Type: application/json`, json), "200"],
  ["our page's preflight", user(`OPTIONS ${search}`, `${ours}\r\n${preflight}`), "200"],
  ["a foreign page: GET", user(`GET ${search}?max_results=1`, evil), "403", nothing],
  ["a foreign page: POST", user(`POST ${search}`, evil, json), "403", nothing],
  ["a foreign page: preflight", visitor(`OPTIONS ${search}`, `${evil}\r\n${preflight}`), "403", nothing],
  ["a foreign page: an upload", user(`PUT ${artifacts}/0/planted`, evil, "x"), "403", nothing],
  ["a foreign page: a web socket", user("GET /", `${evil}\r\n${webSocket}`), "403", nothing],
  ["a foreign page: HTTP/2", user2(["origin https://evil.example"]), "403", nothing],
  ["a page without an origin", user(`POST ${search}`, origin("null"), json), "403", nothing],
  ["a page by plain HTTP", user(get, origin("http://{host}")), "403", nothing],
  ["a page from another port", user(get, origin("https://{host}:8443")), "403", nothing],
  ["an origin like ours", user(get, origin("https://{host}.evil.example")), "403", nothing],
  ["an origin with ours in it", user(get, origin("https://evil.example/https://{host}")), "403", nothing],
  ["an origin with a user", user(get, origin("https://{host}@evil.example")), "403", nothing],
  ["a page of localhost", user(get, origin("http://localhost:3000")), "403", nothing],

  // Closed, however it is written.
  ["TRACE", user("TRACE /"), "405", nothing],
  ["TRACK", user("TRACK /"), "405"],
  ["CONNECT", user("CONNECT 127.0.0.1:5432"), "400", nothing],
  ["CONNECT by HTTP/2", user2([":method CONNECT", ":path /"]), "405", nothing],
  ["metrics", user("GET /metrics"), "404", nothing],
  ["metrics //", user("GET //metrics"), "404", nothing],
  ["metrics %6d", user("GET /%6detrics"), "404", nothing],
  ["metrics ..", user("GET /x/../metrics"), "404", nothing],
  ["metrics by HTTP/2", user2([":path /%6detrics"]), "404", nothing],
  ["from metrics to the API", user(`GET /metrics/..${search}`), "404"],
  ["from metrics to the API, no credentials", visitor(`GET /metrics/..${search}`), "401", nothing],
  ["the assistant", user(`GET ${assistant("/assistant")}`), "404", nothing],
  ["the assistant %61", user(`GET ${assistant("/%61ssistant")}`), "404", nothing],
  ["the assistant %2f", user(`GET ${assistant("%2fassistant")}`), "404", nothing],
  ["the assistant //", user(`GET /${assistant("//assistant")}`), "404", nothing],
  ["the assistant ..", user(`GET ${assistant("/x/../assistant")}`), "404", nothing],
  ["the assistant %2561", user(`GET ${assistant("/%2561ssistant")}`), "404"],
  ["the assistant by the other API", user("GET /api/3.0/mlflow/assistant/config"), "404", nothing],
  ["the assistant by HTTP/2", user2([`:path ${assistant("/%61ssistant")}`]), "404", nothing],
  ["unlocking from outside", user("GET /mlflow-vps/unlock?address={from}"), "403", nothing],

  // TLS.
  ["TLS 1.0", handshake({ maxVersion: "TLSv1" }), /alert protocol version/],
  ["TLS 1.1", handshake({ maxVersion: "TLSv1.1" }), /alert protocol version/],
  ["TLS 1.2", handshake(tls12), /^TLSv1\.2 ECDHE-ECDSA-AES\d+-GCM/],
  ["TLS 1.3", handshake({ minVersion: "TLSv1.3" }), /^TLSv1\.3 /],
  ["no forward secrecy", handshake({ ...tls12, ciphers: "AES128-GCM-SHA256" }), /handshake failure/],
  ["SHA-1", handshake({ ...tls12, ciphers: "ECDHE-ECDSA-AES128-SHA" }), /handshake failure/],
  ["HTTP/2 is offered", handshake({ ALPNProtocols: ["h2", "http/1.1"] }), / h2$/],
  ["plain HTTP to the TLS port", plain(443, `GET / HTTP/1.1\r\n${host("{host}")}\r\n\r\n`), "400", nothing],
  ["TLS to the HTTP port", plain(80, "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"), "400", nothing],
];

// --- how -----------------------------------------------------------------------------------------------------------

/** Puts what is only known on the guest in the place of its name. */
function fill(text: string, from: string): string {
  const values: Record<string, string> = { ...deployment.outputs.users, host: guest.address, from };
  return text
    .replace(/\{(host|from|ada|grace)\}/g, (_, name: string) => values[name] ?? "")
    .replace(/\{basic ([^{}]*)\}/g, (_, pair: string) => `Basic ${Buffer.from(pair).toString("base64")}`);
}

function openTls(from: string, options: ConnectionOptions = {}): TLSSocket {
  const all: ConnectionOptions & { localAddress: string } = {
    host: guest.address,
    port: 443,
    localAddress: from,
    servername: "",
    ca: deployment.outputs.caCertificate,
    ...options,
  };
  return connectTls(all);
}

/** Sends bytes as they are and reads until the other side ends, is done by what it said, or says no more for a second. */
function exchange(socket: Socket, bytes: Buffer, isDone = (_: Buffer) => false): Promise<Buffer> {
  return new Promise((done) => {
    let heard: Buffer = Buffer.alloc(0);
    const finish = () => {
      socket.destroy();
      done(heard);
    };
    let silence = setTimeout(finish, 10_000);
    socket.on("data", (data: Buffer) => {
      heard = Buffer.concat([heard, data]);
      clearTimeout(silence);
      silence = setTimeout(finish, 1000);
      if (isDone(heard)) {
        finish();
      }
    });
    socket.on("error", (error) => {
      heard = Buffer.concat([heard, Buffer.from(heard.length > 0 ? "" : error.message)]);
    });
    socket.on("close", () => {
      clearTimeout(silence);
      done(heard);
    });
    socket.write(bytes);
  });
}

function raw(text: string): Attempt {
  return async (from) =>
    (await exchange(openTls(from), Buffer.from(fill(text, from), "latin1"))).toString("latin1");
}

function plain(port: number, text: string): Attempt {
  return async (from) => {
    const socket = connect({ host: guest.address, port, localAddress: from });
    return (await exchange(socket, Buffer.from(fill(text, from), "latin1"))).toString("latin1");
  };
}

/** One HTTP/1 request as a client would send it, but with no header that is not given. */
function send1(line: string, headers: string, body = ""): Attempt {
  const length = body ? `Content-Length: ${body.length}\r\n` : "";
  return raw(`${line} HTTP/1.1\r\n${headers}\r\n${length}${close}\r\n\r\n${body}`);
}

/** A request without credentials. */
function visitor(line: string, headers = "", body = ""): Attempt {
  return send1(line, headers ? `Host: {host}\r\n${headers}` : "Host: {host}", body);
}

/** A request with valid credentials. */
function user(line: string, headers = "", body = ""): Attempt {
  return visitor(line, headers ? `${ada}\r\n${headers}` : ada, body);
}

/** A request to the API with valid credentials; its body is what the headers make of the rest. */
function posts(headers: string, rest: string): Attempt {
  return raw(`${post}${headers}\r\n\r\n${rest}`);
}

/** A request with valid credentials that does not close the connection, and what is sent behind it. */
function keptOpen(headers: string, rest: string): Attempt {
  return raw(`${get} HTTP/1.1\r\n${host("{host}")}\r\n${headers}\r\n\r\n${rest}`);
}

function port80(target: string, hostHeader: string): Attempt {
  return plain(80, `GET ${target} HTTP/1.1\r\nHost: ${hostHeader}\r\n${close}\r\n\r\n`);
}

function leadsTo(path: string): RegExp {
  return new RegExp(`^HTTP/1.1 308 [^]*\nLocation: https://{host}${path.replace("?", "\\?")}\r\n`);
}

/** An HTTP/2 request without credentials; each field is a name, a space and a value, and is sent as it is. */
function visitor2(fields: readonly string[], body = ""): Attempt {
  return async (from) => {
    const usual = [":method GET", ":scheme https", ":authority {host}", ":path /version"];
    const name = (field: string) => field.slice(0, field.indexOf(" "));
    const all = [...usual.filter((field) => !fields.some((own) => name(own) === name(field))), ...fields];
    const block = all.map((field) => {
      const value = fill(field.slice(name(field).length + 1), from);
      return Buffer.concat([Buffer.from([0]), hpackText(name(field)), hpackText(value)]);
    });
    const bytes = Buffer.concat([
      Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      frame(4, 0, 0),
      ...headerFrames(Buffer.concat(block), body === ""),
      ...(body ? [frame(0, 1, 1, Buffer.from(body))] : []),
    ]);
    const heard = await exchange(openTls(from, { ALPNProtocols: ["h2"] }), bytes, (data) =>
      framesOf(data).some(
        ({ type, flags, stream }) => type === 7 || (stream === 1 && (type === 3 || (flags & 1) === 1)),
      ),
    );
    return framesOf(heard).map(describeFrame).join("\n");
  };
}

function user2(fields: readonly string[], body = ""): Attempt {
  return visitor2([...fields, "authorization {basic ada:{ada}}"], body);
}

/** The header of the first request, in as many frames as it takes: the last one says so, the first whether a body follows. */
function headerFrames(block: Buffer, isAll: boolean): Buffer[] {
  const size = 16_384;
  const count = Math.max(1, Math.ceil(block.length / size));
  return Array.from({ length: count }, (_, index) => {
    const flags = (index === count - 1 ? 4 : 0) | (index === 0 && isAll ? 1 : 0);
    return frame(index === 0 ? 1 : 9, flags, 1, block.subarray(index * size, (index + 1) * size));
  });
}

/** A frame of HTTP/2 (RFC 9113, section 4.1). */
function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.from([0, 0, 0, type, flags, 0, 0, 0, stream]);
  head.writeUIntBE(payload.length, 0, 3);
  return Buffer.concat([head, payload]);
}

/** A text of HPACK, as it is (RFC 7541, section 5.2). */
function hpackText(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  const rest = bytes.length - 127;
  const length = rest < 0 ? [bytes.length] : [127, (rest & 127) | 128, ((rest >> 7) & 127) | 128, rest >> 14];
  return Buffer.concat([Buffer.from(length), bytes]);
}

interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

function framesOf(data: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 9 <= data.length && at + 9 + data.readUIntBE(at, 3) <= data.length; ) {
    const end = at + 9 + data.readUIntBE(at, 3);
    const [type = 0, flags = 0] = [data[at + 3], data[at + 4]];
    frames.push({ type, flags, stream: data.readUInt32BE(at + 5), payload: data.subarray(at + 9, end) });
    at = end;
  }
  return frames;
}

/** What a frame says, as HTTP/1 would say it; nginx puts the status first and does not compress it. */
function describeFrame({ type, flags, payload }: Frame): string {
  if (type === 1) {
    const block = payload[0] === 0x20 ? payload.subarray(1) : payload;
    const known = [200, 204, 206, 304, 400, 404, 500][(block[0] ?? 0) - 0x88];
    return `HTTP/2 ${known ?? block.subarray(2, 5).toString()}`;
  }
  const names: Record<number, string> = {
    0: payload.toString(),
    3: "reset",
    7: "goaway",
    4: flags ? "" : "settings",
  };
  return names[type] ?? "";
}

/** The beginning of a request to the API, and then the same over and over until it is stopped. */
function endless(beginning: string, more: string): Attempt {
  return async (from) => {
    const socket = openTls(from);
    const pour = () => {
      while (socket.writable && socket.write(more));
    };
    socket.on("drain", pour);
    const heard = exchange(socket, Buffer.from(fill(`${post}${beginning}`, from)));
    pour();
    return String(await heard);
  };
}

function handshake(options: ConnectionOptions): Attempt {
  return (from) =>
    new Promise((done) => {
      // Node itself would refuse what is old.
      const socket = openTls(from, {
        minVersion: "TLSv1",
        ...options,
        ciphers: `${options.ciphers ?? "ALL"}:@SECLEVEL=0`,
      });
      socket.on("secureConnect", () => {
        done([socket.getProtocol(), socket.getCipher().name, socket.alpnProtocol || ""].join(" ").trim());
        socket.destroy();
      });
      socket.on("error", (error) => done(error.message));
    });
}

function asAda(path: string, body?: string | object, method?: string) {
  return send(`${deployment.outputs.trackingUri}${path}`, {
    ...(method ? { method } : {}),
    user: "ada",
    password: deployment.outputs.users.ada,
    headers: { "Content-Type": typeof body === "string" ? "text/plain" : "application/json" },
    body: typeof body === "object" ? JSON.stringify(body) : body,
  });
}

/** A run in an experiment whose artifacts are somewhere else: reads or uploads a file there by the interface's way. */
function inExperiment(location: string, action: "get" | "upload", path: string): Attempt {
  return async () => {
    const name = `${location} ${action} ${path} ${Date.now()}`;
    const created = await asAda("/api/2.0/mlflow/experiments/create", { name, artifact_location: location });
    const { experiment_id } = JSON.parse(created.body);
    const { run } = JSON.parse((await asAda("/api/2.0/mlflow/runs/create", { experiment_id })).body);
    const where = `run_uuid=${run.info.run_id}&path=${path}`;
    const answer = await (action === "get"
      ? asAda(`/get-artifact?${where}`)
      : asAda(`/ajax-api/2.0/mlflow/upload-artifact?${where}`, "planted"));
    return `HTTP/1.1 ${answer.status}\r\n\r\n${answer.body}`;
  };
}

function modelFrom(source: string): Attempt {
  return async () => {
    const name = `${source.replaceAll(/\W/g, "-")}-${Date.now()}`;
    await asAda("/api/2.0/mlflow/registered-models/create", { name });
    const answer = await asAda("/api/2.0/mlflow/model-versions/create", { name, source });
    return `HTTP/1.1 ${answer.status}\r\n\r\n${answer.body}`;
  };
}

// --- the guest -----------------------------------------------------------------------------------------------------

/** An address of this machine in the guest's network. */
const address = (last: number) => guest.address.replace(/2$/, String(last));
let used = 0;
/** One for each case, for some fail to log in so often that the next one would be locked out; the lockout has its own. */
const freshAddress = () => address(50 + (used++ % 200));

/** Everything that the proxy has sent to the service so far. */
const wire = () => readFileSync(join(guest.directory, "root/root/wire"), "latin1");

/** The statuses of all answers, and how an HTTP/2 server ends it without one. */
const statuses = (answer: string) =>
  [...answer.matchAll(/HTTP\/[\d.]+ (\d{3})|^(reset|goaway)$/gm)]
    .map(([, status, end]) => status ?? end)
    .join(" ");

/** What the service has been told since, once all of it is there: a request of our own is seen behind it. */
async function toldSince(before: number): Promise<string> {
  const sentinel = `/version?seen-${used}-${before}`;
  await asAda(sentinel);
  await until(async () => wire().includes(sentinel), "our own request on the wire");
  const told = wire().slice(before);
  return told.slice(0, told.indexOf(`GET ${sentinel}`));
}

const canary = "/var/lib/mlflow/canary";

beforeAll(async () => {
  await deployment.serve();
  const device = `mlvps${guest.address.split(".")[2]}`;
  hostTool("ip", ["-batch", "-"], {
    input: Array.from(
      { length: 230 },
      (_, index) => `address add ${address(20 + index)}/24 dev ${device}`,
    ).join("\n"),
  });
  await guest.run(`
    echo "a secret next door" >${canary}; chown mlflow: ${canary}
    cat >/root/listen.py <<'PYTHON'
import socket
listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
listener.bind(("lo", 0))
wire = open("/root/wire", "wb", buffering=0)
while True:
    packet, (_, _, direction, *_) = listener.recvfrom(1 << 17)
    if direction == socket.PACKET_OUTGOING or packet[12:14] != b"\\x08\\x00" or packet[23] != socket.IPPROTO_TCP:
        continue
    tcp = 14 + (packet[14] & 15) * 4
    if int.from_bytes(packet[tcp + 2 : tcp + 4], "big") == 5000:
        wire.write(packet[tcp + (packet[tcp + 12] >> 4) * 4 : 14 + int.from_bytes(packet[16:18], "big")])
PYTHON`);
  await guest.start("exec python3 /root/listen.py");
  await until(async () => {
    await asAda("/version");
    return wire().includes("GET /version");
  }, "the listener");
});
// The addresses go with the guest's network.
afterAll(() => guest.down());

describe("an attack from outside", () => {
  const rows = cases.map(([what, how, answer, told]) => [what, how, answer, told] as const);
  it.each(rows)("%s", async (_what, how, expected, told) => {
    const before = wire().length;
    const from = freshAddress();
    const answer = await how(from);
    if (typeof expected === "string") {
      expect(statuses(answer)).toBe(expected);
    } else {
      expect(answer).toMatch(new RegExp(expected.source.replaceAll("{host}", guest.address), expected.flags));
    }
    expect(answer).not.toMatch(/root:x:0|a secret next door/);
    expect(answer).not.toMatch(/^x-planted/im);
    expect(answer).not.toMatch(/nginx\/|^server: (?!nginx\r$)/im);
    for (const [, origin] of answer.matchAll(/^access-control-allow-origin: (.*)\r$/gim)) {
      expect(new URL(origin ?? "").host).toBe(guest.address);
    }
    const heard = await toldSince(before);
    if (told?.length === 0) {
      expect(heard).toBe("");
    }
    for (const line of told ?? []) {
      expect(heard).toContain(fill(line, from));
    }
    expect(heard).not.toMatch(/^authorization:|6\.6\.6\.6/im);
  });

  it("has read, written and deleted nothing beside the artifacts", async () => {
    const found = await guest.run(`
      stat -c %U ${canary}; cat ${canary}
      find / -xdev -name 'planted*' -not -path '/var/lib/mlflow/artifacts/*'`);
    expect(found).toBe("mlflow\na secret next door");
  });

  it("has got no hidden request answered, and left the service as it was", async () => {
    const log = await guest.run("cat /var/log/mlflow/server.log");
    expect(log).toContain("GET /version?seen");
    expect(log).not.toContain("smuggled");
    expect((await asAda(search, { max_results: 1 })).status).toBe(200);
  });

  it("finds no other open port", async () => {
    const found: number[] = [];
    let next = 1;
    const scan = async () => {
      while (next <= 65_535) {
        const port = next++;
        if (await accepts(port)) {
          found.push(port);
        }
      }
    };
    await Promise.all(Array.from({ length: 500 }, scan));
    expect(found.sort((a, b) => a - b)).toEqual([22, 80, 443]);
  });
});

/** Without a firewall every port answers: it accepts or it refuses. */
function accepts(port: number): Promise<boolean> {
  return new Promise((done, reject) => {
    const attempt = connect({ host: guest.address, port, timeout: 30_000 });
    const finish = (open: boolean) => {
      attempt.destroy();
      done(open);
    };
    attempt.on("connect", () => finish(true));
    attempt.on("error", (error: NodeJS.ErrnoException) =>
      error.code === "ECONNREFUSED" ? finish(false) : reject(error),
    );
    attempt.on("timeout", () => attempt.destroy(new Error(`port ${port} does not answer`)));
  });
}

describe("200 connections that stay idle", () => {
  const half = (text: string) => () => {
    const socket = openTls(address(1));
    socket.write(fill(text, address(1)));
    return socket;
  };
  const artifact = (name: string) => `${artifacts}/idle/${name}`;
  const kinds: [what: string, begin: () => Socket][] = [
    ["TCP only", () => connect({ host: guest.address, port: 443 })],
    ["TLS only", () => openTls(address(1))],
    ["half a header", half("GET /version HTTP/1.1\r\nHost: ")],
    [
      "half a body without credentials",
      half("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\n\r\nx"),
    ],
    ["half a body", half(`${post}Content-Length: 9\r\n\r\n{`)],
    [
      "half an artifact",
      half(`PUT ${artifact("half")} HTTP/1.1\r\n${host("{host}")}\r\nContent-Length: 9\r\n\r\nx`),
    ],
    ["a header byte by byte", half("GET /version HTTP/1.1\r\nX: ")],
    ["no request after the first", half(`${get} HTTP/1.1\r\n${host("{host}")}\r\n\r\n`)],
  ];

  it("disturb nobody for a minute, and are cut off", async () => {
    const begun = Date.now();
    const left = new Set<string>();
    for (const [what, begin] of kinds) {
      for (let count = 0; count < 25; count++) {
        const socket = begin();
        const name = `${what} ${count}`;
        left.add(name);
        const drip = setInterval(() => what.includes("byte by byte") && socket.write("x"), 1000);
        socket.on("error", () => {});
        socket.on("close", () => {
          clearInterval(drip);
          left.delete(name);
        });
        socket.resume();
      }
    }
    let requests = 0;
    for (; Date.now() - begun < 60_000; requests++) {
      if (requests === 5) {
        expect(left.size).toBe(200);
      }
      expect((await asAda(search, { max_results: 1 })).status).toBe(200);
      if (requests % 20 === 0) {
        const body = `artifact ${requests} `.repeat(1000);
        expect((await asAda(artifact("whole"), body, "PUT")).status).toBe(200);
        expect((await asAda(artifact("whole"))).body).toBe(body);
      }
      await new Promise((next) => setTimeout(next, 100));
    }
    expect(requests).toBeGreaterThan(100);
    await until(async () => left.size === 0, "the end of all idle connections", 30).catch((error: Error) => {
      throw new Error(`${error.message}: ${[...left].join(", ")}`);
    });
    expect(await guest.run("ls /var/lib/mlflow/artifacts/idle")).toBe("whole");
  });
});

describe("the lockout", { timeout: 60_000 }, () => {
  const wrong = { auth: "ada:wrong" };
  const right = () => ({ auth: `ada:${deployment.outputs.users.ada}` });
  const lockedOut = (caller: string) =>
    new RegExp(`^403 Too many failed logins from ${caller}: locked out for (\\d+) s\\.\n$`);

  /** The status of one request on a connection of its own, and what is said of a refusal. */
  const ask = (from: string, options: RequestOptions = {}, path = "/version"): Promise<string> =>
    new Promise((done, reject) => {
      const all = { localAddress: from, agent: false as const, ...options };
      open(`${deployment.outputs.trackingUri}${path}`, all)
        .on("response", (answer) => {
          let text = "";
          answer.on("data", (data) => (text += data));
          answer.on("end", () => done(`${answer.statusCode}${answer.statusCode === 403 ? ` ${text}` : ""}`));
        })
        .on("error", reject)
        .end();
    });
  const asked = async (times: number, from: string, options: RequestOptions = {}) => {
    const answers: string[] = [];
    for (let count = 0; count < times; count++) {
      answers.push((await ask(from, options)).slice(0, 3));
    }
    return answers;
  };
  const openHttp2 = (from: string, initialWindowSize?: number) =>
    connectHttp2(deployment.outputs.trackingUri, {
      createConnection: () => openTls(from, { ALPNProtocols: ["h2"] }),
      settings: { initialWindowSize },
    });
  const ask2 = (session: ClientHttp2Session, { auth }: RequestOptions): Promise<string> =>
    new Promise((done, reject) => {
      session
        .request({ ":path": "/version", authorization: `Basic ${btoa(auth ?? "")}` })
        .on("response", (headers) => done(String(headers[":status"])))
        .on("error", reject)
        .end();
    });

  it("leaves nine failed logins alone, and any number without credentials", async () => {
    expect(await asked(9, address(20), wrong)).toEqual(Array(9).fill("401"));
    expect(await asked(20, address(20))).toEqual(Array(20).fill("401"));
    expect(await ask(address(20), right())).toBe("200");
  });

  it("leaves any number of other credentials alone, which bring no password to guess", async () => {
    const from = address(26);
    for (const credentials of [
      "Bearer {ada}",
      "Bearer sk-key",
      'Digest username="ada"',
      "Negotiate YII=",
      "Basic",
    ]) {
      const headers = { Authorization: fill(credentials, from) };
      expect(await asked(10, from, { headers })).toEqual(Array(10).fill("401"));
    }
    expect(await ask(from, right())).toBe("200");
  });

  it("counts Basic however it is written", async () => {
    const from = address(27);
    const headers = { Authorization: `bASIC ${btoa("ada:wrong")}` };
    expect(await asked(10, from, { headers })).toEqual(Array(10).fill("401"));
    expect(await ask(from, right())).toMatch(lockedOut(from));
  });

  it("locks an address out after the tenth, with the right password too, on every connection", async () => {
    const from = address(21);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const session = openHttp2(from);
    expect(await ask(from, { agent, ...right() })).toBe("200");
    expect(await ask2(session, right())).toBe("200");
    expect(await asked(10, from, wrong)).toEqual(Array(10).fill("401"));
    expect(await ask(from, wrong)).toMatch(lockedOut(from));
    expect(await ask(from)).toMatch(lockedOut(from));
    expect(await ask(from, right())).toMatch(lockedOut(from));
    expect(await ask(from, { agent, ...right() })).toMatch(lockedOut(from));
    expect(await ask2(session, right())).toBe("403");
    expect(await ask(from, { ...right(), headers: { "X-Forwarded-For": "127.0.0.1" } })).toMatch(
      lockedOut(from),
    );
    expect(await ask(from, right(), `/mlflow-vps/unlock?address=${from}`)).toMatch(lockedOut(from));
    agent.destroy();
    session.destroy();
  });

  it("counts what an address says to be another's, and what comes by HTTP/2", async () => {
    const from = address(22);
    for (let count = 0; count < 5; count++) {
      expect(await ask(from, { ...wrong, headers: { "X-Forwarded-For": `6.6.6.${count}` } })).toBe("401");
    }
    const session = openHttp2(from);
    for (let count = 0; count < 5; count++) {
      expect(await ask2(session, wrong)).toBe("401");
    }
    expect(await ask2(session, wrong)).toBe("403");
    expect(await ask(from, right())).toMatch(lockedOut(from));
    session.destroy();
  });

  it("counts requests and answers that are left unfinished", async () => {
    const unfinished = `POST /version HTTP/1.1\r\nHost: {host}\r\n${basic("ada:wrong")}\r\nContent-Length: 9\r\n\r\n`;
    const sockets = Array.from({ length: 15 }, () => openTls(address(23)));
    const answers: string[] = [];
    for (const socket of sockets) {
      const first = new Promise<Buffer>((done) => socket.once("data", done));
      socket.write(fill(unfinished, address(23)));
      answers.push(statuses(String(await first)));
    }
    for (const socket of sockets) {
      socket.destroy();
    }
    expect(answers.join(" ")).toBe(`${"401 ".repeat(10)}${"403 ".repeat(5)}`.trim());

    // With a window of one byte, no answer's body can be sent to its end.
    const session = openHttp2(address(24), 1);
    const answers2: string[] = [];
    for (let count = 0; count < 15; count++) {
      answers2.push(await ask2(session, wrong));
    }
    session.destroy();
    expect(answers2.join(" ")).toBe(`${"401 ".repeat(10)}${"403 ".repeat(5)}`.trim());
  });

  it.skipIf(!existsSync("/proc/net/if_inet6"))(
    "takes an IPv6 network of 64 bits for one address",
    async () => {
      const number = guest.address.split(".")[2];
      const network = `fd77:${number}::`;
      await guest.run(`ip address add ${network}1/64 dev host0 nodad`);
      const callers = Array.from({ length: 11 }, (_, index) => `${network}${index + 10}`);
      hostTool("ip", ["-batch", "-"], {
        input: callers.map((caller) => `address add ${caller}/64 dev mlvps${number} nodad`).join("\n"),
      });
      const ipv6 = { hostname: `${network}1`, checkServerIdentity: () => undefined };
      for (const caller of callers.slice(1)) {
        expect(await ask(caller, { ...ipv6, ...wrong })).toBe("401");
      }
      expect(await ask(callers[0] ?? "", { ...ipv6, ...right() })).toMatch(
        lockedOut(`fd77:${number}:0:0::/64`),
      );
    },
  );

  it("does not touch another address, nor the drift check", async () => {
    expect(await ask(address(25), right())).toBe("200");
    expect(await ask(address(25), wrong)).toBe("401");
    expect(await deployment.drift()).toEqual([]);
  });

  it("counts the seconds down, and a reload of nginx does not forget", async () => {
    const from = address(21);
    const seconds = async () => Number((await ask(from, right())).match(lockedOut(from))?.[1]);
    const before = await seconds();
    expect(before).toBeLessThanOrEqual(600);
    const workers = "cat /proc/$(cat /run/nginx.pid)/task/*/children";
    const old = await guest.run(workers);
    await guest.run("systemctl reload nginx");
    await until(
      async () => !(await guest.run(workers)).split(" ").some((worker) => old.split(" ").includes(worker)),
      "new workers",
    );
    await until(async () => (await seconds()) < before, "fewer seconds", 10);
    expect(await seconds()).toBeGreaterThan(before - 60);
  });

  it("is ended by an unlock, asked for on the host by a user", async () => {
    const from = address(21);
    const unlock = (options: string) =>
      guest.run(`curl --silent --insecure ${options} 'https://127.0.0.1/mlflow-vps/unlock?address=${from}'`);
    expect(await unlock("--user ada:wrong")).toContain("401 Authorization Required");
    expect(await ask(from, right())).toMatch(lockedOut(from));
    expect(await unlock(`--user ada:${deployment.outputs.users.ada}`)).toBe(`${from} may log in again`);
    expect(await ask(from, wrong)).toBe("401");
    expect(await ask(from, right())).toBe("200");
  });
});
