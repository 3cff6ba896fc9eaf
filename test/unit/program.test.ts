import { beforeAll, describe, expect, test } from "vitest";
import { makeCertificate } from "../certificate";
import { loginKey, passphrase } from "./keys";
import {
  commandType,
  fullConfig,
  generatedBytes,
  generatedKey,
  generatedPassword,
  generation,
  passwordType,
  probeType,
  type Registered,
  type Run,
  runProgram,
} from "./mocks";

/** Each step, and the steps that it waits for. */
const order: Readonly<Record<string, readonly string[]>> = {
  preflight: [],
  "packages-python": ["preflight"],
  "packages-servers": ["packages-python"],
  updates: ["packages-servers"],
  runtime: ["packages-python"],
  adoption: ["runtime", "packages-servers"],
  database: ["adoption"],
  certificate: ["packages-servers"],
  schema: ["database", "runtime"],
  service: ["schema"],
  proxy: ["service", "certificate"],
  "firewall-trial": ["proxy"],
  "firewall-kept": ["firewall-trial"],
};
const steps = Object.keys(order);
const text = (value: unknown) => String(value);
const passwordNames = ["database-password", "encryption-passphrase", "user-ada", "user-grace"].map(
  (name) => `mlflow-${name}`,
);
/** As Fernet takes it. */
const webhookKey = generatedBytes("mlflow-webhook-key", { rotation: "1" })
  .replaceAll("+", "-")
  .replaceAll("/", "_");

let run: Run;
beforeAll(async () => {
  run = await runProgram();
}, 30_000);

/** All texts in the inputs of a resource that are not secret. */
function openTexts({ inputs, secrets }: Registered): string[] {
  const texts = (value: unknown): string[] =>
    typeof value === "object" && value !== null
      ? Object.entries(value).flatMap(([key, inner]) => [key, ...texts(inner)])
      : [text(value)];
  return Object.entries(inputs).flatMap(([key, value]) => (secrets.includes(key) ? [] : texts(value)));
}

/** Generation line and script of a command's stdin. */
function splitStdin(command: Registered): { first: string; rest: string } {
  const stdin = text(command.inputs.stdin);
  const end = stdin.indexOf("\n");
  return { first: stdin.slice(0, end), rest: stdin.slice(end + 1) };
}

describe("the resources", () => {
  test("have these parents, names and types: another one replaces what a stack has", () => {
    const lines = run.resources.map(({ parent, name, type }) => `${parent ?? "-"} > ${name}: ${type}`);
    expect(lines.sort()).toMatchInlineSnapshot(`
      [
        "- > mlflow: mlflow:index:MlflowServer",
        "mlflow > mlflow-adoption: mlflow:adoption:Adoption",
        "mlflow > mlflow-authority: mlflow:certificate:Authority",
        "mlflow > mlflow-certificate: mlflow:certificate:Certificate",
        "mlflow > mlflow-database-password: random:index/randomPassword:RandomPassword",
        "mlflow > mlflow-database: mlflow:database:Database",
        "mlflow > mlflow-encryption-passphrase: random:index/randomPassword:RandomPassword",
        "mlflow > mlflow-firewall-kept: mlflow:firewall:Firewall",
        "mlflow > mlflow-firewall-trial: mlflow:firewall:Firewall",
        "mlflow > mlflow-packages-python: mlflow:packages:Packages",
        "mlflow > mlflow-packages-servers: mlflow:packages:Packages",
        "mlflow > mlflow-preflight: mlflow:preflight:Preflight",
        "mlflow > mlflow-proxy: mlflow:proxy:ReverseProxy",
        "mlflow > mlflow-runtime: mlflow:runtime:Runtime",
        "mlflow > mlflow-schema: mlflow:schema:Schema",
        "mlflow > mlflow-service: mlflow:service:Service",
        "mlflow > mlflow-updates: mlflow:updates:Updates",
        "mlflow > mlflow-user-ada: random:index/randomPassword:RandomPassword",
        "mlflow > mlflow-user-grace: random:index/randomPassword:RandomPassword",
        "mlflow > mlflow-webhook-key: random:index/randomBytes:RandomBytes",
        "mlflow-adoption > mlflow-adoption-command: command:remote:Command",
        "mlflow-adoption > mlflow-adoption-probe: pulumi-nodejs:dynamic/mlflow:Probe",
        "mlflow-authority > mlflow-authority-certificate: tls:index/selfSignedCert:SelfSignedCert",
        "mlflow-authority > mlflow-authority-key: tls:index/privateKey:PrivateKey",
        "mlflow-authority > mlflow-authority-server-certificate: tls:index/locallySignedCert:LocallySignedCert",
        "mlflow-authority > mlflow-authority-server-key: tls:index/privateKey:PrivateKey",
        "mlflow-authority > mlflow-authority-server-request: tls:index/certRequest:CertRequest",
        "mlflow-certificate > mlflow-certificate-command: command:remote:Command",
        "mlflow-certificate > mlflow-certificate-probe: pulumi-nodejs:dynamic/mlflow:Probe",
        "mlflow-database > mlflow-database-command: command:remote:Command",
        "mlflow-database > mlflow-database-probe: pulumi-nodejs:dynamic/mlflow:Probe",
        "mlflow-firewall-kept > mlflow-firewall-kept-command: command:remote:Command",
        "mlflow-firewall-kept > mlflow-firewall-kept-probe: pulumi-nodejs:dynamic/mlflow:Probe",
        "mlflow-firewall-trial > mlflow-firewall-trial-command: command:remote:Command",
        "mlflow-firewall-trial > mlflow-firewall-trial-probe: pulumi-nodejs:dynamic/mlflow:Probe",
        "mlflow-packages-python > mlflow-packages-python-command: command:remote:Command",
        "mlflow-packages-python > mlflow-packages-python-probe: pulumi-nodejs:dynamic/mlflow:Probe",
        "mlflow-packages-servers > mlflow-packages-servers-command: command:remote:Command",
        "mlflow-packages-servers > mlflow-packages-servers-probe: pulumi-nodejs:dynamic/mlflow:Probe",
        "mlflow-preflight > mlflow-preflight-command: command:remote:Command",
        "mlflow-preflight > mlflow-preflight-probe: pulumi-nodejs:dynamic/mlflow:Probe",
        "mlflow-proxy > mlflow-proxy-command: command:remote:Command",
        "mlflow-proxy > mlflow-proxy-probe: pulumi-nodejs:dynamic/mlflow:Probe",
        "mlflow-runtime > mlflow-runtime-command: command:remote:Command",
        "mlflow-runtime > mlflow-runtime-probe: pulumi-nodejs:dynamic/mlflow:Probe",
        "mlflow-schema > mlflow-schema-command: command:remote:Command",
        "mlflow-schema > mlflow-schema-probe: pulumi-nodejs:dynamic/mlflow:Probe",
        "mlflow-service > mlflow-service-command: command:remote:Command",
        "mlflow-service > mlflow-service-probe: pulumi-nodejs:dynamic/mlflow:Probe",
        "mlflow-updates > mlflow-updates-command: command:remote:Command",
        "mlflow-updates > mlflow-updates-probe: pulumi-nodejs:dynamic/mlflow:Probe",
      ]
    `);
  });

  test("are one step each for the stages of the setup, every one with a probe and a command", () => {
    for (const step of steps) {
      expect(run.find(probeType, `mlflow-${step}-probe`).parent).toBe(`mlflow-${step}`);
      expect(run.find(commandType, `mlflow-${step}-command`).parent).toBe(`mlflow-${step}`);
    }
    expect(run.ofType(probeType)).toHaveLength(steps.length);
    expect(run.ofType(commandType)).toHaveLength(steps.length);
  });
});

describe("without the firewall", () => {
  test("there is nothing of it: the rest is the same", async () => {
    const { firewall: _, ...config } = fullConfig;
    const without = await runProgram(config);
    const names = (of: Run) => of.resources.map(({ name }) => name).sort();
    expect(names(without)).toEqual(names(run).filter((name) => !name.includes("firewall")));
    const differing = without
      .ofType(commandType)
      .filter(({ name, inputs }) => inputs.create !== run.find(commandType, name).inputs.create);
    expect(differing.map(({ name }) => name)).toEqual(["mlflow-packages-servers-command"]);
    expect(text(differing[0]?.inputs.create)).not.toContain("nftables");
  });
});

describe("the order on the host", () => {
  test.each(Object.entries(order))("%s waits for the commands of: %j", (step, awaited) => {
    const component = run.resources.find(({ name }) => name === `mlflow-${step}`);
    const commands = component?.dependencies.filter((name) => name.endsWith("-command"));
    expect(commands).toEqual(awaited.map((name) => `mlflow-${name}-command`).sort());
  });

  test.each(steps)("nothing of %s begins before what it waits for has ended", async (step) => {
    // The slowest possible earlier steps: each takes several turns of the event loop.
    const { events } = await slowRun();
    for (const earlier of order[step] ?? []) {
      const ended = events.indexOf(`end mlflow-${earlier}-command`);
      expect(ended).toBeGreaterThan(-1);
      expect(events.indexOf(`begin mlflow-${step}-probe`)).toBeGreaterThan(ended);
      expect(events.indexOf(`begin mlflow-${step}-command`)).toBeGreaterThan(ended);
    }
  });

  test.each(steps)("the command of %s begins when its probe has looked", async (step) => {
    const { events } = await slowRun();
    expect(events.indexOf(`begin mlflow-${step}-command`)).toBeGreaterThan(
      events.indexOf(`end mlflow-${step}-probe`),
    );
  });

  test("the runtime is installed beside the larger packages", async () => {
    const pair = ["mlflow-runtime-command", "mlflow-packages-servers-command"];
    const underWay = new Set<string>();
    const outcomes: string[] = [];
    await runProgram(fullConfig, {
      // Each of the two goes on when the other is under way too, or else after a while.
      during: async ({ name }) => {
        if (pair.includes(name)) {
          underWay.add(name);
          for (let turn = 0; turn < 100 && underWay.size < pair.length; turn += 1) {
            await new Promise((done) => setTimeout(done, 10));
          }
          outcomes.push(underWay.size === pair.length ? "beside the other" : "alone");
        }
      },
    });
    expect(outcomes).toEqual(["beside the other", "beside the other"]);
  });

  let slow: Promise<Run> | undefined;
  function slowRun(): Promise<Run> {
    slow ??= runProgram(fullConfig, { during: () => new Promise((done) => setTimeout(done, 10)) });
    return slow;
  }
});

describe("a step's command", () => {
  test.each(steps)("%s runs again when its probe raised the generation", (step) => {
    const { first } = splitStdin(run.find(commandType, `mlflow-${step}-command`));
    // The service's also when the release was healed: what runs is what was on the disk before.
    expect(first).toBe(`# generation ${generation}${step === "service" ? ` ${generation}` : ""}`);
  });

  test("of the service waits for the generation of the release", () => {
    const { dependencies } = run.find(commandType, "mlflow-service-command");
    expect(dependencies).toContain("mlflow-runtime-probe");
  });

  test.each(steps)("%s runs the very script with which its probe looks", (step) => {
    const { rest } = splitStdin(run.find(commandType, `mlflow-${step}-command`));
    const { script } = run.find(probeType, `mlflow-${step}-probe`).inputs;
    expect(text(script)).toContain('\nmain "$@" </dev/null\n');
    expect(rest).toBe(script);
  });

  test("says what it does, as whom, and with which settings", () => {
    const lines = steps.flatMap((step) => {
      const { inputs } = run.find(commandType, `mlflow-${step}-command`);
      const { command } = run.find(probeType, `mlflow-${step}-probe`).inputs;
      return [command, inputs.create, inputs.delete];
    });
    expect(
      lines.map((line) => text(line).replace(/(3\.17\.2)-[0-9a-f]{8}/g, "$1-LOCK")),
    ).toMatchInlineSnapshot(`
      [
        "bash -s check # preflight {"systems":["debian-12","debian-13","ubuntu-22.04","ubuntu-24.04"],"memoryNeeded":1400,"roomNeeded":2500,"roomRunning":500,"release":"/opt/mlflow/releases/3.17.2-LOCK","artifacts":"/srv/mlflow/artifacts","proxyPort":8443,"httpPort":8080,"servicePort":5001,"databasePort":5433}",
        "bash -s apply # preflight {"systems":["debian-12","debian-13","ubuntu-22.04","ubuntu-24.04"],"memoryNeeded":1400,"roomNeeded":2500,"roomRunning":500,"release":"/opt/mlflow/releases/3.17.2-LOCK","artifacts":"/srv/mlflow/artifacts","proxyPort":8443,"httpPort":8080,"servicePort":5001,"databasePort":5433}",
        "bash -s remove # preflight {"systems":["debian-12","debian-13","ubuntu-22.04","ubuntu-24.04"],"memoryNeeded":1400,"roomNeeded":2500,"roomRunning":500,"release":"/opt/mlflow/releases/3.17.2-LOCK","artifacts":"/srv/mlflow/artifacts","proxyPort":8443,"httpPort":8080,"servicePort":5001,"databasePort":5433}",
        "sudo -n bash -s check # packages-python {"packages":["python3","python3-venv","ca-certificates"]}",
        "sudo -n bash -s apply # packages-python {"packages":["python3","python3-venv","ca-certificates"]}",
        "sudo -n bash -s remove # packages-python {"packages":["python3","python3-venv","ca-certificates"]}",
        "sudo -n bash -s check # packages-servers {"packages":["postgresql","nginx","libnginx-mod-http-lua","curl","logrotate","openssl","unattended-upgrades","nftables","iproute2"]}",
        "sudo -n bash -s apply # packages-servers {"packages":["postgresql","nginx","libnginx-mod-http-lua","curl","logrotate","openssl","unattended-upgrades","nftables","iproute2"]}",
        "sudo -n bash -s remove # packages-servers {"packages":["postgresql","nginx","libnginx-mod-http-lua","curl","logrotate","openssl","unattended-upgrades","nftables","iproute2"]}",
        "sudo -n bash -s check # updates {"time":"03:30"}",
        "sudo -n bash -s apply # updates {"time":"03:30"}",
        "sudo -n bash -s remove # updates {"time":"03:30"}",
        "sudo -n bash -s check # runtime {"version":"3.17.2","release":"/opt/mlflow/releases/3.17.2-LOCK"}",
        "sudo -n bash -s apply # runtime {"version":"3.17.2","release":"/opt/mlflow/releases/3.17.2-LOCK"}",
        "sudo -n bash -s remove # runtime {"version":"3.17.2","release":"/opt/mlflow/releases/3.17.2-LOCK"}",
        "sudo -n bash -s check # adoption {"version":"3.17.2","release":"/opt/mlflow/releases/3.17.2-LOCK","account":"mlflow","database":"tracking","databasePort":5433,"artifacts":"/srv/mlflow/artifacts","passwordFile":"/etc/mlflow-vps/pgpass"}",
        "sudo -n bash -s apply # adoption {"version":"3.17.2","release":"/opt/mlflow/releases/3.17.2-LOCK","account":"mlflow","database":"tracking","databasePort":5433,"artifacts":"/srv/mlflow/artifacts","passwordFile":"/etc/mlflow-vps/pgpass"}",
        "sudo -n bash -s remove # adoption {"version":"3.17.2","release":"/opt/mlflow/releases/3.17.2-LOCK","account":"mlflow","database":"tracking","databasePort":5433,"artifacts":"/srv/mlflow/artifacts","passwordFile":"/etc/mlflow-vps/pgpass"}",
        "sudo -n bash -s check # database {"database":"tracking","role":"tracking","databasePort":5433,"account":"mlflow","passwordFile":"/etc/mlflow-vps/pgpass","connections":100,"deleteData":false}",
        "sudo -n bash -s apply # database {"database":"tracking","role":"tracking","databasePort":5433,"account":"mlflow","passwordFile":"/etc/mlflow-vps/pgpass","connections":100,"deleteData":false}",
        "sudo -n bash -s remove # database {"database":"tracking","role":"tracking","databasePort":5433,"account":"mlflow","passwordFile":"/etc/mlflow-vps/pgpass","connections":100,"deleteData":false}",
        "sudo -n bash -s check # certificate {"names":["mlflow.example.org","192.0.2.10"],"daysNeeded":14}",
        "sudo -n bash -s apply # certificate {"names":["mlflow.example.org","192.0.2.10"],"daysNeeded":14}",
        "sudo -n bash -s remove # certificate {"names":["mlflow.example.org","192.0.2.10"],"daysNeeded":14}",
        "sudo -n bash -s check # schema {"version":"3.17.2","release":"/opt/mlflow/releases/3.17.2-LOCK","database":"tracking","role":"tracking","databasePort":5433,"deleteData":false}",
        "sudo -n bash -s apply # schema {"version":"3.17.2","release":"/opt/mlflow/releases/3.17.2-LOCK","database":"tracking","role":"tracking","databasePort":5433,"deleteData":false}",
        "sudo -n bash -s remove # schema {"version":"3.17.2","release":"/opt/mlflow/releases/3.17.2-LOCK","database":"tracking","role":"tracking","databasePort":5433,"deleteData":false}",
        "sudo -n bash -s check # service {"version":"3.17.2","release":"/opt/mlflow/releases/3.17.2-LOCK","port":5001,"artifacts":"/srv/mlflow/artifacts","workers":2,"jobs":false,"deleteData":false}",
        "sudo -n bash -s apply # service {"version":"3.17.2","release":"/opt/mlflow/releases/3.17.2-LOCK","port":5001,"artifacts":"/srv/mlflow/artifacts","workers":2,"jobs":false,"deleteData":false}",
        "sudo -n bash -s remove # service {"version":"3.17.2","release":"/opt/mlflow/releases/3.17.2-LOCK","port":5001,"artifacts":"/srv/mlflow/artifacts","workers":2,"jobs":false,"deleteData":false}",
        "sudo -n bash -s check # proxy {"names":["mlflow.example.org","192.0.2.10"],"port":8443,"secure":true,"httpPort":8080}",
        "sudo -n bash -s apply # proxy {"names":["mlflow.example.org","192.0.2.10"],"port":8443,"secure":true,"httpPort":8080}",
        "sudo -n bash -s remove # proxy {"names":["mlflow.example.org","192.0.2.10"],"port":8443,"secure":true,"httpPort":8080}",
        "sudo -n bash -s check # firewall-trial {"phase":"trial","ports":["8443","8080"]}",
        "sudo -n bash -s apply # firewall-trial {"phase":"trial","ports":["8443","8080"]}",
        "sudo -n bash -s remove # firewall-trial {"phase":"trial","ports":["8443","8080"]}",
        "sudo -n bash -s check # firewall-kept {"phase":"kept","ports":["8443","8080"]}",
        "sudo -n bash -s apply # firewall-kept {"phase":"kept","ports":["8443","8080"]}",
        "sudo -n bash -s remove # firewall-kept {"phase":"kept","ports":["8443","8080"]}",
      ]
    `);
  });

  test("runs without sudo where the login is root", async () => {
    const asRoot = await runProgram({ ...fullConfig, "host.user": "root" });
    for (const { inputs } of asRoot.ofType(commandType)) {
      expect(inputs.create).toMatch(/^bash -s apply #/);
      expect(inputs.delete).toMatch(/^bash -s remove #/);
    }
  });

  test("is changed in place: no triggers, which replace, and nothing in the login's environment", () => {
    for (const { inputs } of run.ofType(commandType)) {
      expect(Object.keys(inputs).sort()).toEqual([
        "addPreviousOutputInEnv",
        "connection",
        "create",
        "delete",
        "stdin",
      ]);
      expect(inputs.addPreviousOutputInEnv).toBe(false);
    }
  });

  test("waits for a host that limits new connections, but for no host that is gone", () => {
    for (const { inputs } of run.ofType(commandType)) {
      expect(inputs.connection).toMatchObject({ dialErrorLimit: 13, perDialTimeout: 5 });
    }
  });

  test("logs in as the config says, and accepts the pinned host key only", () => {
    for (const { inputs } of [...run.ofType(commandType), ...run.ofType(probeType)]) {
      expect(inputs.connection).toMatchObject({
        host: "192.0.2.10",
        port: 2222,
        user: "deploy",
        hostKey: expect.stringMatching(/^ssh-ed25519 \S+$/),
        privateKey: expect.stringContaining(loginKey.private.trim()),
      });
    }
  });

  test.each(["preflight"])(
    "%s refuses an unfit host before anything is changed, no other step does",
    (name) => {
      const demanding = run.ofType(probeType).filter(({ inputs }) => inputs.demand === true);
      expect(demanding.map((probe) => probe.name)).toEqual([`mlflow-${name}-probe`]);
    },
  );
});

describe("secrets", () => {
  test("the connection and what is sent to the host are secret", () => {
    for (const command of run.ofType(commandType)) {
      expect(command.secrets).toEqual(expect.arrayContaining(["connection", "stdin"]));
    }
    for (const probe of run.ofType(probeType)) {
      expect(probe.secrets).toEqual(expect.arrayContaining(["connection", "script"]));
    }
  });

  test("stand in no command line and in no other open input of any resource", async () => {
    const withPassphrase = await runProgram({ ...fullConfig, "host.privateKeyPassphrase": passphrase });
    const secrets = [
      ...withPassphrase
        .ofType(passwordType)
        .map(({ name, inputs }) => generatedPassword(name, inputs.keepers)),
      webhookKey,
      passphrase,
      loginKey.private.trim(),
      // Its lines too, should somebody wrap it in another way.
      ...loginKey.private.split("\n").filter((line) => line.length > 40),
    ];
    expect(withPassphrase.ofType(passwordType)).toHaveLength(passwordNames.length);
    const sent = withPassphrase
      .ofType(commandType)
      .map(({ inputs }) => JSON.stringify(inputs))
      .join();
    for (const secret of secrets) {
      expect(sent).toContain(JSON.stringify(secret).slice(1, -1)); // it is in use, so a leak could be seen
      for (const resource of withPassphrase.resources) {
        for (const open of openTexts(resource)) {
          expect(open, `${resource.name} shows a secret`).not.toContain(secret);
        }
      }
    }
  });

  test("the outputs that hold passwords are secret, the others can be read", () => {
    expect(
      Object.fromEntries(Object.entries(run.outputs).map(([name, output]) => [name, output.secret])),
    ).toEqual({
      trackingUri: false,
      users: true,
      clientEnv: true,
      caCertificate: false,
      mlflowVersion: false,
      artifactsDirectory: false,
      databaseName: false,
    });
  });

  test("reach the steps that need them", () => {
    const stdin = (step: string) => text(run.find(commandType, `mlflow-${step}-command`).inputs.stdin);
    const secret = (name: string) => generatedPassword(name, { rotation: "1" });
    expect(stdin("database")).toContain(
      `127.0.0.1:5433:tracking:tracking:${secret("mlflow-database-password")}`,
    );
    expect(stdin("service")).toContain(
      `MLFLOW_CRYPTO_KEK_PASSPHRASE=${secret("mlflow-encryption-passphrase")}`,
    );
    expect(stdin("service")).toContain(`MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY=${webhookKey}\n`);
    expect(webhookKey).toMatch(/^[A-Za-z0-9_-]{43}=$/); // 32 bytes
    expect(stdin("proxy")).toContain(`['ada']='${secret("mlflow-user-ada")}'`);
    expect(stdin("proxy")).toContain(`['grace']='${secret("mlflow-user-grace")}'`);
  });

  test("go to no step that does not need them", () => {
    const secrets: [string, string][] = [
      ...passwordNames.map((name): [string, string] => [name, generatedPassword(name, { rotation: "1" })]),
      ["mlflow-webhook-key", webhookKey],
    ];
    const holders = secrets.map(([name, secret]) => [
      name,
      ...run
        .ofType(commandType)
        .filter(({ inputs }) => text(inputs.stdin).includes(secret))
        .map((command) => command.name),
    ]);
    expect(holders).toEqual([
      ["mlflow-database-password", "mlflow-database-command"],
      ["mlflow-encryption-passphrase", "mlflow-service-command"],
      ["mlflow-user-ada", "mlflow-proxy-command"],
      ["mlflow-user-grace", "mlflow-proxy-command"],
      ["mlflow-webhook-key", "mlflow-service-command"],
    ]);
  });
});

describe("the server's certificate", () => {
  const server = makeCertificate("DNS:mlflow.example.org");
  const modes: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    selfSigned: {},
    acme: { "tls.mode": "acme", "tls.email": "ada@example.org" },
    provided: {
      "tls.mode": "provided",
      "tls.certificate": server.certificate,
      "tls.privateKey": server.key,
    },
    none: { "tls.mode": "none", "tls.allowPlainHttp": "true" },
  };
  const inMode = (mode: string) => runProgram({ ...fullConfig, ...modes[mode] });
  const stdin = (of: Run, step: string) => text(of.find(commandType, `mlflow-${step}-command`).inputs.stdin);
  const tlsResources = (of: Run) => of.resources.filter(({ type }) => type.startsWith("tls:"));

  test("of the stack's own authority is for all names, and renewed before it ends", () => {
    const [request] = run.ofType("tls:index/certRequest:CertRequest");
    expect(request?.inputs).toMatchObject({
      dnsNames: ["mlflow.example.org"],
      ipAddresses: ["192.0.2.10"],
    });
    const [certificate] = run.ofType("tls:index/locallySignedCert:LocallySignedCert");
    const { validityPeriodHours, earlyRenewalHours } = certificate?.inputs ?? {};
    expect(Number(validityPeriodHours) / 24).toBeLessThan(398); // what Apple's systems accept at most
    expect(Number(earlyRenewalHours) / 24).toBeGreaterThanOrEqual(30);
    expect(Number(earlyRenewalHours)).toBeLessThan(Number(validityPeriodHours));
    const [authority] = run.ofType("tls:index/selfSignedCert:SelfSignedCert");
    expect(authority?.inputs.isCaCertificate).toBe(true);
    expect(Number(authority?.inputs.earlyRenewalHours)).toBeGreaterThan(Number(validityPeriodHours));
  });

  test("reaches the host with its key, which is secret wherever it stands", () => {
    const key = generatedKey("mlflow-authority-server-key");
    expect(stdin(run, "certificate")).toContain(key.trim());
    for (const resource of run.resources) {
      for (const open of openTexts(resource)) {
        expect(open).not.toContain("PRIVATE KEY");
      }
      expect(JSON.stringify(resource.inputs).includes(key.trim()), resource.name).toBe(
        ["certificate-probe", "certificate-command", "authority-server-request"].includes(
          resource.name.replace("mlflow-", ""),
        ),
      );
    }
  });

  test("does not change with the authority's name, which clients trust", async () => {
    const other = await runProgram({ ...fullConfig, domain: "other.example.org" });
    const authority = (of: Run) =>
      of.find("tls:index/selfSignedCert:SelfSignedCert", "mlflow-authority-certificate");
    expect(authority(other)).toEqual(authority(run));
  });

  test("of a public authority is got after the proxy runs, which needs a certificate to start", async () => {
    const acme = await inMode("acme");
    expect(tlsResources(acme)).toEqual([]);
    const component = acme.resources.find(({ name }) => name === "mlflow-acme");
    expect(component?.dependencies).toContain("mlflow-proxy-command");
    expect(stdin(acme, "certificate")).toContain("declare -r pem=''");
    expect(stdin(acme, "acme")).toContain("declare -r email='ada@example.org'");
    expect(text(acme.find(commandType, "mlflow-packages-servers-command").inputs.create)).toContain(
      "certbot",
    );
    expect(stdin(acme, "proxy")).toContain("location /.well-known/acme-challenge/");
    expect(acme.outputs.caCertificate?.value).toBe("");
    expect(acme.outputs.clientEnv?.value).not.toContain("CERT_PATH");
  });

  test("that is provided is the one on the host", async () => {
    const provided = await inMode("provided");
    expect(tlsResources(provided)).toEqual([]);
    expect(stdin(provided, "certificate")).toContain(server.certificate.trim());
    expect(stdin(provided, "certificate")).toContain(server.key.trim());
    expect(provided.outputs.caCertificate?.value).toBe(server.certificate); // it signed itself
    for (const resource of provided.resources) {
      for (const open of openTexts(resource)) {
        expect(open).not.toContain("PRIVATE KEY");
      }
    }
  });

  test("is none where plain HTTP is allowed", async () => {
    const none = await inMode("none");
    expect(
      none.resources.map(({ name }) => name).filter((name) => /certificate|authority|acme/.test(name)),
    ).toEqual([]);
    expect(stdin(none, "proxy")).not.toContain("ssl_certificate /etc");
    expect(none.outputs.clientEnv?.value).not.toContain("CERT_PATH");
  });

  test("brings strict transport only where a browser knows its authority", async () => {
    const strict: Record<string, boolean> = {};
    for (const mode of Object.keys(modes)) {
      strict[mode] = stdin(await inMode(mode), "proxy").includes("Strict-Transport");
    }
    expect(strict).toEqual({ selfSigned: false, acme: true, provided: true, none: false });
  });

  test("changes its mode without a restart of the service", async () => {
    const usual = { "proxy.port": "auto", "proxy.httpPort": "80" };
    const services = new Set<string>();
    for (const change of Object.values(modes)) {
      services.add(stdin(await runProgram({ ...fullConfig, ...usual, ...change }), "service"));
    }
    expect(services.size).toBe(1);
  });
});

describe("generated passwords", () => {
  const keepers = (of: Run) =>
    Object.fromEntries(of.ofType(passwordType).map((it) => [it.name, it.inputs.keepers]));
  const unchanged = Object.fromEntries(passwordNames.map((name) => [name, { rotation: "1" }]));

  test("have at least 128 bits, of letters and digits that need no quoting anywhere", () => {
    for (const { inputs } of run.ofType(passwordType)) {
      const { length, special, upper = true, lower = true, number = true, numeric = true } = inputs;
      expect(special).toBe(false);
      const alphabet = (upper ? 26 : 0) + (lower ? 26 : 0) + (number && numeric ? 10 : 0);
      expect(Number(length) * Math.log2(alphabet)).toBeGreaterThanOrEqual(128);
    }
  });

  test("are kept by their rotation from the first day", () => {
    expect(keepers(run)).toEqual(unchanged);
  });

  test("raising rotation.database renews the database's password and no other", async () => {
    const raised = await runProgram({ ...fullConfig, "rotation.database": "2" });
    expect(keepers(raised)).toEqual({ ...unchanged, "mlflow-database-password": { rotation: "2" } });
  });

  test("raising rotation.users.grace renews the password of grace and no other", async () => {
    const raised = await runProgram({ ...fullConfig, "rotation.users.grace": "5" });
    expect(keepers(raised)).toEqual({ ...unchanged, "mlflow-user-grace": { rotation: "5" } });
  });

  test("a new user gets one, and nothing else is made or renewed", async () => {
    const more = await runProgram({ ...fullConfig, users: '["ada","edsger","grace"]' });
    expect(keepers(more)).toEqual({ ...unchanged, "mlflow-user-edsger": { rotation: "1" } });
    expect(more.resources).toHaveLength(run.resources.length + 1);
  });

  test("without a user, that password goes and nothing else", async () => {
    const fewer = await runProgram({ ...fullConfig, users: '["grace"]' });
    const { "mlflow-user-ada": _, ...rest } = unchanged;
    expect(keepers(fewer)).toEqual(rest);
    expect(fewer.resources).toHaveLength(run.resources.length - 1);
  });
});

describe("the outputs", () => {
  const passwordOf = (user: string) => generatedPassword(`mlflow-user-${user}`, { rotation: "1" });

  test("say where the server is, what it is, and who may enter", () => {
    expect(Object.fromEntries(Object.entries(run.outputs).map(([name, { value }]) => [name, value]))).toEqual(
      {
        trackingUri: "https://mlflow.example.org:8443",
        users: { ada: passwordOf("ada"), grace: passwordOf("grace") },
        clientEnv: [
          "MLFLOW_TRACKING_URI=https://mlflow.example.org:8443",
          "MLFLOW_TRACKING_USERNAME=ada",
          `MLFLOW_TRACKING_PASSWORD=${passwordOf("ada")}`,
          "MLFLOW_TRACKING_SERVER_CERT_PATH=mlflow-ca.pem",
          "",
        ].join("\n"),
        caCertificate: "CERTIFICATE of mlflow-authority-certificate\n",
        mlflowVersion: "3.17.2",
        artifactsDirectory: "/srv/mlflow/artifacts",
        databaseName: "tracking",
      },
    );
  });

  test("name the address where there is no domain, and no port where it is the usual one", async () => {
    const { domain: _, "proxy.port": __, ...config } = fullConfig;
    const { outputs } = await runProgram(config);
    expect(outputs.trackingUri?.value).toBe("https://192.0.2.10");
    const plain = await runProgram({ ...config, "tls.mode": "none", "tls.allowPlainHttp": "true" });
    expect(plain.outputs.trackingUri?.value).toBe("http://192.0.2.10");
  });
});

describe("automatic updates", () => {
  test("that are switched off are no step and no package, and nothing else changes", async () => {
    const off = await runProgram({ ...fullConfig, "updates.automatic": "false" });
    const names = (of: Run) => of.resources.map(({ name }) => name);
    expect(names(run).filter((name) => !names(off).includes(name))).toEqual([
      "mlflow-updates",
      "mlflow-updates-probe",
      "mlflow-updates-command",
    ]);
    const changed = off.resources.filter(
      ({ type, name, inputs }) => JSON.stringify(inputs) !== JSON.stringify(run.find(type, name).inputs),
    );
    expect(changed.map(({ name }) => name)).toEqual([
      "mlflow-packages-servers-probe",
      "mlflow-packages-servers-command",
    ]);
    expect(text(off.find(commandType, "mlflow-packages-servers-command").inputs.stdin)).not.toContain(
      "unattended-upgrades",
    );
  });
});

describe("settings", () => {
  /** Names of the steps whose command an `up` would run again after this change of the config. */
  async function changed(change: Readonly<Record<string, string>>): Promise<string[]> {
    const after = await runProgram({ ...fullConfig, ...change });
    return steps.filter((step) => {
      const name = `mlflow-${step}-command`;
      return JSON.stringify(run.find(commandType, name)) !== JSON.stringify(after.find(commandType, name));
    });
  }

  const portSteps = ["preflight", "service", "proxy", "firewall-trial", "firewall-kept"];

  test("nothing runs again where nothing is changed", async () => {
    expect(await changed({})).toEqual([]);
  });

  test.each([
    ["another number of workers", { "service.workers": "3" }, ["service"]],
    [
      "another version of MLflow",
      { "mlflow.version": "3.16.1" },
      ["preflight", "runtime", "adoption", "schema", "service"],
    ],
    ["another user", { users: '["ada","grace","edsger"]' }, ["proxy"]],
    ["another domain", { domain: "other.example.org" }, ["certificate", "service", "proxy"]],
    ["a renewed database password", { "rotation.database": "2" }, ["database"]],
    ["a renewed user's password", { "rotation.users.ada": "2" }, ["proxy"]],
    ["another hour of the updates", { "updates.time": "05:00" }, ["updates"]],
    ["another port for the clients", { "proxy.port": "8444" }, portSteps],
    ["leave to delete the data", { "data.deleteOnDestroy": "true" }, ["database", "schema", "service"]],
    ["another address", { "host.address": "192.0.2.11" }, steps],
  ])("%s reaches the steps that it concerns and no other", async (_, change, expected) => {
    expect(await changed(change as Record<string, string>)).toEqual(expected);
  });
});
