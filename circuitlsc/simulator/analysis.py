"""One small-signal analysis (``.ac``, ``.noise``, ``.op``, ``.dc``) of a circuit, in a process of its own.

``python -m circuitlsc.simulator.analysis FOLDER`` is the worker: it reads ``analysis.json`` and writes ``vectors.npz``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from circuitlsc.errors import SimulationError
from circuitlsc.simulator.ngspice.library import find_library, open_session
from circuitlsc.simulator.workers import last_lines, run_worker


def analyse(deck: str, command: str, *, timeout: float = 600.0) -> Mapping[str, NDArray[np.complex128]]:
    """Return the vectors of an analysis by name, complex.

    Parameters
    ----------
    deck : str
        Without an analysis line.
    command : str
        For example ``"ac dec 20 1e3 1e9"``. Of ``noise`` the spectra come back, in volt or ampere per root hertz, one-sided.
    timeout : float
        Seconds.

    Raises
    ------
    SimulationError
        If ngspice did not run it.
    MissingSimulatorError
        If libngspice cannot be found.
    """
    find_library()
    with tempfile.TemporaryDirectory(prefix="circuitlsc-") as name:
        folder = Path(name)
        (folder / "analysis.json").write_text(json.dumps({"deck": deck, "command": command}), encoding="utf-8")
        begin = time.monotonic()
        run_worker("analysis", folder, lambda: time.monotonic() - begin > timeout)
        if not (folder / "vectors.npz").exists():
            if time.monotonic() - begin > timeout:
                raise SimulationError(f"the analysis {command!r} was stopped after {timeout:g} s.", 0)
            raise SimulationError(f"ngspice did not run {command!r}.", 0, log=last_lines(folder))
        with np.load(folder / "vectors.npz") as stored:
            return {key: stored[key].astype(complex) for key in stored.files}


def main(folder: Path) -> int:
    """Run the analysis in ``folder``; return the exit code."""
    job = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))
    session = open_session()
    session.load_circuit(job["deck"])
    session.exec_command(job["command"])
    name = session.last_plot
    if name.startswith("noise"):
        name = f"noise{int(name.removeprefix('noise')) - 1}"  # the spectra; the last one holds their integrals
    if name.startswith("const"):
        print("\n".join(session.log), file=sys.stderr)
        return 1
    vectors = {str(key): np.asarray(vector._data) for key, vector in session.plot(None, name).items()}
    with (folder / "part.npz").open("wb") as out:
        np.savez(out, **vectors)  # type: ignore[arg-type]
    (folder / "part.npz").rename(folder / "vectors.npz")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
