import { beforeEach, describe, expect, test, vi } from "vitest";
import { outputs, Shell, stateOf } from "./commandLine";
import { nowhere } from "./keys";

describe("the open command", () => {
  let shell: Shell;
  beforeEach(() => {
    shell = new Shell();
    shell.putStack(stateOf({ connection: nowhere }, ["service"]));
  });
  const address = { code: 0, stdout: `${outputs.trackingUri}\n`, stderr: "" };

  test.skipIf(process.platform === "darwin")(
    "opens the tracking URI on a desktop, and prints it",
    async () => {
      shell.put("xdg-open", "");
      shell.env.DISPLAY = ":0";
      expect(await shell.run("open", "prod")).toEqual(address);
      await vi.waitFor(() => expect(shell.calls("xdg-open")).toContain(`: ${outputs.trackingUri}\n`));
    },
  );

  test("only prints it where there is no desktop", async () => {
    shell.put("xdg-open", "");
    expect(await shell.run("open", "prod")).toEqual(address);
    expect(() => shell.calls("xdg-open")).toThrow("ENOENT");
  });

  test("only prints it where nothing opens it", async () => {
    shell.hideAllButOwn();
    shell.env.WAYLAND_DISPLAY = "wayland-0";
    expect(await shell.run("open", "prod")).toEqual(address);
  });

  test("says whether it did, as JSON", async () => {
    const { stdout } = await shell.run("open", "prod", "--json");
    expect(JSON.parse(stdout)).toEqual({ stack: "prod", trackingUri: outputs.trackingUri, opened: false });
  });
});
