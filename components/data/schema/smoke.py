"""Proves at ADDRESS:PORT that an MLflow server does what clients need: create, log, search, an artifact there and back.

Leaves nothing that a client sees: the scratch experiment is deleted. Needs nothing but Python. usage: smoke.py ADDRESS:PORT
"""

import json
import os
import sys
import time
import urllib.request

server = f"http://{sys.argv[1]}"
# No proxy: the environment of the host may name one.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def send(method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
    request = urllib.request.Request(f"{server}{path}", body, {"Content-Type": kind}, method=method)
    with opener.open(request, timeout=60) as answer:
        return answer.read()


def call(endpoint: str, **values: object) -> dict:
    return json.loads(send("POST", f"/api/2.0/mlflow/{endpoint}", json.dumps(values).encode()))


def demand(holds: bool, what: str) -> None:
    if not holds:
        sys.exit(f"smoke test: {what}")


experiment = call("experiments/create", name=f"mlflow-vps smoke test {os.urandom(8).hex()}")["experiment_id"]
run = call("runs/create", experiment_id=experiment, start_time=int(time.time() * 1000))["run"]["info"]
run_id = run["run_id"]
call("runs/log-parameter", run_id=run_id, key="colour", value="green")
call("runs/log-metric", run_id=run_id, key="height", value=1.5, timestamp=int(time.time() * 1000), step=3)

found = call("runs/search", experiment_ids=[experiment], filter="metrics.height > 1 and params.colour = 'green'")
demand([each["info"]["run_id"] for each in found.get("runs", [])] == [run_id], "the logged run is not found")
demand(found["runs"][0]["data"]["metrics"][0]["value"] == 1.5, "the metric is not as it was logged")

content = os.urandom(100_000)
artifact = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run_id}/artifacts/smoke.bin"
send("PUT", artifact, content, "application/octet-stream")
demand(send("GET", artifact) == content, "the artifact is not as it was uploaded")
send("DELETE", artifact)

call("runs/delete", run_id=run_id)
call("experiments/delete", experiment_id=experiment)
