"""Operating points of netlists of modules, in VACASK and in ngspice: for tests."""

import json
import subprocess
import sys

import numpy as np

from circuitlsc.simulator.modules import for_vacask, vacask_lines
from circuitlsc.simulator.ngspice.modules import families, lines
from circuitlsc.simulator.vacask.transient import read_raw
from circuitlsc.simulator.verilog_a import compiled, find_programs

NGSPICE = """
import json, sys
from circuitlsc.simulator.ngspice.library import open_session
from circuitlsc.simulator.ngspice.transient import operating_point
given = json.loads(sys.stdin.read())
session = open_session()
for path in given["objects"]:
    session.exec_command(f"osdi {path}")
print(json.dumps(operating_point(session, given["deck"], given["nodes"]).tolist()))
"""


def in_vacask(folder, net, held, nodes):
    """Return the voltages of nodes with others held, {node: volts}."""
    net = for_vacask(net)
    sources = [f"v_{node} ({node} 0) vsource dc={float(volts)!r}" for node, volts in held.items()]
    load = [f'load "{path}"' for path in compiled(net.families).values()]
    control = ["control", "abort always", "options reltol=1e-12 vntol=1e-15 abstol=1e-18"]
    control += ["save " + " ".join(f"v({node})" for node in nodes), "analysis op1 op", "endc", ""]
    (folder / "dc.sim").write_text("\n".join(["modules at DC", *load, *vacask_lines(net), *sources, *control]))
    command = [find_programs().vacask, "-qp", "-se", "-sp", "dc.sim"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout[-500:]
    names, rows = read_raw(folder / "op1.raw")
    return dict(zip(names, rows[0], strict=True))


def in_ngspice(folder, net, held, nodes):
    """Return the same of libngspice."""
    sources = [f"v_{node} {node} 0 {float(volts)!r}" for node, volts in held.items()]
    options = ".options reltol=1e-12 vntol=1e-15 abstol=1e-18 gmin=0 klu itl1=200"
    deck = "\n".join(["modules at DC", *lines(net), *sources, options, ".end", ""])
    given = {"deck": deck, "nodes": list(nodes), "objects": [str(path) for path in compiled(families(net)).values()]}
    command = [sys.executable, "-c", NGSPICE]
    run = subprocess.run(command, cwd=folder, input=json.dumps(given), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-1000:]
    return dict(zip(nodes, np.array(json.loads(run.stdout.splitlines()[-1])), strict=True))


RUN = {"vacask": in_vacask, "ngspice": in_ngspice}
