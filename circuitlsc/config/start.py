"""What `circuitlsc init` writes: a config with every key, and the files that it names."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from circuitlsc.config.learning import LearnConfig, parse_learn_config
from circuitlsc.config.read import Config, parse_config, resolved_toml
from circuitlsc.config.template import check_level, chosen, config_text, learn_tables, sampler_tables
from circuitlsc.errors import printable
from circuitlsc.io import output as out
from circuitlsc.io.arrays import Array
from circuitlsc.learning.variational import first_encoder
from circuitlsc.model.data import load_dictionary
from circuitlsc.model.priors import Gaussian
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.survey import Survey, survey

CONFIG, LEARN, DICTIONARY, COST = "config.toml", "learn.toml", "A.csv", "cost.csv"
ENCODER, LEARNED, OUT = "encoder", "learned", "out"  # folders of results
SIGMA = 0.5  # of unit norms
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
        name, A = self._dictionary(part, folder)
        found = survey(A)
        if self.prior == "table":
            s = np.linspace(-6, 6, 121)
            rows = (f"{a:.6g},{np.log(np.cosh(a)):.6g}" for a in s)
            out.write_text(part / COST, "\n".join(["s,cost", *rows, ""]))
        how = (self.kind, self.level, self.prior, name, SIGMA if self.dictionary is None else found.sigma)
        if self.learn or self.kind == "variational":
            tables = learn_tables(*how)

            def parse_learn(data: Mapping[str, Any]) -> LearnConfig:
                return parse_learn_config(data, part / LEARN, "software", anywhere=True)

            def parse_quickly(data: Mapping[str, Any]) -> LearnConfig:
                few = {"set": 2} if "memory" in tables["learning"] else {}
                return parse_learn({**data, "learning": {**few, **data["learning"]}})

            asked = parse_learn(tables)
            if self.kind == "variational":
                (part / ENCODER).mkdir()
                first_encoder(asked.variational()).save(
                    part / ENCODER / out.ENCODER
                )  # for a look, until there is a better
            out.write_text(part / LEARN, config_text(tables, self._head(LEARN), parse_quickly, {}))
        if self.learn:
            return found, None
        tables = sampler_tables(*how)

        def parse(data: Mapping[str, Any]) -> Config:
            return parse_config(data, part / CONFIG, anywhere=True)

        config = parse(tables)
        known = tomllib.loads(resolved_toml(config, config.sampler()))
        out.write_text(part / CONFIG, config_text(tables, self._head(CONFIG), parse, known))
        return found, config

    def _head(self, config: str) -> str:
        """Return the first lines of a config."""
        what = {
            "learn": "A dictionary that is learned from inputs, in software or (--in circuit) by a circuit",
            "run": f"A circuit ({self.kind}, {self.level} level, {self.prior} prior) for the dictionary",
        }
        command, _, folder = next(each for each in self.commands if each[1] == config)
        if self.kind == "variational":
            what["learn"] = "An encoder for the dictionary, trained before the circuit runs"
        of = f" in {printable(self.dictionary or DICTIONARY)}" if command == "run" or self.kind == "variational" else ""
        return f"{what[command]}{of}:\n  circuitlsc {command} {config} -o {folder}"

    def _dictionary(self, part: Path, folder: Path) -> tuple[str, Array]:
        """Return the dictionary's name in the config, and itself; one that lies elsewhere is copied."""
        given = self.dictionary
        if given is None:
            rows = (",".join(f"{value:g}" for value in row) for row in SMALL)
            out.write_text(part / DICTIONARY, "\n".join([*rows, ""]))
            return DICTIONARY, load_dictionary(DICTIONARY, part)
        A = load_dictionary(given, Path())
        SparseCodingModel(A, Gaussian(1.0), 1.0)  # refuses zero atoms, and what is none
        if given.startswith("bars:"):
            return given, A
        path, here = Path(given).resolve(), folder.resolve()
        if not path.is_relative_to(here):
            (part / path.name).write_bytes(path.read_bytes())
            return path.name, A
        name = path.relative_to(here)
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        (part / name).symlink_to(path)  # it is there already: for the reader, which looks beside the config
        return str(name), A
