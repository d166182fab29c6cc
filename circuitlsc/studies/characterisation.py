"""The cells of a design in transistors, characterised at corners and on chips: tables, gains, and what they are off by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from circuitlsc.circuit.transistor import implied
from circuitlsc.circuit.transistor.design import Design
from circuitlsc.circuit.transistor.process import PACKAGE, PROCESS, VERSION
from circuitlsc.circuit.transistor.silicon import Silicon
from circuitlsc.circuit.transistor.tables import NeuronTables
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, is_finite
from circuitlsc.io.report import Facts, Note, Report, Table, Value
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.nonideal.parameters import PROCESSES
from circuitlsc.sampling.sampler import Sampler

SIDES = ("negative", "positive")
MOST = 500  # characterisations of one command


@dataclass(frozen=True, eq=False)
class CharacterisedChip:
    """What the cells of one chip at one corner do.

    Attributes
    ----------
    silicon : Silicon
    """

    silicon: Silicon

    @property
    def name(self) -> str:
        """Corner and chip, as part of a file's name."""
        corner, mismatch = self.silicon.parts.corner, self.silicon.parts.mosfet.mismatch
        chip = f"-chip{self.silicon.parts.seed}" if mismatch else ""
        return f"{corner.process}-{corner.temperature:g}K-{self.silicon.supply:.3g}V{chip}"

    @property
    def neurons(self) -> tuple[NeuronTables, ...]:
        """The neurons' tables: one if they are alike."""
        return self.silicon.tables.neurons

    def arrays(self) -> dict[str, Array]:
        """Return the tables by name, in model units, with what a unit is: volt of u, ampere of s and of e and F."""
        sizes = self.silicon.sizes
        found = {
            "u": np.stack([t.drift.knots for t in self.neurons]),
            "e": self.neurons[0].drift.others,
            "s": np.stack([t.code.values for t in self.neurons]),
            "F": np.stack([t.drift.values for t in self.neurons]),
            "G": sum(self.silicon.tables.matrices.values(), np.zeros_like(sizes.gram)),
            "volt_per_u": np.array(sizes.volt),
            "ampere_per_s": np.array(sizes.unit),
            "ampere_per_e": np.array(sizes.unit_e),
        }
        if self.neurons[0].negative is not None:
            found["s_negative"] = np.stack([t.negative.values for t in self.neurons if t.negative is not None])
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, JSON-ready."""
        parts = self.silicon.parts
        return {
            "name": self.name,
            "process": parts.corner.process,
            "temperature": parts.corner.temperature,
            "supply": self.silicon.supply,
            "seed": parts.seed if parts.mosfet.mismatch else None,
            "neurons": [dict(neuron.quality) for neuron in self.neurons],
            "trims": dict(self.silicon.chip.trims),
            "supply_current": self.silicon.tables.supply,
        }


@dataclass(frozen=True, eq=False)
class Characterisation:
    """The cells of a design at corners and on chips.

    Attributes
    ----------
    sampler : Sampler
    chips : tuple of CharacterisedChip
    """

    sampler: Sampler
    chips: tuple[CharacterisedChip, ...]

    def implied(self, neuron: NeuronTables) -> Array | None:
        """Return what the law of one neuron is off by at six inputs (`implied.errors`); None if K > 1 or codes are signed."""
        model, sizes = self.sampler.model, self.sampler.sizes
        if sizes is None or model.n_latents != 1 or model.prior.signed:
            return None
        return implied.errors(neuron, float(model.gram[0, 0]), sizes.width, lam=sizes.lam, u0=sizes.u0)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, JSON-ready."""
        chips = []
        for chip in self.chips:
            errors = [self.implied(neuron) for neuron in chip.neurons]
            chips.append(chip.to_dict() | {"implied": [None if e is None else e.tolist() for e in errors]})
        inputs = [slabs / self.sampler.sizes.lam for slabs in implied.INPUTS] if self.sampler.sizes else []
        return {"implied_inputs": inputs, "chips": chips}

    def _rows(self) -> Iterator[tuple[CharacterisedChip, int, NeuronTables]]:
        for chip in self.chips:
            for i, neuron in enumerate(chip.neurons):
                yield chip, i, neuron

    def report(self) -> Report:
        """Return the tables of gains, of what the implied law is off by, and of trims."""
        sizes = self.sampler.sizes
        assert sizes is not None
        columns = {"cells of": "<", "neuron": ">"}
        columns |= {f"{what} {sign}": ">9.4f" for what in ("slope", "gain", "lam", "u0") for sign in ("u<0", "u>0")}
        columns |= {"offset": ">9.4f", "gate - ds/du": ">9.4f", "rms": ">9.4f", "supply A": ">9.3g"}
        rows: list[tuple[Value, ...]] = []
        off: list[tuple[Value, ...]] = []
        for chip, i, neuron in self._rows():
            q = neuron.quality
            named = [q[f"{what} {side}"] for what in ("slope", "gain", "lam", "crossing") for side in SIDES]
            current = chip.silicon.tables.supply if i == 0 else None
            rows.append((chip.name, i, *named, q["offset"], q["largest"], q["rms"], current))
            if (errors := self.implied(neuron)) is not None:
                off.append((chip.name, *np.abs(errors).max(axis=0)))
        blocks: list[Any] = [Facts(tuple(self._facts(sizes))), Table.of(columns, rows)]
        summary: dict[str, Value] = {
            "largest gate - ds/du": max(float(n.quality["largest"]) for _, _, n in self._rows())
        }
        if off:
            titles = {"cells of": "<", "max dP": ">9.4f", "max dmean": ">9.4f", "max dsd": ">9.4f"}
            blocks.append(
                Table.of(titles, off, "law that one neuron's tables imply, against the exact posterior, six inputs")
            )
            summary["max dP"] = max(float(row[1] or 0.0) for row in off)
        trims = [(chip.name, path, 1e3 * volt) for chip in self.chips for path, volt in chip.silicon.chip.trims.items()]
        if trims:
            blocks.append(Table.of({"cells of": "<", "device": "<", "trim mV": ">9.3f"}, trims))
        if not off:
            blocks.append(
                Note("Tables alone imply a law for one neuron with a nonnegative code; else `run` measures it.")
            )
        return Report(tuple(blocks), summary=summary)

    def _facts(self, sizes: Design) -> Iterator[tuple[str, str]]:
        n, b = len(sizes.weights), self.chips[0].silicon.b
        mirrors = [entry.cell for sign in (1, -1) for entry in sizes.entries(sign)] + [p[1] for p in sizes.inputs(b)]
        kinds = {"bias": [sizes.bias], "neurons": [sizes.threshold, sizes.gate] * n, "crossbar, inputs": mirrors}
        yield "process", f"{PROCESS}, models of {PACKAGE} {VERSION}"
        yield "design", sizes.said
        for what, made in kinds.items():
            count, area = sum(cell.transistors for cell in made), sum(cell.gate_area for cell in made)
            yield "transistors", f"{what}: {count}, gate area {area:.4g} um^2"


def parse_corners(
    parts: Nonidealities, process: str | None, temperature: str | None, supply: str | None, chips: int | None
) -> list[Nonidealities]:
    """Return what is asked for: every process at every temperature and supply, on each chip; else that of the config alone.

    Parameters
    ----------
    parts : Nonidealities
        Of the config.
    process, temperature, supply : str or None
        Names, kelvin and factors on the supply, separated by commas.
    chips : int or None
        How many chips, with the seeds 0, 1, ..; None keeps the config's.

    Raises
    ------
    InputError
        For what is no list of such values, or chips without mismatch.
    """
    corner = parts.corner
    names = [corner.process] if process is None else [name.strip() for name in process.split(",")]
    for name in names:
        if name not in PROCESSES:
            raise InputError(f"--process {process}: {name!r} is not one of {', '.join(PROCESSES)}.")
    kelvins = _numbers("--temperature", temperature, corner.temperature, "kelvin, for example 233,300,398")
    factors = _numbers("--supply", supply, corner.supply, "factors on the supply, for example 0.909,1,1.09")
    seeds = [parts.seed]
    if chips is not None:
        if chips < 1:
            raise InputError(f"--chips {chips}: give 1 or more.")
        if parts.mosfet.mismatch == 0:
            raise InputError(
                f"--chips {chips}, but nonideal.mosfet.mismatch is 0: all chips are alike. Set it to 1 in [nonideal.mosfet]."
            )
        seeds = list(range(chips))
    combined = list(dict.fromkeys(product(names, kelvins, factors, seeds)))
    if len(combined) > MOST:
        raise InputError(f"{len(combined)} corners and chips are asked for, and {MOST} are the most. Ask for fewer.")
    found = []
    for name, kelvin, factor, seed in combined:
        changes = {"corner.process": name, "corner.temperature": kelvin, "corner.supply": factor}
        found.append(parts.changed(changes, seed=seed))
    return found


def _numbers(option: str, text: str | None, default: float, what: str) -> list[float]:
    if text is None:
        return [default]
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(is_finite(value) and value > 0 for value in found):
        raise InputError(f"{option} {text}: give {what}, each above 0.")
    return found


def characterisation(sampler: Sampler, corners: Sequence[Nonidealities], note: Any = None) -> Characterisation:
    """Characterise the cells of a circuit's design at corners and on chips.

    Parameters
    ----------
    sampler : Sampler
        At transistor level.
    corners : sequence of Nonidealities
    note : callable or None
        Is told what is done.

    Raises
    ------
    InputError
        If it is not of transistors.
    SimulationError
        If ngspice found no operating point of a chip.
    """
    if sampler.sizes is None:
        raise InputError(f'level = "{sampler.level}" has no cells of transistors. Set circuit.level = "transistor".')
    chips = []
    for parts in corners:
        chip = CharacterisedChip(replace(sampler.silicon, parts=parts))
        if note is not None:
            note(f"cells of {chip.name}")
        _ = chip.silicon.tables
        chips.append(chip)
    return Characterisation(sampler, tuple(chips))
