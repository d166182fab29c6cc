"""Why ngspice gave up, from what it printed: the node that it names, what that node is, and the likely reason."""

from __future__ import annotations

import re
from collections.abc import Sequence

SINGULAR = re.compile(r"singular matrix:\s+check nodes? (\S+)(?: and (\S+))?", re.IGNORECASE)
TOO_SMALL = re.compile(
    r"Timestep too small; time = (\S+), timestep = \S+: (?:trouble with (?:node )?\"?([^\"]+?)\"?\s*$|cause unrecorded)",
    re.IGNORECASE,
)
OUT_OF_RANGE = re.compile(r"Error:\s+(\S+) out of range for (\S+)", re.IGNORECASE)
#: what the nodes of our circuits are, by the letters before the number
NODES = {
    "u": "the state of neuron {}",
    "p": "the momentum of neuron {}",
    "s": "the code of latent {}",
    "ns": "the inverted code of latent {}",
    "r": "the residual of feature {}",
    "nr": "the inverted residual of feature {}",
    "e": "the gradient at neuron {}",
    "x": "the input of feature {}",
    "noise": "the noise of neuron {}",
    "xneuron": "neuron {}",
    "xnoise": "the noise source of neuron {}",
}


def what_is(node: str) -> str:
    """Say what a node or branch of our circuits is, as ngspice flattens its name; its name alone if it is none of ours."""
    name = node.lower()
    branch = name.endswith("#branch")
    name = name.removesuffix("#branch")
    meaning = None
    for part in name.split("."):
        letters, _, number = part.partition("_")
        if letters in NODES and number.isdecimal():
            meaning = NODES[letters].format(number)
            break
    kind = f"the current of {name.split('.')[-1]}" if branch else ""
    known = ", ".join(filter(None, [kind, meaning and f"of {meaning}" if kind else meaning]))
    return f"{node} ({known.replace(', of', ' in')})" if known else node


def diagnose(reason: str, log: Sequence[str]) -> str:
    """Return the reason with what ngspice's lines say about it, one sentence more, or as it is if they say nothing.

    Parameters
    ----------
    reason : str
        What the engine saw: a transient that did not reach its end.
    log : sequence of str
        ngspice's lines.
    """
    text = list(log)
    for line in text:
        if found := SINGULAR.search(line):
            nodes = " and ".join(what_is(n) for n in found.groups() if n)
            return (
                f"{reason} ngspice: the matrix is singular, check {nodes}; likely a loop of voltage sources, or a node that "
                "nothing but capacitors or current sources connects."
            )
    for line in text:
        if found := TOO_SMALL.search(line):
            where = f", trouble with {what_is(found[2])}" if found[2] else ""
            wrong = next((m for m in map(OUT_OF_RANGE.search, text) if m), None)
            why = (
                f"an expression takes {wrong[2]} of {wrong[1]}"
                if wrong
                else "likely an expression there divides by zero, or jumps faster than any step"
            )
            return f"{reason} ngspice: the time step became too small at {found[1]} s{where}; {why}."
    return reason
