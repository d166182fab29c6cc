"""Everything public is imported from circuitlsc; what moved says so."""

import importlib
import re
import sys
from pathlib import Path

import pytest

import circuitlsc
from circuitlsc.validation.judge import judge


def test_every_public_name_is_there():
    """The stub is the one list of names: types, __all__ and dir come from it."""
    assert {"Sampler", "build_sampler", "judge", "register_prior"} < {*circuitlsc.__all__} <= {*dir(circuitlsc)}
    for name in circuitlsc.__all__:
        assert getattr(circuitlsc, name).__name__ == name
    with pytest.raises(AttributeError, match="judgment"):
        circuitlsc.judgment  # noqa: B018


def test_the_old_path_of_judge_warns():
    sys.modules.pop("circuitlsc.experiment", None)
    with pytest.warns(DeprecationWarning, match="from circuitlsc import judge"):
        old = importlib.import_module("circuitlsc.experiment")
    assert old.judge is circuitlsc.judge is judge


def test_few_modules_stand_at_the_top():
    top = {path.name for path in Path(circuitlsc.__file__).parent.glob("*.py")}
    assert top == {"__init__.py", "__main__.py", "errors.py", "experiment.py"}


def test_the_core_path_is_read_in_an_evening():
    """The files that docs/architecture.md names in steps 1 to 5 of its reading order; of circuits, step 9 has the rest."""
    package = Path(circuitlsc.__file__).parent
    text = (package.parent / "docs" / "architecture.md").read_text()

    def named(first, after):
        steps = text[text.index(first) : text.index(after)]
        paths = [package / name for name in re.findall(r"`((?:model|circuit|sampling)/[\w/]*(?:\.py)?)`", steps)]
        return {file for path in paths for file in (path.glob("*.py") if path.is_dir() else [path])}

    later = named("\n9. ", "\n## What is data")
    files = named("\n1. `model/", "\n6. `planning/") - later
    assert {*(package / "circuit").rglob("*.py")} <= {*files, *later, package / "circuit" / "__init__.py"}
    assert sum(len(file.read_text().splitlines()) for file in files) <= 5550
