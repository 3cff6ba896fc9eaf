import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Browser as Chromium, chromium, type Page, type Request } from "playwright-core";
import { expect } from "vitest";
import { hostTool, type Outputs } from "../host/harness";

/** Where the pictures of the pages are kept. */
export const pictures = resolve(__dirname, "../../.sandbox/results/browser");

/** What the pages ask for in vain, on purpose. */
export const closed = [
  // nginx denies MLflow's assistant: it trusts local callers, and behind a proxy everybody is local.
  "/ajax-api/3.0/mlflow/assistant/config",
  "/ajax-api/3.0/mlflow/assistant/providers",
  // MLflow's own accounts are not used, so there is no such route.
  "/ajax-api/2.0/mlflow/users/current",
];

const isClosed = (url: string) => URL.canParse(url) && closed.includes(new URL(url).pathname);

/** Those of them that were asked for, and answered with 404. */
export const refused = new Set<string>();

/** Playwright is not told of the end of requests for the script of a shared worker. */
const sharedWorker = "/static-files/TelemetryLogger.telemetry-worker.";

/** Chromium of a person who trusts one certificate authority, or none, beside the public ones. */
export class Browser {
  private constructor(
    private readonly home: string,
    private readonly chromium: Chromium,
    private readonly origin: string,
  ) {}

  static async launch({ trackingUri, caCertificate }: Outputs, trusts = true): Promise<Browser> {
    const executablePath = hostTool("scripts/chromium.sh", []).trim();
    const home = mkdtempSync(join(tmpdir(), "mlflow-vps-browser-"));
    const authorities = join(home, ".pki/nssdb");
    mkdirSync(authorities, { recursive: true });
    hostTool("certutil", ["-N", "--empty-password", "-d", `sql:${authorities}`]);
    if (trusts) {
      const file = join(home, "mlflow-ca.pem");
      writeFileSync(file, caCertificate);
      hostTool("certutil", ["-A", "-n", "mlflow-ca", "-t", "C,,", "-i", file, "-d", `sql:${authorities}`]);
    }
    const browser = await chromium.launch({
      executablePath,
      env: { ...process.env, HOME: home },
      // Chromium's own sandbox does not run as root.
      chromiumSandbox: process.getuid?.() !== 0,
      args: [
        // Chromium itself would call its maker.
        `--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE ${new URL(trackingUri).hostname}`,
        `--log-net-log=${join(home, "requests.json")}`,
        "--js-flags=--max-old-space-size=512",
        "--disable-dev-shm-usage",
      ],
    });
    return new Browser(home, browser, new URL(trackingUri).origin);
  }

  /** A page of somebody who was never here before. */
  async page(username: string, password: string): Promise<Page> {
    const context = await this.chromium.newContext({
      httpCredentials: { username, password, origin: this.origin },
      viewport: { width: 1280, height: 720 },
    });
    context.setDefaultTimeout(30_000);
    return context.newPage();
  }

  /** Closes its pages; what they asked of others than the server, workers too, as Chromium's own log has it. */
  async askedElsewhere(): Promise<string[]> {
    await this.chromium.close();
    const { events } = JSON.parse(readFileSync(join(this.home, "requests.json"), "utf8")) as {
      events: { params?: { url?: string; initiator?: string } }[];
    };
    const asked = events.flatMap(({ params }) =>
      params?.initiator === this.origin && params.url !== undefined ? [new URL(params.url)] : [],
    );
    expect(asked.map(({ origin }) => origin)).toContain(this.origin);
    return asked.filter(({ origin }) => origin !== this.origin).map(String);
  }

  async close(): Promise<void> {
    await this.chromium.close();
    rmSync(this.home, { recursive: true });
  }
}

/**
 * Opens a page, looks at it, and keeps a picture of it. Nothing may go wrong until all its requests are answered.
 *
 * @param name of the picture
 */
export async function visit(
  page: Page,
  url: string,
  name: string,
  look: (page: Page) => Promise<void>,
): Promise<void> {
  const troubles: string[] = [];
  const open = new Set<Request>();
  page.on("pageerror", (error) => troubles.push(`error: ${error.message}`));
  page.on("console", (message) => {
    const { url } = message.location();
    if (message.type() === "error" && !isClosed(url)) {
      troubles.push(`console: ${message.text()} ${url}`);
    }
  });
  page.on("request", (request) => {
    if (!request.url().includes(sharedWorker)) {
      open.add(request);
    }
  });
  page.on("requestfinished", (request) => open.delete(request));
  page.on("requestfailed", (request) => {
    open.delete(request);
    troubles.push(`no answer: ${request.url()} ${request.failure()?.errorText}`);
  });
  page.on("response", (response) => {
    if (isClosed(response.url()) && response.status() === 404) {
      refused.add(new URL(response.url()).pathname);
    } else if (response.status() >= 400) {
      troubles.push(`${response.status()}: ${response.url()}`);
    }
  });
  try {
    await page.goto(url);
    await look(page);
    await expect.poll(() => open.size, { timeout: 30_000 }).toBe(0);
  } catch (error) {
    throw troubles.length === 0 ? error : new Error(troubles.join("\n"), { cause: error });
  } finally {
    await page.screenshot({ path: join(pictures, `${name}.png`) });
  }
  expect(troubles).toEqual([]);
  await page.context().close();
}
