"""Check a deck from a stranger, and all files that it includes, before ngspice sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import networkx as nx

from circuitlsc.errors import InputError
from circuitlsc.io.safe_open import read_regular, reason
from circuitlsc.simulator.ngspice.deck_lines import Finding, check_lines

MOST_BYTES = 2**25  # of a deck and all that it includes
MOST_FINDINGS = 1000  # of one deck: more say nothing new
BSIM4_LOGS = tuple(f"bsim4{version}.out" for version in ("", "v5", "v6", "v7"))  # ngspice writes them where it works
INIT_FILES = (".spiceinit", "spice.rc")  # ngspice runs their commands, if they are in the folder that it works in


def check_deck(deck: Path, known: Mapping[str, Collection[str]] | None = None) -> list[Finding]:
    """Return what in a deck, in the files that it includes and in its folder, runs commands or leaves the folder.

    What an empty list promises holds if ngspice runs in the deck's folder: it looks for included files in the folder that
    it works in first.

    Parameters
    ----------
    deck : pathlib.Path
    known : mapping or None
        Files of models, by their SHA-256, that are known to be harmless though they hold BSIM4 models and sections whose
        files are not there: the sections that ``.lib`` may read of each (none: it is included as it is). What BSIM4 says of
        odd sizes ngspice writes into a file of a fixed name, which must not be there.

    Raises
    ------
    InputError
        If the deck cannot be read, or is no file, or too large.
    """
    try:
        data = read_regular(deck, MOST_BYTES)
    except OSError as error:
        raise InputError(f"{deck} cannot be read: {reason(error)}. Give a netlist, for example deck.cir.") from None
    folder, top = deck.absolute().parent.resolve(), deck.resolve()
    findings = [
        Finding(0, "", "ngspice runs the commands of this file when it works in this folder", name)
        for name in INIT_FILES
        if (folder / name).exists() or (folder / name).is_symlink()
    ]
    left, waiting = MOST_BYTES - len(data), [(top, deck.name, data, folder)]
    texts = {top: data}
    known = known or {}
    reads = nx.DiGraph()  # which file reads which, to tell a circle
    while waiting and len(findings) < MOST_FINDINGS:
        file, name, data, here = waiting.pop()
        complaints, includes = check_lines(data, titled=file == top)
        findings.extend(replace(c, file=name) for c in complaints)
        for include in includes:
            paths, why = _resolve(include.name, here, folder)
            if not paths and why is None and not include.section:
                why = "there is no such file in the folder, so ngspice looks for it elsewhere"
            for path in paths:
                if include.card != ".lib":  # of a library ngspice reads one section, and each once
                    reads.add_edge(file, path)
                if path not in texts:
                    try:
                        texts[path] = read_regular(path, left)
                    except OSError as error:
                        why = f"cannot be read: {reason(error)}"
                        continue
                    left -= len(texts[path])
                    unread = True
                else:
                    unread = False
                sections = known.get(hashlib.sha256(texts[path]).hexdigest())
                if sections is not None:
                    why = _of_models(include.wanted, sections, folder)
                elif unread:
                    waiting.append((path, str(path.relative_to(folder)), texts[path], path.parent))
            if why is not None:
                findings.append(Finding(include.number, include.text, why, name))
    if not nx.is_directed_acyclic_graph(reads):
        circle = " -> ".join(str(path.name) for path, _ in nx.find_cycle(reads))
        findings.append(Finding(0, "", f"files include each other in a circle: {circle}", deck.name))
    return findings[:MOST_FINDINGS]


def _resolve(name: str, here: Path, folder: Path) -> tuple[list[Path], str | None]:
    """Return the files that ngspice may take for a name (it looks in the folder it works in, then beside), and a complaint."""
    found = []
    for start in dict.fromkeys((folder, here)):
        try:
            path = (start / name).resolve()
            there = path.exists()
        except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a name that is too long
            return [], f"its file cannot be found ({error})"
        if not path.is_relative_to(folder):
            return [], "leaves the deck's folder"
        if there:
            found.append(path)
    return found, None


def _of_models(wanted: str, sections: Collection[str], folder: Path) -> str | None:
    """Return what is wrong with reading a section (empty: all) of a file of known models."""
    if wanted not in sections and (wanted or sections):
        return (
            f"reads of known models {wanted or 'every section'}, and {', '.join(sections) or 'no section'} is harmless"
        )
    there = next((name for name in BSIM4_LOGS if (folder / name).exists() or (folder / name).is_symlink()), None)
    return there and f"may make ngspice write a log into {there}, and there is one in the folder"
