import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { join, resolve } from "node:path";
import { type Guest, hostTool, send, until } from "./harness";
import { endingWithUs } from "./processes";

const project = resolve(__dirname, "../..");
const programs = join(project, ".sandbox/pebble");

/** Why Pebble cannot be built on this machine; nothing where it can. From 1.21 on, Go gets the version a module needs. */
export function pebbleIsMissing(): string | undefined {
  try {
    const version = /go(\d+)\.(\d+)/.exec(String(execFileSync("go", ["version"])));
    return Number(version?.[1]) > 1 || Number(version?.[2]) >= 21
      ? undefined
      : `Go 1.21 or newer is needed to build Pebble, this is ${version?.[0]}`;
  } catch {
    return "Go 1.21 or newer is needed to build Pebble, there is none on PATH";
  }
}

/**
 * Let's Encrypt's test server with a name server, on the guest's network: a public certificate authority, for a guest
 * that trusts its API. It validates as the real one does, by asking the name server and then the guest's port 80.
 */
export class Pebble {
  private readonly processes: ChildProcess[] = [];
  private readonly directory: string;
  private readonly address: string;

  constructor(private readonly guest: Guest) {
    this.directory = join(guest.directory, "pebble");
    this.address = guest.address.replace(/\.2$/, ".1");
  }

  get acmeDirectory(): string {
    return `https://${this.address}:14000/dir`;
  }

  /** The file with the authority of the API's own certificate. */
  private get apiAuthority(): string {
    return readFileSync(join(this.directory, "ca.pem"), "utf8");
  }

  /** @param validDays how long its certificates last */
  async start(validDays: number): Promise<void> {
    mkdirSync(this.directory, { recursive: true });
    mkdirSync(programs, { recursive: true });
    hostTool("go", ["build", "-o", `${programs}/`, "tool"], {
      cwd: join(__dirname, "pebble"),
      env: { ...process.env, GOTOOLCHAIN: "auto", GOFLAGS: "-mod=readonly" },
    });
    this.makeApiCertificate();
    const config = join(this.directory, "config.json");
    writeFileSync(
      config,
      JSON.stringify({
        pebble: {
          listenAddress: `${this.address}:14000`,
          managementListenAddress: `${this.address}:15000`,
          certificate: join(this.directory, "api.pem"),
          privateKey: join(this.directory, "api.key"),
          httpPort: 80,
          tlsPort: 443,
          keyAlgorithm: "ecdsa",
          retryAfter: { authz: 1, order: 1 },
          profiles: { default: { description: "short", validityPeriod: validDays * 86400 } },
        },
      }),
    );
    const none = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""];
    const name = ["-dnsserver", `${this.address}:8053`, "-management", `${this.address}:8055`];
    this.run("pebble-challtestsrv", [...none, ...name, "-defaultIPv4", "", "-defaultIPv6", ""]);
    this.run("pebble", ["-config", config, "-dnsserver", `${this.address}:8053`]);
    await until(async () => (await this.root()).includes("BEGIN CERTIFICATE"), "Pebble");
    await this.trustedByGuest();
  }

  stop(): void {
    for (const child of this.processes.splice(0)) {
      child.kill();
    }
  }

  /** Where the name leads to, for the authority. */
  async lead(name: string, address: string): Promise<void> {
    const body = JSON.stringify({ host: name, addresses: [address] });
    await send(`http://${this.address}:8055/clear-a`, { body });
    await send(`http://${this.address}:8055/add-a`, { body });
  }

  /** What a browser would have built in: the certificate at the end of every chain. */
  root(): Promise<string> {
    return new Promise((done, reject) => {
      const outgoing = request(`https://${this.address}:15000/roots/0`, { ca: this.apiAuthority });
      outgoing.on("response", (incoming) => {
        let text = "";
        incoming.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk;
        });
        incoming.on("end", () => done(text));
      });
      outgoing.on("error", reject);
      outgoing.end();
    });
  }

  private run(program: string, args: readonly string[]): void {
    const log = openSync(join(this.directory, `${program}.log`), "w");
    // It would hold its ports.
    this.processes.push(
      spawn("setpriv", endingWithUs(join(programs, program), args), {
        stdio: ["ignore", log, log],
        env: { ...process.env, PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "0", PEBBLE_AUTHZREUSE: "0" },
      }),
    );
  }

  private makeApiCertificate(): void {
    const openssl = (...args: string[]) => hostTool("openssl", args, { cwd: this.directory, stdio: "pipe" });
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"];
    openssl("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Pebble's API");
    const name = ["-subj", "/CN=pebble", "-addext", `subjectAltName=IP:${this.address}`];
    const signed = ["-addext", "basicConstraints=critical,CA:FALSE", "-CA", "ca.pem", "-CAkey", "ca.key"];
    openssl("req", "-x509", ...key, "-keyout", "api.key", "-out", "api.pem", ...name, ...signed);
  }

  private async trustedByGuest(): Promise<void> {
    await this.guest.run(`cat >/usr/local/share/ca-certificates/pebble.crt <<'PEM'
${this.apiAuthority.trim()}
PEM
update-ca-certificates`);
  }
}
