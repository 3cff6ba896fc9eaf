import { isIP, isIPv4 } from "node:net";
import type { Command } from "commander";
import { execute } from "../../components/step/ssh";
import { example, type JsonOption, jsonOption, print, stackArgument } from "../command";
import { readStack, type Stack } from "../stack";
import { withProgress } from "../terminal";

export function define(command: Command): void {
  command
    .description(
      "Ends the lockout of an address that had too many failed logins. The refusal names the address; " +
        "an IPv6 address is locked out with its /64 network.",
    )
    .argument("<ADDRESS>", "an IPv4 or IPv6 address, or a network as the refusal names it", callerOf)
    .argument(...stackArgument)
    .option(...jsonOption)
    .addHelpText(...example("./mlflow-vps unlock 198.51.100.7 prod"))
    .action(async (address: string, name: string | undefined, options: JsonOption) => {
      const stack = await readStack(name);
      const unlocked = await withProgress(`asking ${stack.connection.host}`, unlock(stack, address));
      const text = unlocked ? `${address} may log in again` : `${address} was not locked out`;
      print(options, { stack: stack.name, address, unlocked }, text);
    });
}

/** Whom nginx counts as one caller, in its notation: an IPv4 address, or the /64 network of an IPv6 one. */
export function callerOf(text: string): string {
  const address = text.trim().replace(/::\/64$/, "::");
  if (isIP(address) === 0 || address.includes("%")) {
    throw new Error(`'${text}' is not an address: write it as in the refusal, such as 198.51.100.7`);
  }
  if (isIPv4(address)) {
    return address;
  }
  // The URL parser writes an IPv6 address in its canonical form, where '::' stands for as many groups as are missing.
  const [head = "", tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const groups = (part: string) => part.split(":").filter((group) => group !== "");
  const missing = 8 - groups(head).length - groups(tail ?? "").length;
  const all = [...groups(head), ...Array<string>(missing).fill("0"), ...groups(tail ?? "")];
  return `${all.slice(0, 4).join(":")}::/64`;
}

/** Asked for on the host itself, as a user: nobody else may (see components/entrance/proxy/render.ts). */
async function unlock({ name, connection, output }: Stack, caller: string): Promise<boolean> {
  const [[user, password] = []] = Object.entries(output("users"));
  // Through the standard input, so that no process list shows the password; to the host itself, whatever the name leads to.
  const request = [
    `url = "${output("trackingUri")}/mlflow-vps/unlock?address=${caller}"`,
    `user = "${user}:${password}"`,
    'connect-to = "::127.0.0.1:"',
    'noproxy = "*"',
    "silent\nshow-error\nfail\ninsecure\ngloboff\nmax-time = 20",
  ].join("\n");
  const { code, stdout, stderr } = await execute(connection, "curl --config -", request, 30);
  const [, outcome] = / (may log in again|was not locked out)$/.exec(stdout.trim()) ?? [];
  if (outcome === undefined) {
    const cause = stderr.trim() || stdout.trim() || `curl exited ${code}`;
    throw new Error(
      `${connection.host}: ${cause}\n'pulumi up --refresh --stack ${name}' repairs the host if its nginx site is not the stack's.`,
    );
  }
  return outcome === "may log in again";
}
