import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Command } from "commander";
import { example, type JsonOption, jsonOption, print, stackArgument } from "../command";
import { readStack } from "../stack";

export function define(command: Command): void {
  command
    .description(
      "Opens the server's web interface in the browser; where there is no desktop, its address is only printed. " +
        "The browser asks for a user and the password, which 'mlflow-vps env' writes.",
    )
    .argument(...stackArgument)
    .option(...jsonOption)
    .addHelpText(...example("./mlflow-vps open prod"))
    .action(async (name: string | undefined, options: JsonOption) => {
      const stack = await readStack(name);
      const trackingUri = stack.output("trackingUri");
      const opened = await openInBrowser(trackingUri);
      print(options, { stack: stack.name, trackingUri, opened }, trackingUri);
    });
}

/** @returns whether there was a desktop to open it on */
async function openInBrowser(address: string): Promise<boolean> {
  const isDesktop = Boolean(process.env.DISPLAY || process.env.WAYLAND_DISPLAY);
  const opener = process.platform === "darwin" ? "open" : isDesktop ? "xdg-open" : undefined;
  if (opener === undefined) {
    return false;
  }
  const browser = spawn(opener, [address], { detached: true, stdio: "ignore" });
  try {
    await once(browser, "spawn");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      return false;
    }
    throw error;
  }
  browser.unref();
  return true;
}
