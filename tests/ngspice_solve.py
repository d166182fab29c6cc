"""Run analyses in libngspice: one JSON line ``[deck, analysis]`` in, one JSON line of vectors out.

An analysis may leave several plots (``noise``: the spectrum and its integral); all their vectors are returned. A complex
vector ``v`` becomes two real ones, ``re(v)`` and ``im(v)``.
"""

import json
import os
import sys

import numpy as np

from circuitlsc.simulator.ngspice.library import open_session


def reals(name, values):
    """Return a vector as named lists of real numbers."""
    if np.iscomplexobj(values):
        return {f"re({name})": values.real.tolist(), f"im({name})": values.imag.tolist()}
    return {name: values.tolist()}


# ngspice prints to the process's standard output: keep that apart from the answers
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
session = open_session()
for line in sys.stdin:
    deck, analysis = json.loads(line)
    session.load_circuit(deck)
    session.exec_command(analysis)
    plots = [name for name in session.plot_names if not name.startswith("const")]  # the last one first
    if plots:
        answer = {}
        for plot in reversed(plots):
            for key, vector in session.plot(None, plot).items():
                answer |= reals(key, np.asarray(vector._data))
    else:
        answer = {"failed": f"{analysis!r} did not run: " + " | ".join(session.log)}
    print(json.dumps(answer), file=answers, flush=True)
    session.log.clear()
    session.exec_command("destroy all")
    session.exec_command("remcirc")
