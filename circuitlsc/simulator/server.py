"""The process that workers are forked from: ``python -m circuitlsc.simulator.server DESCRIPTOR``.

It has imported what a worker needs, loaded the callbacks, and waits at a socket for the folders of chains: a worker then starts
in milliseconds, and not in the half second that Python, NumPy and numba take to come up. It has one thread, so a fork copies no
lock that another one holds; libngspice is loaded, but first called in the worker, so that a crash takes one chain alone.

Messages are JSON, one a packet. ``{"id", "what", "folder"}`` comes with descriptors: the worker's stderr, and the locks that
it holds. ``{"id", "kill"}`` ends a worker. Answers are ``{"id"}`` for one that started, ``{"id", "code"}`` for one that ended,
and ``{"id", "errno"}`` for one that could not be started. A server ends with whoever asks, and the system ends the workers with
their server, however that ends.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from circuitlsc.errors import MissingSimulatorError
from circuitlsc.io.processes import end_with_parent
from circuitlsc.simulator import analysis, worker
from circuitlsc.simulator.ngspice import transient  # noqa: F401  (loads the compiled callbacks)
from circuitlsc.simulator.ngspice.library import find_library

WORK = {"chain": worker.main, "analysis": analysis.main}
IDLE = 60.0  # s: how long it stays without work
MESSAGE = 16_384  # bytes
SERVER, WORKER = "lsc-server", "lsc-worker"  # what ps calls them
_SET_NAME = 15  # prctl


def _call_myself(name: str) -> None:
    ctypes.CDLL(None).prctl(_SET_NAME, name.encode(), 0, 0, 0)


def _load() -> None:
    """Load what every worker of ngspice uses, once."""
    from PySpice.Spice.NgSpice import Shared  # noqa: F401

    with suppress(MissingSimulatorError):  # another simulator needs none; who asks for ngspice has looked
        ctypes.CDLL(find_library())
    gc.collect()
    gc.freeze()  # what is here stays shared with the workers


def _worker(what: str, folder: str, descriptors: list[int], server: int) -> None:
    """Be a worker: do what is asked for in a folder, and end."""
    code = 1
    try:
        end_with_parent()
        if os.getppid() != server:  # it ended before that
            return
        os.dup2(descriptors[0], 2)  # the others, of locks, are held by being open
        os.chdir(folder)
        _call_myself(WORKER)
        code = WORK[what](Path(folder))
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)


class _Server:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._workers: dict[int, int] = {}  # process: number of the job
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def run(self) -> None:
        """Serve until nobody is there, or nothing has been asked for a while; no more being asked, workers are waited for."""
        there, poll, listening = self._connection.fileno(), select.poll(), True
        poll.register(self._woken, select.POLLIN)
        poll.register(there, select.POLLIN)
        while listening or self._workers:
            ready = dict(poll.poll(None if self._workers else 1000 * IDLE))
            if not ready or ready.get(there, 0) & select.POLLHUP:
                return
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._reap()
            if there in ready:
                listening = self._asked()
                poll.modify(there, select.POLLIN if listening else 0)

    def _tell(self, **answer: int) -> None:
        with suppress(OSError):  # whoever asked is gone: the next poll says so
            self._connection.send(json.dumps(answer).encode())

    def _reap(self) -> None:
        while self._workers:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            self._tell(id=self._workers.pop(process), code=os.waitstatus_to_exitcode(status))

    def _asked(self) -> bool:
        """Do what the next message asks for; False at the end of the connection."""
        data, descriptors, _, _ = socket.recv_fds(self._connection, MESSAGE, 8)
        if not data:
            return False
        asked = json.loads(data)
        if "kill" in asked:
            for process, job in self._workers.items():
                if job == asked["id"]:
                    os.kill(process, signal.SIGKILL)
            return True
        server = os.getpid()
        try:
            process = os.fork()
        except OSError as error:
            self._tell(id=asked["id"], errno=error.errno or 0)
        else:
            if process == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for descriptor in (self._connection.detach(), self._woken, self._wake):
                    os.close(descriptor)
                _worker(asked["what"], asked["folder"], descriptors, server)
            self._workers[process] = asked["id"]
            self._tell(id=asked["id"])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True


def main(descriptor: int) -> None:
    """Serve at a socket that the parent has the other end of."""
    _call_myself(SERVER)
    _load()
    _Server(socket.socket(fileno=descriptor)).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
