import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { callerOf } from "../../cli/commands/unlock";
import { project, Shell, stateOf } from "./commandLine";
import { exit, type SshServer, startSshServer } from "./sshServer";

describe("who is locked out", () => {
  test.each([
    ["198.51.100.7", "198.51.100.7"],
    [" 198.51.100.7\n", "198.51.100.7"],
    ["2001:db8:0:12:a:b:c:d", "2001:db8:0:12::/64"],
    ["2001:0DB8::1", "2001:db8:0:0::/64"],
    ["2001:db8:1::", "2001:db8:1:0::/64"],
    ["2001:db8:1:2::", "2001:db8:1:2::/64"],
    ["::1", "0:0:0:0::/64"],
    ["2001:db8:0:12::/64", "2001:db8:0:12::/64"],
  ])("%j is called %s, as nginx calls it", (text, caller) => {
    expect(callerOf(text)).toBe(caller);
  });

  test.each(["", "198.51.100", "198.51.100.7/24", "vps.example.org", "fe80::1%eth0", 'a"b'])(
    "%j is refused",
    (text) => {
      expect(() => callerOf(text)).toThrow(/is not an address/);
    },
  );
});

describe("the unlock command", () => {
  const lockedOut = "198.51.100.7";
  const asked: { url?: string; host?: string }[] = [];
  let shell: Shell;
  let nginx: Server;
  let host: SshServer;
  let password = "ADAS-PASSWORD";

  /** A host that really runs the command, and its nginx, which answers on loopback as that of the site. */
  beforeEach(async () => {
    asked.length = 0;
    nginx = createServer((request, response) => {
      asked.push({ url: request.url, host: request.headers.host });
      if (request.headers.authorization !== `Basic ${Buffer.from(`ada:${password}`).toString("base64")}`) {
        response.writeHead(401).end("401 Authorization Required");
        return;
      }
      const address = request.url?.split("=")[1] ?? "";
      response.end(`${address}${address === lockedOut ? " may log in again" : " was not locked out"}\n`);
    });
    nginx.listen(0, "127.0.0.1");
    await once(nginx, "listening");
    host = await startSshServer({
      run: (channel, command, stdin) => {
        const child = spawn("sh", ["-c", command], {
          env: { ...process.env, http_proxy: "http://127.0.0.1:1" },
        });
        child.stdout.on("data", (text) => channel.write(text));
        child.stderr.on("data", (text) => channel.stderr.write(text));
        child.on("close", (code) => exit(channel, code ?? -1));
        child.stdin.end(stdin);
      },
    });
    const { port } = nginx.address() as AddressInfo;
    shell = new Shell();
    shell.putStack(stateOf(host, ["service"], { trackingUri: `http://vps.example.org:${port}` }));
  });
  afterEach(async () => {
    nginx.close();
    await host.close();
    password = "ADAS-PASSWORD";
  });

  test("asks the host's own nginx, as a user, and tells nobody the password", async () => {
    expect(await shell.run("unlock", lockedOut, "prod")).toEqual({
      code: 0,
      stdout: `${lockedOut} may log in again\n`,
      stderr: "",
    });
    expect(asked).toEqual([
      {
        url: `/mlflow-vps/unlock?address=${lockedOut}`,
        host: expect.stringMatching(/^vps\.example\.org:\d+$/),
      },
    ]);
    expect(host.commands.map(({ command }) => command).join()).not.toContain("PASSWORD");
  });

  test("says when an address was not locked out, which is no failure", async () => {
    expect(await shell.run("unlock", "2001:db8::1")).toEqual({
      code: 0,
      stdout: "2001:db8:0:0::/64 was not locked out\n",
      stderr: "",
    });
  });

  test("says the same as JSON", async () => {
    const { stdout } = await shell.run("unlock", lockedOut, "--json");
    expect(JSON.parse(stdout)).toEqual({ stack: "prod", address: lockedOut, unlocked: true });
  });

  test("fails where the host refuses, with what curl says and the way out", async () => {
    password = "ANOTHER";
    const { code, stdout, stderr } = await shell.run("unlock", lockedOut, "prod");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^mlflow-vps unlock: 127\.0\.0\.1: curl: .*401/);
    expect(stderr).toContain("'pulumi up --refresh --stack prod'");
  });

  test("is asked for as the site has it", () => {
    const site = readFileSync(join(project, "components/entrance/proxy/render.ts"), "utf8");
    for (const words of ["location = /mlflow-vps/unlock {", " may log in again", " was not locked out"]) {
      expect(site).toContain(words);
    }
  });
});
