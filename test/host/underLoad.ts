import { expect } from "vitest";
import { client, type Deployment } from "./harness";
import { Load, type Report } from "./load";

/** Clients that send without a pause while a server is changed, and data from before that must still be there. */
export class UnderLoad {
  constructor(private readonly deployment: Deployment) {}

  private load(): Load {
    const { trackingUri, users } = this.deployment.outputs;
    return new Load({ uri: trackingUri, user: "grace", password: users.grace ?? "" });
  }

  sql(statement: string): Promise<string> {
    return this.deployment.guest.run(
      `cd /tmp; runuser -u postgres -- psql -d mlflow -Atv ON_ERROR_STOP=1 <<'SQL'\n${statement}\nSQL`,
    );
  }

  /** Logs the data; what `data` will print. */
  async logData(): Promise<string> {
    await client(this.deployment, [
      "-c",
      `
import mlflow
mlflow.set_experiment("Before")
for name in ["one", "two", "deleted"]:
    with mlflow.start_run(run_name=name) as run:
        mlflow.log_param("depth", 3)
        mlflow.set_tag("colour", "green")
        for step in range(20):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_text("content of " + name, "notes.txt")
mlflow.delete_run(run.info.run_id)`,
    ]);
    return this.data();
  }

  /** Names, parameters, metrics and artifacts of everything that was logged, as a client gets them. */
  data(): Promise<string> {
    return client(this.deployment, [
      "-c",
      `
import mlflow
client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name("Before")
for run in sorted(client.search_runs([experiment.experiment_id], run_view_type=3), key=lambda run: run.info.run_name):
    history = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")]
    texts = [mlflow.artifacts.load_text(run.info.artifact_uri + "/" + f.path) for f in client.list_artifacts(run.info.run_id)]
    print(run.info.run_name, run.info.lifecycle_stage, run.data.params, history, run.data.tags.get("colour"), texts)`,
    ]);
  }

  /** What clients met while something was done. */
  during(work: () => Promise<unknown>): Promise<Report> {
    return this.load().during(work);
  }

  /** No request of clients that send all the time fails during a change, and the check finds nothing afterwards. */
  async unnoticed(what: string, change: () => Promise<unknown>): Promise<void> {
    await this.expectNothingLost(what, await this.during(change));
    expect(await this.deployment.drift()).toEqual([]);
  }

  /** Every request was answered, and every acknowledged metric is in the database. */
  async expectNothingLost(what: string, report: Report): Promise<void> {
    const { sent, perSecond, failed, runId, logged } = report;
    console.log(
      [`${what}: ${sent} requests sent, ${failed.length} failed, ${perSecond.toFixed()}/s`, ...failed].join(
        "\n",
      ),
    );
    expect(failed).toEqual([]);
    expect(perSecond).toBeGreaterThan(20);
    expect(logged).toBeGreaterThan(0);
    expect(await this.sql(`select count(*) from metrics where run_uuid = '${runId}'`)).toBe(String(logged));
  }
}
