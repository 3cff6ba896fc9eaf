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
  const openssl = (line: string, ...more: string[]) =>
    execFileSync("openssl", [...line.split(" "), ...more], { cwd: directory, stdio: "pipe" });
  const key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout";
  const names = ["-addext", `subjectAltName=${subjectAltName}`];
  const text = (name: string) => readFileSync(join(directory, name), "utf8");
  try {
    if (!signed) {
      openssl(`req -x509 ${key} key -out crt -subj /CN=server -days ${days}`, ...names);
      return { certificate: text("crt"), key: text("key") };
    }
    openssl(`req -x509 ${key} ca.key -out ca -subj /CN=authority -days 60`);
    openssl(`req -new ${key} key -out csr -subj /CN=server`);
    writeFileSync(
      join(directory, "extensions"),
      `subjectAltName=${subjectAltName}\nbasicConstraints=CA:FALSE\n`,
    );
    openssl(
      `x509 -req -in csr -CA ca -CAkey ca.key -CAcreateserial -out crt -extfile extensions -days ${days}`,
    );
    return { certificate: text("crt") + text("ca"), key: text("key") };
  } finally {
    rmSync(directory, { recursive: true });
  }
}
