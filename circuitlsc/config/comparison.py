"""The config of `circuitlsc compare-samplers`: that of either circuit; the other one is built from the same model and parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomli_w

from circuitlsc.config.learning import read_training
from circuitlsc.config.read import Config, parse_config, resolved_prior
from circuitlsc.config.registry import TABLES, EncoderKeys, names
from circuitlsc.config.table import ConfigTable, read_tables, read_toml
from circuitlsc.errors import InputError
from circuitlsc.model.encoder import Encoder

KINDS = ("langevin", "variational")
SHARED = ("level", "nonideal", "tau", "c_int", "rails", "cells")  # of both circuits: the same parts
OWN = ("width", "volt")  # of the kind that the config is of: the other's are in units of something else
RUN = ("step", "seed", "timeout")
#: keys of other commands, which would change nothing here, and why
WITHOUT_EFFECT = {
    "model": (("x", "seed"), "inputs are drawn from the model at each noise level, from run.seed"),
    "run": (
        tuple(name for name in names(TABLES["run"]) if name not in RUN),
        "each input is on for the time of --hold, all of its samples count, and there is no verdict",
    ),
    "encoder": (("rate_model", "held_out"), "encoders are trained here for a model that is known, and not looked at"),
}


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """A checked config of a comparison of samplers.

    Attributes
    ----------
    kind : str
        Of the circuit that the config is of.
    config : Config
        Of L0-LSC.
    langevin, variational : mapping
        Arguments of `build_sampler` for the two circuits.
    training : mapping
        Arguments of `circuitlsc.learning.VariationalLearner` that ``[encoder]`` gives.
    encoder : Encoder or None
        That of ``[encoder] file``, which is for the config's own sigma.
    encoded : ConfigTable
        ``[encoder]``.
    """

    kind: str
    config: Config
    langevin: Mapping[str, Any]
    variational: Mapping[str, Any]
    training: Mapping[str, Any]
    encoder: Encoder | None
    encoded: ConfigTable

    def check_levels(self, sigmas: Sequence[float]) -> None:
        """Raise InputError if what ``[encoder]`` says has no effect at these noise levels."""
        own = self.config.model.sigma
        if self.encoder is None:
            return
        if own not in sigmas:
            listed = ", ".join(map(repr, sigmas))
            raise self.encoded.fail(
                "file",
                f", but that encoder is for model.sigma = {own!r}, and sigma is {listed}. Add --sigma {own!r}, or remove it.",
            )
        if len(sigmas) == 1:
            self.encoded.refuse(self.training, ", but the only encoder is that of encoder.file. Remove it.")

    def resolved(self, call: str) -> str:
        """Return the config as TOML, after a comment that says how it was called: so it gives the same comparison."""
        config, circuit = self.config, asdict(self.config.built)
        own = self.variational if self.kind == "variational" else self.langevin
        given = {name: self.encoded.value(name) for name in self.encoded.values}
        if (file := given.get("file")) is not None:
            given["file"] = str((self.encoded.path.parent / file).resolve())
        nonideal = config.nonideal
        tables: dict[str, dict[str, Any]] = {
            "model": {"dictionary": config.source.dictionary, "sigma": config.source.sigma},
            "prior": resolved_prior(config.model.prior, config.prior_file),
            "dynamics": {"kind": self.kind},
            "circuit": {**circuit, **{name: own.get(name) for name in OWN}},
            "nonideal": {"seed": nonideal.seed, **nonideal.attributes()} if nonideal else {},
            "run": {"step": own.get("step"), "seed": config.run.seed, "timeout": config.timing.timeout},
            "encoder": {**given, "source": self.variational["source"]},
        }
        text = tomli_w.dumps(
            {name: {k: v for k, v in table.items() if v is not None} for name, table in tables.items() if table}
        )
        return f"# {call}\n{text}"


def load_comparison_config(path: Path, *, anywhere: bool = False) -> ComparisonConfig:
    """Read and check a config of a comparison; ``anywhere`` as for `circuitlsc.config.read.load_config`.

    Raises
    ------
    InputError
        With one line that names the file, the key, the value, why it cannot be, and what can.
    """
    data = read_toml(path)
    dynamics = data.get("dynamics", {})
    kind = dynamics.get("kind", KINDS[0]) if isinstance(dynamics, dict) else KINDS[0]
    if isinstance(kind, str) and kind not in KINDS:
        raise InputError(
            f"{path}: dynamics.kind = {kind!r}, but samplers that are compared are L0-LSC and variational ones. "
            'Give "langevin" or "variational".'
        )
    for name, (keys, why) in WITHOUT_EFFECT.items():
        if isinstance(values := data.get(name, {}), dict):
            ConfigTable(path, name, values, TABLES[name]).refuse(keys, f", but {why}. Remove it.")
    rest, own = _of_langevin(data, path, kind)
    config = parse_config(rest, path, anywhere=anywhere)
    if config.dynamics.T != 1:
        raise InputError(
            f"{path}: dynamics.temperature = {config.dynamics.T!r}, but an encoder's law is compared with the posterior "
            "itself. Remove it."
        )
    given = {name: values for name, values in data.items() if name == "encoder"}
    table = read_tables(given, path, {"encoder": names(EncoderKeys)}, anywhere=anywhere)["encoder"]
    model, slab = config.model, config.model.prior.slab
    if slab is None or slab.pi == 1:
        raise InputError(
            f"{path}: prior.kind = {model.prior.kind!r}, but the law of an encoder has a spike and a slab, and so must the "
            'prior. Give kind = "spike-slab", with pi < 1.'
        )
    training = read_training(table, model.n_features, model.n_latents, signed=model.prior.signed)
    circuit = {**asdict(config.built), "nonideal": config.nonideal}
    shared = {name: circuit[name] for name in SHARED}
    of_kind: dict[str, dict[str, Any]] = {
        "langevin": {name: circuit[name] for name in ("form", "loop", "smoothing")},
        "variational": {"source": table.value("source")},
    }
    of_kind[kind] |= own if kind == "variational" else {**{k: circuit[k] for k in OWN}, "step": config.timing.step}
    numbers = {name: {k: v for k, v in values.items() if v is not None} for name, values in of_kind.items()}
    return ComparisonConfig(
        kind=kind,
        config=config,
        langevin={**shared, **numbers["langevin"]},
        variational={**shared, **numbers["variational"]},
        encoder=training.pop("encoder", None),
        training=training,
        encoded=table,
    )


def _of_langevin(data: Mapping[str, Any], path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the tables of L0-LSC, and what is of the variational circuit alone: width, volt and step, checked."""
    rest: dict[str, Any] = {k: v for k, v in data.items() if k != "encoder"}
    if kind == KINDS[0]:
        return rest, {}
    rest["dynamics"] = {**data["dynamics"], "kind": KINDS[0]}
    own: dict[str, Any] = {}
    for name, keys in (("circuit", OWN), ("run", ("step",))):
        if isinstance(values := data.get(name, {}), dict):
            table = ConfigTable(path, name, values, TABLES[name])
            own |= {key: table.value(key) for key in keys}
            rest[name] = {k: v for k, v in values.items() if k not in keys}
    return rest, own
