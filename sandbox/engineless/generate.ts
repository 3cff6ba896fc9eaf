import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What the random provider's password resource generates. */
export function randomPassword(length: number): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  // 62 * 4 = 248: bytes above are left out, so that every character is equally likely.
  const bytes = [...randomBytes(length * 4)].filter((byte) => byte < 248).slice(0, length);
  return bytes.map((byte) => alphabet[byte % 62]).join("");
}

/** What the random provider's bytes resource generates. */
export function generateBytes(length: number): { readonly base64: string; readonly hex: string } {
  const bytes = randomBytes(length);
  return { base64: bytes.toString("base64"), hex: bytes.toString("hex") };
}

export type TlsInputs = Readonly<Record<string, unknown>>;

/** What the tls provider's resources generate, made by openssl with the inputs that the program uses. */
export function generateTls(kind: string, inputs: TlsInputs): Record<string, string> {
  const make = tlsResources[kind];
  if (make === undefined) {
    throw new Error(`the program has a resource of tls:index/${kind}, which only an engine can make`);
  }
  const directory = mkdtempSync(join(tmpdir(), "mlflow-vps-"));
  try {
    return make(inputs, (name, content) => {
      const file = join(directory, name);
      writeFileSync(file, String(content), { mode: 0o600 });
      return file;
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Writes a file for openssl; its path. */
type Put = (name: string, content: unknown) => string;

const tlsResources: Readonly<Record<string, (inputs: TlsInputs, put: Put) => Record<string, string>>> = {
  "privateKey:PrivateKey": () => ({
    privateKeyPem: openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
  }),

  "selfSignedCert:SelfSignedCert": (inputs, put) => {
    const key = put("key", inputs.privateKeyPem);
    const extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"];
    const added = extensions.flatMap((extension) => ["-addext", extension]);
    const request = ["-key", key, "-subj", subject(inputs), "-days", days(inputs)];
    return { certPem: openssl("req", "-x509", "-new", ...request, ...added) };
  },

  "certRequest:CertRequest": (inputs, put) => {
    const key = put("key", inputs.privateKeyPem);
    const names = [
      ...list(inputs, "dnsNames").map((name) => `DNS:${name}`),
      ...list(inputs, "ipAddresses").map((address) => `IP:${address}`),
    ];
    const added = ["-addext", `subjectAltName=${names.join(",")}`];
    return { certRequestPem: openssl("req", "-new", "-key", key, "-subj", subject(inputs), ...added) };
  },

  "locallySignedCert:LocallySignedCert": (inputs, put) => {
    const request = ["-in", put("request", inputs.certRequestPem)];
    const authority = ["-CA", put("ca", inputs.caCertPem), "-CAkey", put("key", inputs.caPrivateKeyPem)];
    const options = ["-CAcreateserial", "-days", days(inputs), "-copy_extensions", "copy"];
    return { certPem: openssl("x509", "-req", ...request, ...authority, ...options) };
  },
};

function openssl(...args: string[]): string {
  return String(execFileSync("openssl", args, { stdio: ["ignore", "pipe", "pipe"] }));
}

function list(inputs: TlsInputs, name: string): string[] {
  return (inputs[name] ?? []) as string[];
}

function subject(inputs: TlsInputs): string {
  return `/CN=${(inputs.subject as { commonName: string }).commonName}`;
}

function days(inputs: TlsInputs): string {
  return String(Number(inputs.validityPeriodHours) / 24);
}
