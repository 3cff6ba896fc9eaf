import { rmSync } from "node:fs";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { client, Deployment, Guest } from "../host/harness";
import { Browser, closed, pictures, refused, visit } from "./browser";

/** The web interface, as a person sees it who logs in with a browser that trusts the authority of the outputs. */
const guest = new Guest("test-browser");
const deployment = new Deployment(guest, { users: ["ada"] });
const forests = 10;

let browser: Browser;
/** What the example printed. */
let printed: string;

const home = () => `${deployment.outputs.trackingUri}/`;
const experiment = () => /^Runs: (.*)$/m.exec(printed)?.[1] ?? "";
const runName = (trees: number) => `trees-${String(trees).padStart(2, "0")}`;
/** The accuracy of a forest, to four digits, as the example printed it. */
const accuracy = (trees: number) => new RegExp(`^ +${trees} +(0\\.\\d{4}) `, "m").exec(printed)?.[1];
const password = () => deployment.outputs.users.ada ?? "";
const look = async (url: string, picture: string, see: (page: Page) => Promise<void>) =>
  visit(await browser.page("ada", password()), url, picture, see);
const toFourDigits = (text: string) => Number(text).toFixed(4);

/** A server with the iris experiment, and the model of its largest forest registered. */
async function prepare(): Promise<void> {
  await deployment.serve();
  const plot = `${guest.directory}/accuracy.png`;
  printed = await client(deployment, ["examples/iris/iris.py", "--trees", String(forests), "--plot", plot]);
  await client(deployment, [
    "-c",
    `
import mlflow
[run] = mlflow.search_runs(
    experiment_names=["RF Tree Numbers"], filter_string="tags.\`mlflow.runName\` = '${runName(forests)}'", output_format="list"
)
mlflow.register_model(f"models:/{run.outputs.model_outputs[0].model_id}", "iris")`,
  ]);
}

beforeAll(async () => {
  rmSync(pictures, { recursive: true, force: true });
  await prepare();
  browser = await Browser.launch(deployment.outputs);
});
afterAll(async () => {
  await browser?.close();
  await guest.down();
});

describe("the web interface", () => {
  it("is not shown to a browser that does not know the certificate authority", async () => {
    const stranger = await Browser.launch(deployment.outputs, false);
    const page = await stranger.page("ada", password());
    await expect(page.goto(home())).rejects.toThrow("ERR_CERT_AUTHORITY_INVALID");
    await stranger.close();
  });

  it("is not shown to a wrong password", async () => {
    const page = await browser.page("ada", "wrong");
    expect((await page.goto(home()))?.status()).toBe(401);
    expect(await page.title()).toBe("401 Authorization Required");
    expect(await page.getByText("MLflow").count()).toBe(0);
    await page.context().close();
  });

  it("greets at home with the experiments that are there", () =>
    look(home(), "home", async (page) => {
      await page.getByText("Welcome to MLflow").waitFor();
      await page.getByText("3.17.2", { exact: true }).waitFor();
      await page.getByRole("link", { name: "RF Tree Numbers" }).waitFor();
    }));

  it("shows the training runs at the link that the example prints", () =>
    look(experiment(), "runs", async (page) => {
      await page.getByRole("heading", { name: "Runs", exact: true }).waitFor();
      await page.getByText(`${forests + 1} matching runs`).waitFor();
      const parent = page.getByRole("gridcell", { name: "accuracy over trees" });
      await parent.getByRole("button").click();
      // The column of the metric in place of an empty one.
      await page.getByRole("button", { name: "Columns" }).click();
      for (const column of ["Dataset", "accuracy"]) {
        await page.getByRole("dialog").getByText(column, { exact: true }).click();
      }
      await page.keyboard.press("Escape");
      await page.getByRole("heading", { name: "Runs", exact: true }).click();
      for (let trees = forests, row = 1; trees > 0; trees--, row++) {
        await page.getByRole("link", { name: runName(trees) }).waitFor();
        const value = page.locator(`[role=row][row-index="${row}"] [role=gridcell][col-id*=accuracy]`);
        expect(toFourDigits(await value.innerText())).toBe(accuracy(trees));
      }
    }));

  it("shows a run with its metric, its parameter and its model", () =>
    look(experiment(), "run", async (page) => {
      await page.getByRole("gridcell", { name: "accuracy over trees" }).getByRole("button").click();
      await page.getByRole("link", { name: runName(forests) }).click();
      await page.getByRole("heading", { name: runName(forests) }).waitFor();
      const value = (name: string) =>
        page.getByRole("row", { name }).first().getByRole("cell").nth(1).innerText();
      expect(toFourDigits(await value("accuracy"))).toBe(accuracy(forests));
      expect(await value("n_estimators")).toBe(String(forests));
      await page.getByRole("link", { name: "iris", exact: true }).first().waitFor();
    }));

  it("shows the plot among a run's artifacts", () =>
    look(experiment(), "plot", async (page) => {
      await page.getByRole("link", { name: "accuracy over trees" }).click();
      await page.getByRole("tab", { name: "Artifacts" }).click();
      await page.getByText("accuracy.png").click();
      const plot = page.getByRole("img", { name: "accuracy.png" });
      await plot.waitFor();
      const size = () =>
        plot.evaluate((image: HTMLImageElement) => [image.naturalWidth, image.naturalHeight]);
      await expect.poll(size).toEqual([1050, 600]);
    }));

  it("leads from the model registry to a version of a model, and says which run made it", () =>
    look(experiment(), "model", async (page) => {
      await page.getByRole("link", { name: "Model registry" }).click();
      // What is new, shown once to everybody.
      await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
      await page.getByRole("link", { name: "iris", exact: true }).click();
      await page.getByRole("link", { name: "Version 1" }).click();
      await page.getByRole("heading", { name: "Version 1" }).waitFor();
      await page.getByRole("link", { name: runName(forests) }).waitFor();
      await page.getByRole("cell", { name: "Inputs (1)" }).waitFor();
    }));

  it("has its settings", () =>
    look(home(), "settings", async (page) => {
      await page.getByRole("link", { name: "Settings" }).click();
      await page.getByRole("heading", { name: "General" }).waitFor();
      await page.getByRole("heading", { name: "Theme preference" }).waitFor();
    }));

  it("asks for nothing outside the server, and in vain only for what is closed on purpose", async () => {
    expect([...refused].sort()).toEqual([...closed].sort());
    expect(await browser.askedElsewhere()).toEqual([]);
  });
});
