"""Execute the notebooks and write them with their outputs; or compare what they give with what they hold.

usage: python notebooks/execute.py [NAME ...]      all of them if none is named
Numbers in text are compared to 0.05 + 20 %: circuits are simulated by different versions of ngspice. Outputs of cells with the tag
"timings" are compared by their words alone; versions and paths do not count anywhere, nor do the pixels of pictures.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
MASKED = re.compile(r"\b\d+\.\d+\.\d+\S*|(?<!\w)/[\w./-]+")
ABSOLUTE, RELATIVE = 0.05, 0.2


def execute(path: Path) -> nbformat.NotebookNode:
    """Return a notebook with the outputs that its code gives now."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}})
    inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # pictures are outputs, wherever this runs
    client.execute(env={**os.environ, **inline})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
    notebook.metadata.pop("widgets", None)
    return notebook


def texts(cell: nbformat.NotebookNode) -> list[str]:
    """Return what a cell prints (in one, however the kernel cut it), and what kinds of other output it has."""
    printed, found = "", []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            printed += output.text if output.name == "stdout" else ""
        else:
            data = output.get("data", {})
            pictures = sorted(kind for kind in data if kind.startswith("image/"))
            found.append("" if pictures else str(data.get("text/plain", "")))
            found += pictures
    return [printed, *found] if printed else found


def differences(held: nbformat.NotebookNode, made: nbformat.NotebookNode) -> list[str]:
    """Return a line for each output that is another."""
    found = []
    for number, (old, new) in enumerate(zip(held.cells, made.cells, strict=True)):
        if old.cell_type != "code":
            continue
        before, after = texts(old), texts(new)
        timings = "timings" in old.metadata.get("tags", [])
        if len(before) != len(after):
            found.append(f"cell {number}: {len(before)} outputs are held, {len(after)} are made")
        for a, b in zip(before, after, strict=False):
            a, b = MASKED.sub("", a), MASKED.sub("", b)
            words = [" ".join(NUMBER.sub("#", text).split()) for text in (a, b)]
            if words[0] != words[1]:
                found.append(f"cell {number}: {words[0]!r} is held, {words[1]!r} is made")
            elif not timings:
                values = zip(NUMBER.findall(a), NUMBER.findall(b), strict=True)
                far = [(x, y) for x, y in values if abs(float(x) - float(y)) > ABSOLUTE + RELATIVE * abs(float(x))]
                if far:
                    found.append(f"cell {number}: {far[0][0]} is held, {far[0][1]} is made")
    return found


def main(names: list[str]) -> None:
    """Execute and write."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not names or path.name in names:
            print(path.name, flush=True)
            nbformat.write(execute(path), path)


if __name__ == "__main__":
    main(sys.argv[1:])
