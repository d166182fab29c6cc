"""What ``python -m examples.paper`` and ``circuitlsc paper`` do."""

from __future__ import annotations

from pathlib import Path

from circuitlsc.cli.shared import one_line_errors, say
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import check_count


def make_figure(name: str, output: Path | None, seed: int, software: bool) -> None:
    """Make a figure in a new folder, with the numbers behind it; an error is one line and an exit code."""
    import numba

    from circuitlsc.io import output as out
    from circuitlsc.reporting.plotting import save_figure
    from circuitlsc.simulator.ngspice.library import find_library
    from examples.paper.run import FIGURES, WITH_CIRCUITS, reproduce

    with one_line_errors():
        if name not in FIGURES:
            raise InputError(f"paper: {name!r} is not a figure that can be made. Give one of {', '.join(FIGURES)}.")
        check_count("paper: --seed", seed, 0, " is not a whole number")
        target = output or Path(f"paper-{name}")
        out.check_free(target)
        circuits = not software and name in WITH_CIRCUITS
        if circuits:
            find_library()
        with out.new_folder(target) as folder:
            made = reproduce(name, seed=seed, circuits=circuits, workers=numba.get_num_threads(), note=say)
            out.write_json(folder / f"{name}.json", made.numbers)
            save_figure(made.figure, folder / f"{name}.png")
        print(made.text)
