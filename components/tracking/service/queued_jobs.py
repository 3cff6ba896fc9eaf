"""Prints how many jobs wait in the queues of MLflow's job runner. usage: queued_jobs.py DIRECTORY

Each kind of job has a queue of its own, a SQLite file of huey's. Periodic tasks are no jobs: every instance makes its own.
"""

import pathlib
import sqlite3
import sys

directory = pathlib.Path(sys.argv[1])
if not directory.is_dir():
    sys.exit(f"{directory} is no directory")

queued = 0
for store in directory.glob("*.mlflow-huey-store"):
    if store.name.startswith("periodic_tasks."):
        continue
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=10)
    # To be done now, and once more later. A queue that was just made has no tables yet.
    for (table,) in connection.execute(
        "select name from sqlite_master where type = 'table' and name in ('task', 'schedule')"
    ).fetchall():
        queued += connection.execute(f"select count(*) from {table}").fetchone()[0]
    connection.close()
print(queued)
