/** The whole program against the SDK's mock monitor: what it registers, in which order, and which values are secret. */
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import * as pulumi from "@pulumi/pulumi";
import { vi } from "vitest";
import { unwrap } from "../../sandbox/engineless/unwrap";
import { hostKey, loginKey } from "./keys";

export const passwordType = "random:index/randomPassword:RandomPassword";
export const probeType = "pulumi-nodejs:dynamic/mlflow:Probe";
export const commandType = "command:remote:Command";

export interface Registered {
  readonly type: string;
  readonly name: string;
  /** Inputs as the provider would see them. */
  readonly inputs: Readonly<Record<string, unknown>>;
  /** Names of the inputs that are secret. */
  readonly secrets: readonly string[];
  /** Name of the parent; nothing for the outermost resource. */
  readonly parent?: string;
  /** Names of the resources that this one waits for: named ones and those whose outputs it uses. */
  readonly dependencies: readonly string[];
}

export interface ExportedValue {
  readonly value: unknown;
  readonly secret: boolean;
}

export interface Run {
  readonly resources: readonly Registered[];
  /** What the program exports; nothing of it in a preview. */
  readonly outputs: Readonly<Record<string, ExportedValue>>;
  /** The one resource of a type and name. */
  readonly find: (type: string, name: string) => Registered;
  readonly ofType: (type: string) => Registered[];
  /** `begin NAME` and `end NAME`, in the order in which an engine would carry them out. */
  readonly events: readonly string[];
}

/** A config that sets everything that the program needs, and names two users. */
export const fullConfig: Readonly<Record<string, string>> = {
  "host.address": "192.0.2.10",
  "host.port": "2222",
  "host.user": "deploy",
  "host.hostKey": hostKey.public,
  "host.privateKey": loginKey.private,
  domain: "mlflow.example.org",
  users: '["ada","grace"]',
  "mlflow.version": "3.17.2",
  "service.workers": "2",
  "service.jobs": "false",
  "service.port": "5001",
  "tls.mode": "selfSigned",
  "proxy.port": "8443",
  "proxy.httpPort": "8080",
  "database.name": "tracking",
  "database.port": "5433",
  "artifacts.directory": "/srv/mlflow/artifacts",
  "data.deleteOnDestroy": "false",
  "updates.automatic": "true",
  "updates.time": "03:30",
  firewall: "true",
  "rotation.database": "1",
};

/** What RandomPassword generates under mocks: another one for another name or other keepers. */
export function generatedPassword(name: string, keepers: unknown): string {
  return createHash("sha256")
    .update(JSON.stringify([name, keepers]))
    .digest("hex")
    .slice(0, 32);
}

/** What RandomBytes generates under mocks, in base64, with all the characters that URLs do not take. */
export function generatedBytes(name: string, keepers: unknown): string {
  const hash = createHash("sha256")
    .update(JSON.stringify([name, keepers]))
    .digest();
  return Buffer.from([0xfb, 0xff, 0xfe, ...hash.subarray(3)]).toString("base64");
}

/** What tls.PrivateKey generates under mocks. */
export const generatedKey = (name: string) => `PRIVATE KEY of ${name}\n`;

/** The generation that probes have under mocks. */
export const generation = 7;

export interface RunOptions {
  /** Called while a resource is being made; nothing that depends on the resource goes on before it ends. */
  readonly during?: (resource: Registered) => Promise<void>;
  /** What runs in place of index.ts; it must import what it runs, for modules are loaded anew. @default index.ts */
  readonly program?: () => Promise<Readonly<Record<string, unknown>>>;
  /** Outputs of resources that this project does not make itself. */
  readonly outputsOfOthers?: (resource: Registered) => Readonly<Record<string, unknown>> | undefined;
  /** Only look ahead: outputs that a provider leaves out are not known. @default false */
  readonly preview?: boolean;
}

/**
 * The SDK stores a probe's code in the state. It cannot read it in the form that vitest gives to modules, and takes
 * long to try; probe.test.ts does it in the form that a real `up` runs.
 */
function storeNoCode(): void {
  const serializer = createRequire(__filename)("@pulumi/pulumi/runtime/closure/serializeClosure");
  serializer.serializeFunction = async () => ({ text: "code of the probe", containsSecrets: false });
}

/** Runs the program from the start with these config values of the project, as `pulumi up` does. */
export async function runProgram(
  config: Readonly<Record<string, string>> = fullConfig,
  {
    during,
    program = () => import("../../index"),
    outputsOfOthers = () => undefined,
    preview = false,
  }: RunOptions = {},
): Promise<Run> {
  const resources: Registered[] = [];
  const events: string[] = [];
  const requests = new Map<string, { parent?: string; dependencies: string[] }>();

  storeNoCode();
  vi.resetModules(); // the program and the components are loaded anew
  // The SDK keeps a stack for each of its thousands of promises, which takes longer than all the rest.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  await pulumi.runtime.setMocks(
    {
      call: ({ token }) => {
        throw new Error(`the program calls ${token}, which the tests do not know`);
      },
      newResource: async ({ type, name, inputs }) => {
        const request = requests.get(`${type} ${name}`);
        if (request === undefined) {
          throw new Error(`${type} ${name} was not registered`);
        }
        const resource: Registered = {
          type,
          name,
          inputs: unwrap(inputs) as Registered["inputs"],
          secrets: Object.keys(inputs).filter((key) => pulumi.runtime.isRpcSecret(inputs[key])),
          ...request,
        };
        resources.push(resource);
        events.push(`begin ${name}`);
        await during?.(resource);
        events.push(`end ${name}`);
        return {
          id: `id-of-${name}`,
          state: { ...inputs, ...(outputsOfOthers(resource) ?? outputsOf(resource)) },
        };
      },
    },
    "mlflow-vps",
    "unit",
    preview,
  );
  recordRequests(requests);
  pulumi.runtime.setAllConfig(
    Object.fromEntries(Object.entries(config).map(([key, value]) => [`mlflow-vps:${key}`, value])),
  );

  const outputs: Record<string, ExportedValue> = {};
  try {
    const exported: Record<string, pulumi.Input<unknown>> = { ...(await program()) };
    // What is not known yet in a preview never comes.
    for (const [name, output] of preview ? [] : Object.entries(exported)) {
      outputs[name] = {
        value: await settled(output),
        secret: pulumi.Output.isInstance(output) && (await pulumi.isSecret(output)),
      };
    }
    await pulumi.runtime.disconnect(); // waits until every registration has come to its end
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }

  const ofType = (type: string) => resources.filter((resource) => resource.type === type);
  return {
    resources,
    outputs,
    events,
    ofType,
    find: (type, name) => {
      const [found, ...more] = ofType(type).filter((resource) => resource.name === name);
      if (found === undefined || more.length > 0) {
        throw new Error(`there are ${more.length + (found ? 1 : 0)} resources ${type} ${name}`);
      }
      return found;
    },
  };
}

/** The value of an output, once it is there. */
export function settled<T>(value: pulumi.Input<T>): Promise<pulumi.Unwrap<T>> {
  return new Promise((done) => {
    pulumi.output(value).apply(done);
  });
}

/** Outputs that a provider adds to the inputs. */
function outputsOf({ type, name, inputs }: Registered): Record<string, unknown> {
  switch (type) {
    case passwordType:
      return { result: pulumi.secret(generatedPassword(name, inputs.keepers)) };
    case "random:index/randomBytes:RandomBytes":
      return { base64: pulumi.secret(generatedBytes(name, inputs.keepers)) };
    case probeType:
      return { drift: [], generation };
    case commandType:
      return { stdout: "", stderr: "" };
    case "tls:index/privateKey:PrivateKey":
      return { privateKeyPem: pulumi.secret(generatedKey(name)) };
    case "tls:index/certRequest:CertRequest":
      return { certRequestPem: `REQUEST of ${name}` };
    case "tls:index/selfSignedCert:SelfSignedCert":
    case "tls:index/locallySignedCert:LocallySignedCert":
      return { certPem: `CERTIFICATE of ${name}\n` };
    default:
      if (type.startsWith("mlflow:")) {
        return {};
      }
      throw new Error(`the program has a resource of type ${type}, which the tests do not know`);
  }
}

/** A mock is not told about parents and dependencies, so the monitor's requests are read on their way to it. */
function recordRequests(requests: Map<string, { parent?: string; dependencies: string[] }>): void {
  // biome-ignore lint/suspicious/noExplicitAny: the mock monitor has the client's methods with other signatures
  const monitor = pulumi.runtime.getMonitor() as any;
  const register = monitor.registerResource.bind(monitor);
  // biome-ignore lint/suspicious/noExplicitAny: a request of the SDK's gRPC interface
  monitor.registerResource = (request: any, callback: unknown) => {
    const nameOf = (urn: string) => urn.split("::").slice(3).join("::");
    requests.set(`${request.getType()} ${request.getName()}`, {
      ...(request.getParent() === "" ? {} : { parent: nameOf(request.getParent()) }),
      dependencies: request.getDependenciesList().map(nameOf).sort(),
    });
    return register(request, callback);
  };
}
