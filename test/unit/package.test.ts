/** The npm package, as another Pulumi program finds it in its node_modules. */
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dependencies } from "../../package.json";
import { hostKey, loginKey } from "./keys";

const project = join(__dirname, "../..");
const minutes = 60_000;

/** A program's directory; the packages that the package lists are those of this project. */
let directory: string;
const installed = () => join(directory, "node_modules/mlflow-vps");
const manifest = () => JSON.parse(readFileSync(join(installed(), "package.json"), "utf8"));
const run = (command: string, ...args: string[]) =>
  execFileSync(command, args, { cwd: directory, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "mlflow-vps-package-"));
  mkdirSync(installed(), { recursive: true });
  execFileSync(join(project, "scripts/build.sh"), { stdio: "pipe" });
  run("npm", "pack", join(project, "package"), "--silent");
  const [archive = ""] = readdirSync(directory).filter((name) => name.endsWith(".tgz"));
  run("tar", "-xzf", archive, "--strip-components=1", "-C", installed());
  // The types of Node are what the example needs besides.
  for (const name of [...Object.keys(manifest().dependencies), "@types/node"]) {
    const link = join(directory, "node_modules", name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(project, "node_modules", name), link);
  }
}, 3 * minutes);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Makes a server by the SDK's mock monitor, and prints what was registered of it. */
const program = `
const pulumi = require("@pulumi/pulumi");
const registered = [];
const newResource = ({ type, name, inputs }) => {
  const { stdin, __provider } = inputs;
  registered.push({ type, name, stdin: stdin?.value ?? stdin, provider: __provider?.value ?? __provider });
  return { id: name, state: { ...inputs, generation: 1, result: "secret", base64: "c2VjcmV0", privateKeyPem: "key", certPem: "certificate" } };
};
pulumi.runtime.setMocks({ newResource, call: () => ({}) }, "other", "dev", false).then(async () => {
  const { MlflowServer } = require("mlflow-vps");
  new MlflowServer("lab", { host: JSON.parse(process.argv[2]) });
  await pulumi.runtime.disconnect();
  console.log(JSON.stringify(registered));
});
`;

describe("the npm package", () => {
  test("holds the components, what they read beside them, and nothing else", () => {
    const files = readdirSync(installed(), { recursive: true, encoding: "utf8" });
    expect(files).toEqual(
      expect.arrayContaining([
        "dist/components/index.js",
        "dist/components/index.d.ts",
        "dist/components/tracking/service/service.sh",
        "dist/components/tracking/service/serve.py",
        "dist/components/tracking/runtime/locks/3.17.2.txt",
      ]),
    );
    expect(files.filter((name) => !/^(dist|package\.json|README\.md)/.test(name))).toEqual([]);
    expect(files.filter((name) => /^dist\/(?!components)|(?<!\.d)\.ts$/.test(name))).toEqual([]);
  });

  test("lists the packages that its code requires, in versions compatible with the project's, and no others", () => {
    const code = readdirSync(installed(), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".js"))
      .map((name) => readFileSync(join(installed(), name), "utf8"))
      .join("\n");
    const required = [...code.matchAll(/\brequire\("([^"]+)"\)/g)]
      .map(([, path = ""]) => path)
      .filter((path) => !path.startsWith(".") && !isBuiltin(path));
    expect(required).toContain("ssh2");
    const versions: Readonly<Record<string, string>> = dependencies;
    expect(manifest().dependencies).toEqual(
      Object.fromEntries(required.map((name) => [name, `^${versions[name]}`])),
    );
  });

  test("has no command: the operator's needs a checkout", () => {
    const { bin, scripts, devDependencies } = manifest();
    expect({ bin, scripts, devDependencies }).toEqual({});
  });

  test("makes a server in another program, its scripts and the probe's code included", {
    timeout: minutes,
  }, () => {
    writeFileSync(join(directory, "program.cjs"), program);
    const host = {
      address: "192.0.2.10",
      user: "root",
      hostKey: hostKey.public,
      privateKey: loginKey.private,
    };
    const registered: { type: string; name: string; stdin?: string; provider?: string }[] = JSON.parse(
      run("node", "program.cjs", JSON.stringify(host)),
    );
    const runtime = registered.find(({ name }) => name === "lab-runtime-command");
    expect(runtime?.stdin).toContain("mlflow==3.17.2");
    const probes = registered.filter(({ type }) => type === "pulumi-nodejs:dynamic/mlflow:Probe");
    expect(probes.length).toBeGreaterThan(8);
    // The engine stores this code, and each refresh runs it: what it requires must be there by that path.
    const [code = "", ...others] = new Set(probes.map(({ provider }) => provider));
    expect(others).toEqual([]);
    expect(code.match(/require\("[^"]+"\)/g)).toEqual([
      'require("mlflow-vps/dist/components/step/observe.js")',
      'require("mlflow-vps/dist/components/step/ssh.js")',
    ]);
    // Both modules have had these two since 0.2.0, whose states ask for them until the next 'up'.
    const taken = [...code.matchAll(/\b\w+_1\.(\w+)/g)].map(([, name]) => name);
    expect(new Set(taken)).toEqual(new Set(["observe", "plainError"]));
    writeFileSync(join(directory, "provider.cjs"), code);
    const methods = 'console.log(Object.keys(require("./provider.cjs").handler()).join())';
    expect(run("node", "-e", methods)).toBe("create,read,diff,update\n");
  });

  test("has types that the example's program is checked with", { timeout: minutes }, () => {
    for (const file of ["index.ts", "tsconfig.json"]) {
      copyFileSync(join(project, "examples/library", file), join(directory, file));
    }
    const wrong = `import type { MlflowServerArgs } from "mlflow-vps";
      // @ts-expect-error: users are a list
      export const users: MlflowServerArgs["users"] = "ada";
    `;
    writeFileSync(join(directory, "wrong.ts"), wrong);
    expect(run(join(project, "node_modules/.bin/tsc"), "--noEmit", "-p", directory)).toBe("");
  });
});
