"""Starts Python programs that have nimad imported already: a template process forks for each.

A new interpreter takes 0.24 s of a processor to become a daemon and to end, a fork of a process
that has imported numpy and nimad takes 0.04 s. The child is a process like any other: it has its
own id, environment, files and end, and the tests kill it and wait for it. What it does not show is
how a program starts, nor how large it is (it shares the template's memory), and a script that
replaces what others import comes too late: tests of these take `subprocess` itself.

The template forks twice and the process between ends at once, so that the child becomes one of the
process that asked, the nearest subreaper above it (man 2 PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import runpy
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "NIMAD_KERNELS", "OPENBLAS", "MALLOC")
"""Beginnings of the names of variables that have done their work when a program is forked."""
PR_SET_CHILD_SUBREAPER = 36
FREE_FROM = 1000
"""Lowest number of a descriptor while it waits for its place in the child."""
MOST_BYTES, MOST_FILES = 1 << 17, 64
"""Largest request, and descriptors in it."""

_lock = threading.Lock()
_template: list[subprocess.Popen[bytes]] = []


class Popen(subprocess.Popen[Any]):
    """`subprocess.Popen` of `[sys.executable, "-m" or "-c", program, ...]`, forked.

    What a fork cannot give (other programs, users, limits, settings of the interpreter) is started
    as usual.
    """

    def _execute_child(self, args: Any, *given: Any) -> None:
        names = (
            *("executable", "preexec_fn", "close_fds", "pass_fds", "cwd", "env", "startupinfo"),
            *("creationflags", "shell", "p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread"),
            *("errwrite", "restore_signals", "gid", "gids", "uid", "umask", "start_new_session"),
        )
        how = dict(zip(names, given, strict=False))
        command = [os.fspath(arg) for arg in args]
        environment = dict(os.environ if how["env"] is None else how["env"])
        plain = how["preexec_fn"] is how["uid"] is how["gid"] is None and not how["shell"]
        python = command[0] == sys.executable and command[1] in ("-m", "-c")
        if not (plain and python and set_at_start(environment) == set_at_start(dict(os.environ))):
            return super()._execute_child(args, *given)  # type: ignore[misc]
        standard = (how["p2cread"], how["c2pwrite"], how["errwrite"])
        files = {n: n if file < 0 else file for n, file in enumerate(standard)}
        files |= {file: file for file in how["pass_fds"]}
        request = {
            "program": command[1:],
            "environment": environment,
            "directory": os.fspath(how["cwd"] or Path.cwd()),
            "session": how["start_new_session"],
            "files": list(files),
        }
        self.pid = fork(request, list(files.values()))
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(how[name] for name in pipes))  # type: ignore[attr-defined]
        return None


def run(command: list[Any], timeout: float | None = None, **options: Any) -> Any:
    """`subprocess.run`, forked."""
    if options.pop("capture_output", False):
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    given, check = options.pop("input", None), options.pop("check", False)
    if given is not None:
        options["stdin"] = subprocess.PIPE
    with Popen(command, **options) as process:
        try:
            output, errors = process.communicate(given, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(command, process.returncode, output, errors)
    if check:
        done.check_returncode()
    return done


def set_at_start(environment: dict[str, str]) -> dict[str, str]:
    return {key: environment[key] for key in environment if key.startswith(READ_AT_START)}


@cache
def template() -> socket.socket:
    """The connection to the template of this process, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.forked", str(theirs.fileno())]
        options = {"pass_fds": [theirs.fileno()], "cwd": ROOT, "stdin": subprocess.DEVNULL}
        _template.append(subprocess.Popen(command, **options))
    return ours


def fork(request: dict[str, Any], files: list[int]) -> int:
    """The id of a new child of this process."""
    data = json.dumps(request).encode()
    assert len(data) < MOST_BYTES and len(files) < MOST_FILES
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    with _lock:
        connection = template()
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(connection, [data], files)
            return int(connection.recv(100))
        finally:
            prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def fork_twice(connection: socket.socket) -> bool:
    """Fork a child that outlives its parent; True in the child."""
    reading, writing = os.pipe()
    between = os.fork()
    if not between:
        child = os.fork()
        if child:
            os.write(writing, str(child).encode())
            os._exit(0)
    os.close(writing)
    if between:
        os.waitpid(between, 0)  # from here on the child is that of the one who asked
        connection.send(os.read(reading, 100))
    os.close(reading)
    return not between


def serve(connection: socket.socket) -> dict[str, Any]:
    """Fork as often as asked for; returns the request in each child, never in the template."""
    while True:
        data, files, _, _ = socket.recv_fds(connection, MOST_BYTES, MOST_FILES)
        if not data:
            os._exit(0)
        if fork_twice(connection):
            connection.close()
            request: dict[str, Any] = json.loads(data)
            waiting = [fcntl.fcntl(file, fcntl.F_DUPFD, FREE_FROM) for file in files]
            os.closerange(0, FREE_FROM)
            for file, number in zip(waiting, request["files"], strict=True):
                os.dup2(file, number)
                os.close(file)
            return request
        for file in files:
            os.close(file)


def become(request: dict[str, Any]) -> None:
    """Be the program that was asked for."""
    if request["session"]:
        os.setsid()
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        errors = "backslashreplace" if name == "stderr" else "strict"
        buffering = 1 if name == "stderr" or os.isatty(number) else -1
        stream = open(number, mode, buffering, errors=errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    kind, program, *arguments = request["program"]
    sys.argv = [kind, *arguments]
    if kind == "-m":
        sys.path[0] = request["directory"]
        sys.modules.pop(program, None)  # it is run again, under the name __main__
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = ""
        names = {"__name__": "__main__", "__builtins__": __builtins__}
        exec(compile(program, "<string>", "exec"), names)


def main() -> None:
    import gc

    import nimad.check
    import nimad.ctl.main
    import nimad.daemon  # noqa: F401
    from nimad.store import schema

    with contextlib.closing(sqlite3.connect(":memory:")) as records:
        schema.make(records)  # what it works out once is there for all
    gc.collect()
    gc.freeze()  # else the collector of each child copies the pages of what is here
    become(serve(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
