"""What `circuitlsc init` writes: a config with every key, and the files that it names."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from circuitlsc.config.learning import LearnConfig, parse_learn_config
from circuitlsc.config.read import Config, parse_config, resolved_toml
from circuitlsc.config.template import check_level, chosen, config_text, learn_tables, sampler_tables
from circuitlsc.errors import InputError, printable
from circuitlsc.io import output as out
from circuitlsc.io.arrays import Array
from circuitlsc.learning.variational import first_encoder
from circuitlsc.model.data import MOST_OF_A_DICTIONARY, load_array, load_dictionary
from circuitlsc.model.priors import Gaussian
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.survey import Survey, survey

CONFIG, LEARN, DICTIONARY, COST = "config.toml", "learn.toml", "A.csv", "cost.csv"
ENCODER, LEARNED, OUT = "encoder", "learned", "out"  # folders of results
SIGMA = 0.5  # of unit norms
SEED = 2  # of an input that leaves much open: codes (0, 0, 0.51, 0.71)
#: five pixels, four atoms of two neighbours each: unit norms, and neighbours have a pixel in common
SMALL = ((0.8, 0, 0, 0), (0.6, 0.6, 0, 0), (0, 0.8, 0.6, 0), (0, 0, 0.8, 0.6), (0, 0, 0, 0.8))


@dataclass(frozen=True)
class Start:
    """What is asked for.

    Attributes
    ----------
    kind, level, prior : str
        Of dynamics, circuit and prior.
    dictionary : str or None
        A file, or ``"bars:4"``; None is a small one.
    learn : bool
        Whether a dictionary is learned, or an encoder trained, and nothing else.
    """

    kind: str
    level: str
    prior: str
    dictionary: str | None
    learn: bool

    @classmethod
    def asked(cls, system: str | None, level: str, prior: str | None, dictionary: str | None, *, learn: bool) -> Start:
        """Return what words ask for, or raise InputError if one is not known."""
        check_level(level)
        kind, prior = chosen(system, prior)
        return cls(kind, level, prior, dictionary, learn)

    @property
    def commands(self) -> list[tuple[str, str, str]]:
        """What runs it: commands, each with its config and the folder that it makes."""
        encoder, run = ("learn", LEARN, ENCODER), ("run", CONFIG, OUT)
        if self.kind == "variational":
            return [encoder] if self.learn else [encoder, run]
        return [("learn", LEARN, LEARNED)] if self.learn else [run]

    def write(self, part: Path, folder: Path) -> tuple[Survey, Config | None]:
        """Write the files into ``part``, whose files get into ``folder`` later.

        Returns
        -------
        tuple
            What the dictionary is, and the config of a sampler, if there is one.

        Raises
        ------
        InputError
            If something cannot be read, or does not go together.
        """
        small = (
            part / "small"
        )  # a stand-in: which keys suit a config does not depend on its dictionary, which may be large
        small.mkdir()
        self._write_cost(part, small)
        name, A = self._dictionary(part, folder)
        replace(self, dictionary=None)._dictionary(small, small)
        found = survey(A)
        sigma = SIGMA if self.dictionary is None else found.sigma
        how = (self.kind, self.level, self.prior)
        if self.learn or self.kind == "variational":
            tables = learn_tables(*how, name, sigma)
            for place, asked in ((part, tables), (small, learn_tables(*how, DICTIONARY, SIGMA))):
                config = _read_learn(asked, place)
                if self.kind == "variational":
                    (place / ENCODER).mkdir()
                    encoder = first_encoder(config.variational())
                    encoder.save(place / ENCODER / out.ENCODER)  # for a look, until there is a better
            few = {"set": 2} if self.kind == "amortised" else {}

            def try_learn(data: Mapping[str, Any]) -> LearnConfig:
                return _read_learn(_of_small({**data, "learning": {**few, **data["learning"]}}), small)

            out.write_text(part / LEARN, config_text(tables, self._head(LEARN), try_learn, {}))
        if self.learn:
            return found, None
        tables = sampler_tables(*how, name, sigma)
        if self.dictionary is None and "x" not in tables["model"]:
            tables["model"]["seed"] = SEED
        sampled = _read(tables, part)
        known = tomllib.loads(resolved_toml(sampled, sampled.sampler()))
        text = config_text(tables, self._head(CONFIG), lambda data: _read(_of_small(data), small), known)
        out.write_text(part / CONFIG, text)
        return found, sampled

    def _write_cost(self, *places: Path) -> None:
        """Write the table of a cost, log cosh s, where that is the prior."""
        s = np.linspace(-6, 6, 121)
        rows = [f"{a:.6g},{np.log(np.cosh(a)):.6g}" for a in s]
        for place in places if self.prior == "table" else ():
            out.write_text(place / COST, "\n".join(["s,cost", *rows, ""]))

    def _head(self, config: str) -> str:
        """Return the first lines of a config."""
        what = {
            "learn": "A dictionary that is learned from inputs, in software or (--in circuit) by a circuit",
            "run": f"A circuit ({self.kind}, {self.level} level, {self.prior} prior) for the dictionary",
        }
        command, _, folder = next(each for each in self.commands if each[1] == config)
        if self.kind == "variational":
            what["learn"] = "An encoder, trained before its circuit runs, for the dictionary"
        of = f" in {printable(self.dictionary or DICTIONARY)}" if what[command].endswith("the dictionary") else ""
        return f"{what[command]}{of}:\n  circuitlsc {command} {config} -o {folder}"

    def _dictionary(self, part: Path, folder: Path) -> tuple[str, Array]:
        """Return the dictionary's name in the config, and itself; one that lies elsewhere is copied."""
        given = self.dictionary
        if given is None:
            rows = (",".join(f"{value:g}" for value in row) for row in SMALL)
            out.write_text(part / DICTIONARY, "\n".join([*rows, ""]))
            return DICTIONARY, load_dictionary(DICTIONARY, part)
        if given.startswith("bars:"):
            return given, load_dictionary(given, part)
        A = load_array(Path(given), "--dictionary", prefer="A", matrix=True, most=MOST_OF_A_DICTIONARY)
        SparseCodingModel(A, Gaussian(1.0), 1.0)  # refuses zero atoms, and what is none
        path, here = Path(given).resolve(), folder.resolve()
        inside = path.is_relative_to(here)
        name = path.relative_to(here) if inside else Path(path.name)
        if (part / name).exists():
            raise InputError(f"--dictionary {given!r} has the name of a file that is written. Rename it.")
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        if inside:
            (part / name).symlink_to(path)  # it is there already: for the reader, which looks beside the config
        else:
            shutil.copyfile(path, part / name)
        return str(name), A


def _read(tables: Mapping[str, Any], folder: Path) -> Config:
    return parse_config(tables, folder / CONFIG, anywhere=True)


def _read_learn(tables: Mapping[str, Any], folder: Path) -> LearnConfig:
    return parse_learn_config(tables, folder / LEARN, "software", anywhere=True)


def _of_small(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables with the stand-in's dictionary."""
    return {**tables, "model": {**tables["model"], "dictionary": DICTIONARY}}
