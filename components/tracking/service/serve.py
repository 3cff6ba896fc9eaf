"""Runs MLflow's command 'server' with the web server in this very process.

By itself the command starts uvicorn as a second process, which loads everything again, and then only waits for its end.
Here options, checks and job runner are MLflow's own code, unchanged; but the application is loaded once, and several
workers are forked from it and share its memory. The stores of a process share one pool of connections to the database, and
a worker works on a few requests at a time, so that PostgreSQL has connections for all of them.

What MLflow would not start like that (MLflow 2 starts gunicorn), or what would not be the same here as in a process of
its own, is started as MLflow does it.
"""

import functools
import gc
import importlib
import os
import sys
import threading
from multiprocessing import get_context

# What is loaded now stays: a search for garbage finds nothing.
gc.disable()
if __name__ == "__main__":
    del sys.path[0]  # the directory of this file, which holds no modules


class Recorder(type(os.environ)):
    """The environment, which remembers what was asked of it."""

    asked = set()

    def __getitem__(self, name):
        self.asked.add(name)
        return super().__getitem__(name)


environment_type = type(os.environ)
os.environ.__class__ = Recorder

# First, for by this MLflow knows that it is loaded to serve.
import uvicorn.main  # noqa: E402, I001
import mlflow.server  # noqa: E402
import mlflow.store.db.utils  # noqa: E402
import numpy  # noqa: E402
from mlflow.cli import cli  # noqa: E402
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: E402
from sqlalchemy.engine import Engine  # noqa: E402

os.environ.__class__ = environment_type


class ThisProcess:
    """What MLflow takes for the process of its web server: this one, which serves once MLflow waits for its end."""

    pid = os.getpid()

    def __init__(self, options):
        self.options = options

    def poll(self):
        """Nothing has ended."""

    def send_signal(self, _number):
        """Ends before uvicorn takes signals itself, or after it has ended in good order."""
        sys.exit()

    def wait(self):
        """Serves until a signal ends it."""
        importlib.import_module(self.options[-1].partition(":")[0])  # MODULE:APPLICATION
        turns = threading.Semaphore(int(os.environ["MLFLOW_VPS_REQUESTS"]))
        mlflow.server.app.wsgi_app = in_turns(mlflow.server.app.wsgi_app, turns)
        if hasattr(SqlAlchemyStore, "log_spans"):  # what OpenTelemetry's clients send comes by another way
            SqlAlchemyStore.log_spans = in_turns(SqlAlchemyStore.log_spans, turns)
        forget_connections()
        gc.freeze()  # or a search for garbage would copy what workers share
        gc.enable()
        uvicorn._subprocess.spawn = get_context("fork")
        os.register_at_fork(after_in_child=numpy.random.seed)  # 'random' does so by itself
        uvicorn.main.main(self.options)


def in_turns(function, turns):
    """The function, in which at most as many threads are at once as there are turns; others wait for as long as it takes."""

    @functools.wraps(function)
    def take_turn(*args, **named):
        with turns:
            return function(*args, **named)

    return take_turn


def forget_connections():
    """Closes those to the database: each worker makes its own."""
    for each in gc.get_objects():
        if issubclass(type(each), Engine):
            each.dispose()


def reason_against(command, variables):
    """Says why the web server that MLflow wants to start cannot be this process; None when it can."""
    if command[1:3] != ["-m", "uvicorn"] or "--reload" in command:
        return f"it is '{' '.join(command[1:])}'"
    if not hasattr(uvicorn._subprocess, "spawn"):
        return "this uvicorn starts its workers in another way"
    late = [name for name, value in variables.items() if name in Recorder.asked and os.environ.get(name) != value]
    if late:
        return f"{', '.join(late)} was read already, before MLflow set it"
    if threading.active_count() > 1:
        return f"threads run already: {threading.enumerate()}"
    return None


exec_cmd = mlflow.server._exec_cmd


def start(command, *, extra_env, **options):
    """In place of MLflow's function that starts its web server."""
    reason = reason_against(command, extra_env)
    if reason:
        print(f"The web server gets a process of its own: {reason}", file=sys.stderr)
        return exec_cmd(command, extra_env=extra_env, **options)
    os.environ.update(extra_env)
    return ThisProcess(command[3:])


if __name__ == "__main__":
    mlflow.server._exec_cmd = start
    # An engine has a pool of its own, and each kind of store makes an engine.
    mlflow.store.db.utils.create_sqlalchemy_engine = functools.cache(mlflow.store.db.utils.create_sqlalchemy_engine)
    cli(prog_name="mlflow")
