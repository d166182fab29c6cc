"""Encoders that a command needs on its way: trained once for their settings, and found again."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitlsc.cli.shared import say
from circuitlsc.errors import InputError
from circuitlsc.io.progress import Line
from circuitlsc.learning.source import FromModel
from circuitlsc.learning.variational import VariationalLearner
from circuitlsc.model.encoder import Encoder
from circuitlsc.simulator.ngspice.deck import fingerprint

if TYPE_CHECKING:
    from circuitlsc.config.comparison import ComparisonConfig
    from circuitlsc.simulator.store import Store

FOLDER = "encoders"  # in a store


def learner_of(asked: ComparisonConfig, sigma: float, steps: int) -> VariationalLearner:
    """Return what trains the encoder of a noise level: layers and threshold are those of ``[encoder]``, or of its file."""
    model = replace(asked.config.model, sigma=sigma)
    slab = model.prior.slab
    assert slab is not None
    like: dict[str, Any] = {}
    if (encoder := asked.encoder) is not None:
        like = {"hidden": encoder.hidden, "threshold": encoder.threshold, "numbers": dict(encoder.numbers)}
    given = {"pi": slab.pi, "lam": slab.lam, "sigma": sigma, "signed": model.prior.signed, "held_out": 0, **like}
    more = {"seed": asked.config.run.seed, "steps": steps, **asked.training}
    return VariationalLearner(A0=model.A, source=FromModel(model), **{**given, **more})


def trained(learner: VariationalLearner, sigma: float, folder: Path, store: Store, line: Line) -> Encoder:
    """Return the encoder of a learner, from the results' folder, or from the store, if it is there; it is kept in both."""
    settings = json.loads(json.dumps(learner.settings()))
    own, kept = folder / f"encoder-{sigma!r}.npz", store.folder / FOLDER
    common = kept / f"{fingerprint(json.dumps(settings, sort_keys=True))}.npz"
    for path in (own, common):
        with suppress(InputError):
            found = Encoder.load(path)
            if json.loads(json.dumps(found.meta)) == settings:
                say(f"the encoder of sigma {sigma:g} was found in {path.parent}")
                found.save(own)
                return found
    advance = line(f"encoder, sigma {sigma:g}", learner.steps, "steps")
    made = learner.run(progress=lambda done, _: advance(0, done)).encoder
    store.make()
    kept.mkdir(exist_ok=True)
    for path in (own, common):
        made.save(path)
    return made
