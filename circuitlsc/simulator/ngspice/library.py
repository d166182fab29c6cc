"""Find libngspice, and open it through PySpice."""

from __future__ import annotations

import ctypes
import ctypes.util
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from circuitlsc.errors import MissingSimulatorError

HOW_TO_INSTALL = (
    "Install it with: apt-get install libngspice0 (Debian, Ubuntu), or set NGSPICE_LIBRARY_PATH to the file."
)


def find_library() -> str:
    """Return the name or path of libngspice.

    Debian's ``libngspice0`` ships ``libngspice.so.0`` only, where PySpice looks for ``libngspice.so``.

    Raises
    ------
    MissingSimulatorError
        If it is not installed, or cannot be loaded.
    """
    named = os.environ.get("NGSPICE_LIBRARY_PATH")
    for candidate in [named] if named else [ctypes.util.find_library("ngspice"), "libngspice.so.0", "libngspice.so"]:
        if not candidate:
            continue
        if os.sep in candidate:
            candidate = str(Path(candidate).absolute())  # the workers have folders of their own
        try:
            ctypes.CDLL(candidate)
        except OSError:
            continue
        return candidate
    asked = f"NGSPICE_LIBRARY_PATH = {named!r} cannot be loaded" if named else "libngspice is not installed"
    correct = "Correct or unset that variable. " if named else ""
    raise MissingSimulatorError(f"{asked}, but the circuit runs in it. {correct}{HOW_TO_INSTALL}")


def library_file() -> Path:
    """Return the file of libngspice (it is loaded to find out).

    Raises
    ------
    MissingSimulatorError
        If it is not installed, or cannot be loaded.
    """
    name = find_library()
    if os.sep in name:
        return Path(name).resolve()
    # a bare name is found by the loader's rules alone: ask it what it has loaded
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    for line in maps.splitlines():
        path = line.partition("/")[2]
        if "libngspice" in path:
            return Path(f"/{path}")
    raise MissingSimulatorError(
        f"{name} was loaded, but its file cannot be found. Set NGSPICE_LIBRARY_PATH to the file."
    )


class _WithData:
    """The library, with one function put in at its start: PySpice has a slot for its own Python callback alone."""

    def __init__(self, library: Any, data: Any) -> None:
        self._library, self._data = library, data

    def ngSpice_Init(self, *callbacks: Any) -> Any:
        return self._library.ngSpice_Init(*callbacks[:3], self._data, *callbacks[4:])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)


def open_session(data: int | None = None) -> Any:
    """Return a PySpice session with libngspice; one per process.

    ``data`` is the address of a C function that ngspice calls with the values of every accepted time point.

    PySpice raises on any line that ngspice writes to stderr, and newer versions write harmless ones ("Using SPARSE
    1.3"). This session never judges by text: whoever runs an analysis looks at the time reached and at the values.
    """
    # PySpice logs each of those lines too; the log that matters is kept in the session
    logging.getLogger("PySpice").setLevel(logging.CRITICAL)
    from PySpice.Spice.NgSpice.Shared import NgSpiceShared

    class Session(NgSpiceShared):
        LIBRARY_PATH = find_library()
        log: deque[str]
        _ngspice_shared: Any

        def _init_ngspice(self, send_data: bool) -> None:
            from PySpice.Spice.NgSpice.Shared import ffi

            library = self._ngspice_shared
            if data is not None:
                self._ngspice_shared = _WithData(library, ffi.cast("void *", data))
            super()._init_ngspice(send_data)
            self._ngspice_shared = library

        def send_char(self, message: str, ngspice_id: int) -> int:
            print(message, file=sys.stderr, flush=True)  # survives a crash of the library
            return 0

        def exec_command(self, command: str, join_lines: bool = True) -> Any:
            self._ngspice_shared.ngSpice_Command(command.encode("ascii"))
            lines = self._stdout
            self.log.extend([*self._stderr, *lines])
            self.clear_output()
            return os.linesep.join(lines) if join_lines else lines

        def load_circuit(self, circuit: str) -> None:
            from PySpice.Spice.NgSpice.Shared import NgSpiceCircuitError

            with suppress(NgSpiceCircuitError):  # raised for any line that contains "error"; a wrong circuit cannot run
                super().load_circuit(circuit)
            self.log.extend([*self._stderr, *self._stdout])
            self.clear_output()

        @property
        def library(self) -> Any:
            return self._ngspice_shared

    Session.log = deque(maxlen=200)
    session = Session.new_instance()
    session.exec_command(
        "set num_threads=1"
    )  # of transistors' models: two wait for each other 25 times longer than they work
    return session


def library_version() -> str:
    """Return the version of libngspice, e.g. ``"39"`` (loads it into this process)."""
    return session_version(open_session())


@cache
def version_apart() -> tuple[str, str]:
    """Return name and version of libngspice, which is loaded in a process of its own: a broken library may crash it.

    Raises
    ------
    MissingSimulatorError
        If it is not installed, or does not start.
    """
    code = f"from {__name__} import find_library, library_version as v; print(find_library(), v())"
    with tempfile.TemporaryDirectory(prefix="circuitlsc-") as folder:
        # ngspice runs the commands of the first .spiceinit that it finds, and -c takes modules from the working folder
        (Path(folder) / ".spiceinit").write_text("* no commands\n", encoding="ascii")
        env = {k: v for k, v in os.environ.items() if not k.startswith("SPICE_")}
        if os.sep in (named := env.get("NGSPICE_LIBRARY_PATH", "")):
            env["NGSPICE_LIBRARY_PATH"] = str(Path(named).absolute())
        run = subprocess.run(
            [sys.executable, "-P", "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=False
        )
    if run.returncode == 0:
        name, number = run.stdout.split()[-2:]
        return name, number
    last = (run.stderr.strip().splitlines() or ["it crashed"])[-1]
    _, missing, why = last.partition(f"{MissingSimulatorError.__name__}: ")
    broken = f"it is there, but does not start ({last}). Reinstall libngspice0."
    raise MissingSimulatorError(why if missing else broken)


def session_version(session: Any) -> str:
    """Return the version of a session's libngspice."""
    match = re.search(r"ngspice-([\d.]+)", session.exec_command("version -f"))
    return match.group(1) if match else "unknown"
