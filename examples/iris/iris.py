"""Random forests of 1 to 20 trees on the iris data, logged to an MLflow tracking server.

One run per forest (parameter, accuracy, model), all below one parent run that holds the plot of accuracy over trees.
The table at the end is read back from the server. The client's usual variables say where it is and who you are:
MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD.
"""

import argparse
import logging
import os
import re
import sys
import warnings
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

# For MLflow: no telemetry; no bars and no 'View run' lines beside our own; a lost server is noticed in a minute.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import mlflow
import mlflow.sklearn
import sklearn
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

EXPERIMENT = "RF Tree Numbers"
PARENT_NAME = "accuracy over trees"
SEED = 42
TEST_SHARE = 0.4
MAX_TREES = 200
BAR_WIDTH = 30


class Failure(Exception):
    """Something the person who runs this can put right; shown as one line."""


class Row(NamedTuple):
    """One run as the server knows it."""

    trees: int
    accuracy: float
    run_id: str


class Progress:
    """A bar that moves on a terminal; elsewhere a plain line for about every quarter of the work."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.moves = sys.stdout.isatty()
        self.show()

    def step(self) -> None:
        """Count one more run as done."""
        self.done += 1
        self.show()

    def show(self) -> None:
        """Draw the present state."""
        count = f"{self.done}/{self.total} runs"
        if self.moves:
            filled = BAR_WIDTH * self.done // self.total
            end = "\n" if self.done == self.total else ""
            print(f"\r{'#' * filled}{'.' * (BAR_WIDTH - filled)} {count}", end=end, flush=True)
        elif self.done == self.total or self.done % max(1, self.total // 4) == 0:
            print(count, flush=True)

    def leave(self) -> None:
        """End an unfinished bar, so that what follows starts on a line of its own."""
        if self.moves and self.done < self.total:
            print(flush=True)


def server_address() -> str:
    """Address of the server without user and password, for showing and for links."""
    given = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not given:
        raise Failure("MLFLOW_TRACKING_URI is not set; see README.md for the .env file")
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Failure("MLFLOW_TRACKING_URI must be the address of a server: http://… or https://…")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def open_experiment(address: str) -> str:
    """Find or create the experiment; its id. The first contact, so it fails at once instead of trying for minutes."""
    patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}
    before = {name: os.environ.get(name) for name in patience}
    os.environ.update(patience)
    try:
        return mlflow.set_experiment(EXPERIMENT).experiment_id
    except MlflowException as problem:
        raise Failure(explain(problem, address)) from problem
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def explain(problem: MlflowException, address: str) -> str:
    """One line on what MLflow's client ran into."""
    text = " ".join(str(problem).split())
    if "error code 401" in text:
        return (
            f"{address} refused the user or the password (401); "
            "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            f"the certificate of {address} is not trusted here; "
            "set MLFLOW_TRACKING_SERVER_CERT_PATH to the file of its certificate authority"
        )
    if "suitable TLS CA certificate" in text:
        return "MLFLOW_TRACKING_SERVER_CERT_PATH names no file with certificates"
    if lockout := re.search(r"Too many failed logins from [^'\"]+", text):
        return f"{address} answered: {lockout[0].strip()}"
    if status := re.search(r"failed with error code (\d+)|too many (\d+) error responses", text):
        return f"{address} answered with HTTP status {status[1] or status[2]}"
    if "failed with exception" in text or "Max retries exceeded" in text:
        return f"{address} cannot be reached; check MLFLOW_TRACKING_URI and that the server is running"
    return f"MLflow could not go on: {text[:200]}"


def log_forests(most_trees: int) -> None:
    """Train and log a forest for each number of trees, each as a run below the active one."""
    data = load_iris()
    train_x, test_x, train_y, test_y = train_test_split(
        data.data, data.target, test_size=TEST_SHARE, random_state=SEED, stratify=data.target
    )
    progress = Progress(most_trees)
    try:
        for trees in range(1, most_trees + 1):
            with mlflow.start_run(run_name=f"trees-{trees:02}", nested=True):
                model = RandomForestClassifier(n_estimators=trees, random_state=SEED).fit(train_x, train_y)
                mlflow.log_param("n_estimators", trees)
                mlflow.log_metric("accuracy", float(model.score(test_x, test_y)))
                mlflow.sklearn.log_model(
                    model,
                    name="model",
                    # Said here, because finding them out would start a Python of its own for every run.
                    pip_requirements=[f"mlflow=={mlflow.__version__}", f"scikit-learn=={sklearn.__version__}"],
                    signature=infer_signature(train_x, model.predict(train_x)),
                    # The compiled class that each tree is; skops wants it named before it loads one.
                    skops_trusted_types=["sklearn.tree._tree.Tree"],
                )
            progress.step()
    finally:
        progress.leave()


def rows_from_server(experiment_id: str, parent_id: str) -> list[Row]:
    """The runs of this invocation as the server has them, ordered by the number of trees."""
    runs = mlflow.MlflowClient().search_runs(
        [experiment_id], filter_string=f"tags.`mlflow.parentRunId` = '{parent_id}'", max_results=MAX_TREES
    )
    return sorted(
        Row(int(run.data.params["n_estimators"]), run.data.metrics["accuracy"], run.info.run_id) for run in runs
    )


def save_plot(rows: list[Row], file: Path) -> None:
    """Accuracy over trees as an image; the suffix of the file says which kind."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([row.trees for row in rows], [row.accuracy for row in rows], marker="o")
    axes.set(xlabel="trees in the forest", ylabel="accuracy on the test set", title=EXPERIMENT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=150)


def print_table(rows: list[Row]) -> None:
    """The runs, one line each."""
    print(f"\n{'trees':>5}  {'accuracy':>8}  run")
    for row in rows:
        print(f"{row.trees:>5}  {row.accuracy:>8.4f}  {row.run_id}")


def finished_before(experiment_id: str, most_trees: int) -> str | None:
    """Parent run of the newest finished invocation with so many trees, or nothing."""
    runs = mlflow.MlflowClient().search_runs(
        [experiment_id],
        filter_string=(
            f"tags.`mlflow.runName` = '{PARENT_NAME}' and params.most_trees = '{most_trees}' "
            "and attributes.status = 'FINISHED'"
        ),
        max_results=1,
    )
    return runs[0].info.run_id if runs else None


def log_experiment(address: str, experiment_id: str, most_trees: int, plot: Path) -> list[Row]:
    """Log all forests, and the plot over what the server then has; the server's rows."""
    with mlflow.start_run(run_name=PARENT_NAME) as parent:
        mlflow.log_params({"most_trees": most_trees, "random_state": SEED, "test_share": TEST_SHARE})
        log_forests(most_trees)
        rows = rows_from_server(experiment_id, parent.info.run_id)
        if len(rows) != most_trees:
            raise Failure(f"{address} returned {len(rows)} runs of the {most_trees} that were logged")
        save_plot(rows, plot)
        mlflow.log_artifact(str(plot))
    return rows


def run(most_trees: int, plot: Path, once: bool) -> None:
    """The whole experiment, or with `once` the result of an earlier one."""
    address = server_address()
    experiment_id = open_experiment(address)
    try:
        parent_id = finished_before(experiment_id, most_trees) if once else None
        if parent_id is None:
            rows = log_experiment(address, experiment_id, most_trees, plot)
        else:
            print("The experiment was logged before; this is what the server has.")
            rows = rows_from_server(experiment_id, parent_id)
            save_plot(rows, plot)
    except MlflowException as problem:
        raise Failure(explain(problem, address)) from problem

    print_table(rows)
    best = max(rows, key=lambda row: (row.accuracy, -row.trees))
    print(f"\nBest: {best.accuracy:.4f} with {best.trees} {'tree' if best.trees == 1 else 'trees'}")
    print(f"Plot: {plot.resolve()}")
    print(f"Runs: {address}/#/experiments/{experiment_id}/runs?workflowType=machine_learning")


def arguments() -> argparse.Namespace:
    """What was asked for on the command line, checked before anything is logged."""
    parser = argparse.ArgumentParser(description="Log random forests on the iris data to an MLflow server.")
    parser.add_argument("--trees", type=int, default=20, metavar="N", help="largest forest (default: %(default)s)")
    parser.add_argument(
        "--plot", type=Path, default=Path("accuracy.png"), metavar="FILE", help="image to write (default: %(default)s)"
    )
    parser.add_argument("--once", action="store_true", help="log nothing when this was logged before, only show it")
    options = parser.parse_args()
    if not 1 <= options.trees <= MAX_TREES:
        parser.error(f"--trees must be from 1 to {MAX_TREES}, not {options.trees}")
    if options.plot.suffix.lower() not in (".pdf", ".png", ".svg"):
        parser.error(f"--plot must end in .pdf, .png or .svg: {options.plot}")
    if not os.access(options.plot.resolve().parent, os.W_OK):
        parser.error(f"--plot: cannot write to the folder {options.plot.resolve().parent}")
    return options


def main() -> int:
    """Run, and turn what can be explained into one line; the exit code."""
    warnings.filterwarnings("ignore")
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    options = arguments()
    try:
        run(options.trees, options.plot, options.once)
    except Failure as failure:
        print(f"iris.py: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("iris.py: stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
