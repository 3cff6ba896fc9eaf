/** Certificates for tests, made anew for each run by openssl. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface ServerCertificate {
  readonly certificate: string;
  readonly key: string;
}

/** A server certificate that signed itself, or one signed by an authority whose certificate then ends its chain. */
export function makeCertificate(subjectAltName: string, days = 30, signed = false): ServerCertificate {
  const directory = mkdtempSync(join(tmpdir(), "mlflow-vps-certificate-"));
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: directory, stdio: "pipe" });
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const names = ["-addext", `subjectAltName=${subjectAltName}`];
  const text = (name: string) => readFileSync(join(directory, name), "utf8");
  try {
    if (!signed) {
      openssl(
        "req",
        "-x509",
        ...ec,
        "-keyout",
        "key",
        "-out",
        "crt",
        "-subj",
        "/CN=server",
        ...names,
        "-days",
        `${days}`,
      );
      return { certificate: text("crt"), key: text("key") };
    }
    openssl(
      "req",
      "-x509",
      ...ec,
      "-keyout",
      "ca.key",
      "-out",
      "ca",
      "-subj",
      "/CN=authority",
      "-days",
      "60",
    );
    openssl("req", "-new", ...ec, "-keyout", "key", "-out", "csr", "-subj", "/CN=server", ...names);
    writeFileSync(
      join(directory, "extensions"),
      `subjectAltName=${subjectAltName}\nbasicConstraints=CA:FALSE\n`,
    );
    openssl(
      ..."x509 -req -in csr -CA ca -CAkey ca.key -CAcreateserial -out crt -extfile extensions".split(" "),
      "-days",
      `${days}`,
    );
    return { certificate: text("crt") + text("ca"), key: text("key") };
  } finally {
    rmSync(directory, { recursive: true });
  }
}
