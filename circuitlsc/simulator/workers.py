"""Start workers: each is forked from a server (`circuitlsc.simulator.server`) of this process, which starts with the first."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path

from circuitlsc.errors import CircuitLSCError, MissingSimulatorError
from circuitlsc.simulator.ngspice.library import find_library

#: what a server reads as it starts; if one of them changes, another server is started
READ = ("PYTHON", "NUMBA_", "LD_", "LC_", "LANG", "HOME", "TMPDIR", "XDG_", "PATH", "NGSPICE_", "CIRCUITLSC_", "SPICE_")
MESSAGE = 4096
LOG, SPICEINIT = "worker.log", ".spiceinit"  # in a worker's folder


class ServerLost(Exception):
    """The server ended before it had started the worker: with its exit code, and what it wrote to stderr."""


def worker_environment() -> dict[str, str]:
    """Return the workers' environment: nothing of ngspice's, one thread, this package on the path."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("SPICE_")}
    package = str(Path(__file__).resolve().parents[2])
    env.update(
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
        PYTHONPATH=os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])]),
    )
    with suppress(MissingSimulatorError):  # another simulator needs none; who asks for ngspice has looked
        env["NGSPICE_LIBRARY_PATH"] = find_library()
    return env


def no_room(errno: int) -> CircuitLSCError:
    """Return the error of a system that starts no more processes."""
    return CircuitLSCError(
        f"no process could be started for it ({os.strerror(errno)}). End other programs, or give fewer workers."
    )


class _Server:
    """A server as this process sees it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                # -P: nothing in the working folder is a module
                [sys.executable, "-P", "-m", "circuitlsc.simulator.server", str(theirs.fileno())],
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,  # of the server alone
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # a Ctrl-C at the terminal goes to the parent, which then stops its workers
            )
        self._lock, self._workers, self._number = threading.Lock(), dict[int, Future[int]](), 0
        self._lost: Future[int] = Future()  # has its exception once the server has ended
        self._there = True
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, job: dict[str, str], descriptors: list[int]) -> tuple[int, Future[int]]:
        """Ask for a worker; return its number, and what becomes of it.

        That is its exit code (a signal's number, negative, if one ended it), or an exception if it could not be started: a
        CircuitLSCError, or ServerLost. It is running from when the worker is there.
        """
        with self._lock:
            if not self._there:
                return 0, self._lost
            self._number += 1
            ended = self._workers[self._number] = Future[int]()
            asked = json.dumps({"id": self._number, **job}).encode()
            with suppress(BrokenPipeError, ConnectionResetError):  # whoever listens sees the end of the connection
                socket.send_fds(self._socket, [asked], descriptors)
            return self._number, ended

    def kill(self, number: int) -> None:
        """End a worker, if it has not ended."""
        with suppress(OSError):
            self._socket.send(json.dumps({"id": number, "kill": True}).encode())

    def retire(self) -> None:
        """Ask for no more workers: the server ends with the last one."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def _listen(self) -> None:
        """Take note of what the server says, until it ends."""
        while True:
            try:
                data = self._socket.recv(MESSAGE)
            except OSError:
                data = b""
            if not data:
                break
            said = json.loads(data)
            if "code" in said:
                self._workers.pop(said["id"]).set_result(said["code"])
            elif "errno" in said:
                self._workers.pop(said["id"]).set_exception(no_room(said["errno"]))
            else:
                self._workers[said["id"]].set_running_or_notify_cancel()
        with self._lock:
            self._there = False
            self._socket.close()
        _, wrote = self._process.communicate()
        code = self._process.returncode
        for ended in (self._lost, *self._workers.values()):
            if ended.running():
                ended.set_result(code or 1)
            else:
                ended.set_exception(ServerLost(code, wrote))


_lock = threading.Lock()
_server: _Server | None = None
_environment: dict[str, str] = {}


def _forget() -> None:
    """Leave the server to the process that this one was forked from."""
    global _lock, _server
    _lock = threading.Lock()
    if _server is not None:
        _server._socket.close()  # of this process's copy: the server is another process's
    _server = None


os.register_at_fork(after_in_child=_forget)


def get_ready() -> None:
    """Start the server, if there is none for this environment: it is ready by the time that it is needed.

    Raises
    ------
    MissingSimulatorError
        If libngspice cannot be found.
    """
    find_library()
    _ready()


def _ready(instead_of: _Server | None = None) -> _Server:
    global _server, _environment
    whole = worker_environment()
    environment = {k: v for k, v in whole.items() if k.startswith(READ)} | {"": sys.executable}
    with _lock:
        if _server is None or _server is instead_of or environment != _environment:
            if _server is not None:
                _server.retire()
            _server, _environment = _Server(whole), environment
        return _server


def run_worker(what: str, folder: Path, give_up: Callable[[], bool], held: Sequence[int] = ()) -> int:
    """Run a worker to its end, and return its exit code; a signal's number, negative, if one ended it.

    Parameters
    ----------
    what : str
        What it does: a name in `circuitlsc.simulator.server`.
    folder : pathlib.Path
        What it works on, and in; its standard error goes to the log there.
    give_up : callable
        Called many times a second; it is killed if that returns True.
    held : sequence of int
        Descriptors of locks, which it holds as long as it lives.

    Raises
    ------
    CircuitLSCError
        If the system has no room for another process.
    """
    # ngspice runs the commands of the first .spiceinit that it finds: here, or in the home that /etc/passwd names
    (folder / SPICEINIT).write_text("* no commands\n", encoding="ascii")
    server, job = None, {"what": what, "folder": str(folder.absolute())}
    with (folder / LOG).open("wb") as log:
        for _ in range(2):
            try:
                server = _ready(server)
                number, ended = server.start(job, [log.fileno(), *held])
            except OSError as error:
                raise no_room(error.errno or 0) from None
            while not wait([ended], 0.01).done and not give_up():
                pass
            server.kill(number)
            try:
                return ended.result()
            except ServerLost as error:  # nobody had asked it for anything, or somebody ended it: another one, once
                lost = error
        code, said = lost.args
        log.write(said)
    return code or 1


def last_lines(folder: Path) -> tuple[str, ...]:
    """Return the last lines of a worker's stderr, for one that could not say itself what went wrong."""
    try:
        lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    return tuple(line for line in lines if line.strip())[-5:]
