"""Run analyses in libngspice: one JSON line ``[deck, analysis]`` in, one JSON line of vectors out."""

import json
import os
import sys

import numpy as np

from circuitlsc.spice.library import open_session

# ngspice prints to the process's standard output: keep that apart from the answers
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
session = open_session()
for line in sys.stdin:
    deck, analysis = json.loads(line)
    session.load_circuit(deck)
    session.exec_command(analysis)
    name = session.last_plot
    if name.startswith("const"):
        answer = {"failed": f"{analysis!r} did not run: " + " | ".join(session.log)}
    else:
        answer = {key: np.asarray(vector._data).tolist() for key, vector in session.plot(None, name).items()}
    print(json.dumps(answer), file=answers, flush=True)
    session.log.clear()
    session.exec_command("destroy all")
    session.exec_command("remcirc")
