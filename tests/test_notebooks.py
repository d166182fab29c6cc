"""The notebooks run, and their committed outputs are what their code gives."""

import importlib.util
from pathlib import Path

import nbformat
import pytest

LONG = ("04", "06")  # learning and memory, which tests of their own run, too
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
spec = importlib.util.spec_from_file_location("execute_notebooks", NOTEBOOKS / "execute.py")
notebooks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(notebooks)


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * path.stem.startswith(LONG))
        for path in sorted(NOTEBOOKS.glob("*.ipynb"))
    ],
)
def test_outputs_are_those_of_the_code(path):
    held = nbformat.read(path, as_version=4)
    assert any(cell.get("outputs") for cell in held.cells), f"{path.name} has no outputs: python notebooks/execute.py"
    found = notebooks.differences(held, notebooks.execute(path))
    assert not found, "\n".join([*found, "python notebooks/execute.py writes them anew"])


def test_what_differs_is_seen():
    def notebook(text, tags=()):
        cell = nbformat.v4.new_code_cell("", metadata={"tags": list(tags)})
        cell.outputs = [nbformat.v4.new_output("stream", text=text)]
        return nbformat.v4.new_notebook(cells=[cell])

    in_two = notebook("p = 0.30 ")
    in_two.cells[0].outputs.append(nbformat.v4.new_output("stream", text="after 12 us"))
    assert notebooks.differences(notebook("p = 0.30 after 12 us"), in_two) == []

    held = notebook("p = 0.30 after 12 us, circuitlsc 0.1.0 in /tmp/x")
    assert notebooks.differences(held, notebook("p = 0.31 after 12.5 us, circuitlsc 0.2.0 in /tmp/y")) == []
    assert notebooks.differences(held, notebook("p = 0.60 after 12 us, circuitlsc 0.1.0 in /tmp/x")) == [
        "cell 0: 0.30 is held, 0.60 is made"
    ]
    assert "is made" in notebooks.differences(held, notebook("q = 0.30"))[0]
    assert notebooks.differences(notebook("in 5 us", ["timings"]), notebook("in 50 us", ["timings"])) == []
    assert notebooks.differences(held, nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("")])) == [
        "cell 0: 1 outputs are held, 0 are made"
    ]
