"""Runs Python as `python -c CODE` or `python FILE` does, in processes that start with MLflow imported: that takes seconds.

Reads a request a line, {"args": [...], "env": {...}}, and answers each with a line: {"code", "stdout", "stderr"}.
"""

import ctypes
import gc
import json
import os
import runpy
import signal
import sys
import tempfile
import types
from typing import IO

import mlflow  # noqa: F401 - it reads none of the variables of a client's environment before it is used

PR_SET_PDEATHSIG = 1


def become(env: dict[str, str], stdout: IO[bytes], stderr: IO[bytes]) -> None:
    """Makes this process, just forked, look as one that was started so, and end with the one that it comes from."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.environ.clear()
    os.environ.update(env)
    with open(os.devnull, "rb") as stdin:
        for number, file in enumerate([stdin, stdout, stderr]):
            os.dup2(file.fileno(), number)


def run(file: str, *args: str) -> None:
    """Runs it as __main__, and ends this process."""
    if file == "-c":
        code, *args = args
        sys.argv = ["-c", *args]
        sys.path[0] = ""
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(code, "<string>", "exec"), main.__dict__)
    else:
        sys.argv = [file, *args]
        sys.path[0] = os.path.dirname(os.path.abspath(file))
        runpy.run_path(file, run_name="__main__")
    sys.exit()


gc.freeze()  # or each child walks, and so copies, all that was imported when it ends
for request in map(json.loads, sys.stdin):
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if child == 0:
            become(request["env"], stdout, stderr)
            run(*request["args"])
        _, status = os.waitpid(child, 0)
        answer = {"code": os.waitstatus_to_exitcode(status)}
        for name, file in [("stdout", stdout), ("stderr", stderr)]:
            file.seek(0)
            answer[name] = file.read().decode()
        print(json.dumps(answer), flush=True)
