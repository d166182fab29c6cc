"""A smooth prior that the package does not know: one class, registered here, runs through everything.

.. math:: C(s) = k \\log\\cosh(s/a)
"""

import contextlib
import io
import json
import math
import tomllib
from dataclasses import MISSING, dataclass, replace

import numpy as np
import pytest

from circuitlsc import (
    InputError,
    Prior,
    ReferenceRefusedError,
    Samples,
    SparseCodingModel,
    judge,
    quantity,
    register_prior,
)
from circuitlsc.cli.main import app
from circuitlsc.config.read import load_config, resolved_toml
from circuitlsc.io.declared import flag
from circuitlsc.model import prior_io
from circuitlsc.reference.gibbs import gibbs
from circuitlsc.reference.map_estimate import map_reference
from circuitlsc.reference.quadrature import quadrature
from circuitlsc.reference.sampled import exact_statistics
from circuitlsc.reference.sde import software_sde
from circuitlsc.reference.slice import slice_sampling

EPS = 1e-6


@dataclass(frozen=True)
class LogCosh(Prior):
    """Straight in its tail as Laplace's cost, round at 0."""

    kind = "log-cosh"

    strength: float = quantity(MISSING, "1", "the strength k", above=True)
    corner: float = quantity(0.5, "model unit", "the width a of the corner", high=10.0, above=True)
    signed: bool = True

    @property
    def slab_scale(self):
        return self.corner * math.acosh(math.exp(1 / self.strength))

    @property
    def curvature(self):
        return self.strength / self.corner**2

    def code_cost(self, s):
        return self.strength * (np.logaddexp(s / self.corner, -s / self.corner) - math.log(2))

    def code_cost_grad(self, s):
        return self.strength / self.corner * np.tanh(s / self.corner)

    def tempered(self, temperature):
        return replace(self, strength=self.strength / temperature)


PRIOR = LogCosh(0.8, 0.4)
CONFIG = """
[model]
dictionary = "A.npy"
x = "x.csv"
sigma = 0.6
[prior]
kind = "log-cosh"
strength = 0.8
corner = 0.4
[circuit]
level = "{level}"
[run]
t_stop = 1500.0
chains = 2
seed = 5
tolerance = 0.15
"""


@pytest.fixture(scope="module", autouse=True)
def registered():
    """Other tests see the package's own priors."""
    register_prior(LogCosh)
    yield
    prior_io.PRIORS.pop("log-cosh")


@pytest.fixture
def model():
    return SparseCodingModel(np.array([[1.0, 0.5], [0.0, 0.8], [0.2, 0.0]]), PRIOR, 0.6)


@pytest.fixture
def x():
    return np.array([0.9, 0.4, 0.1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new-prior")
    np.save(folder / "A.npy", [[1.0, 0.5], [0.0, 0.8], [0.2, 0.0]])
    (folder / "x.csv").write_text("0.9,0.4,0.1\n")
    for level in ("ideal", "device"):
        (folder / f"{level}.toml").write_text(CONFIG.format(level=level))
    return folder


@pytest.mark.parametrize("width", [0.0, 0.05])
@pytest.mark.parametrize("signed", [True, False])
def test_its_force_is_the_gradient_of_its_energy(model, x, signed, width):
    model = replace(model, prior=replace(PRIOR, signed=signed))
    u = np.random.default_rng(1).uniform(-3, 3, (40, 2))
    numeric = np.stack(
        [(model.energy(u + d, x, width) - model.energy(u - d, x, width)) / (2 * EPS) for d in EPS * np.eye(2)], axis=-1
    )
    np.testing.assert_allclose(model.energy_grad(u, x, width), numeric, rtol=1e-6, atol=1e-6)
    other = replace(model, prior=model.prior.tempered(0.9))
    assert np.abs(other.energy_grad(u, x, width) - numeric).max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("signed", [True, False])
def test_references_agree(model, x, signed):
    """Quadrature, slice sampling and the Langevin equation in software, each within four standard errors."""
    model = replace(model, prior=replace(PRIOR, signed=signed))
    exact = quadrature(model, x)
    assert exact_statistics(model, x).method == "quadrature"
    s = slice_sampling(model, x, n_sweeps=2000, seed=2)
    u, _ = software_sde(model, x, total_time=4000, seed=3)
    for draws in (s, model.latent(u)):
        runs = draws.mean(1)  # of independent chains
        assert (np.abs(runs.mean(0) - exact.mean) < 4 * runs.std(0, ddof=1) / math.sqrt(len(runs)) + 0.003).all()
    wrong = quadrature(model.tempered(1.3), x)
    assert np.abs(wrong.mean - exact.mean).max() + np.abs(wrong.sd - exact.sd).max() > 0.03
    code = map_reference(model, x).code
    around = model.energy(code + 1e-3 * np.random.default_rng(4).standard_normal((200, 2)), x)
    assert (around > model.energy(code, x) - 1e-12).all()
    with pytest.raises(ReferenceRefusedError, match=r"^gibbs: the prior LogCosh.* has no known conditional draw\."):
        gibbs(model, x, n_sweeps=10, seed=0)


@pytest.mark.slow
@pytest.mark.ngspice
def test_the_command_line_runs_it(folder):
    """Config, workers, verdict, files of the ideal level; and the config with every choice written out is read again."""
    out = io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
        pytest.raises(SystemExit) as end,
    ):
        app(["run", "ideal.toml", "-o", "out", "--workers", "2"], prog_name="circuitlsc")
    assert end.value.code == 0, out.getvalue()
    comparison = json.loads((folder / "out" / "comparison.json").read_text())
    assert comparison["verdict"] == "agrees"
    assert comparison["pathwise"]["rms"] < 1e-5
    samples = Samples.load(folder / "out" / "samples.nc")
    assert samples.model().prior == PRIOR
    given, resolved = (load_config(folder / name, anywhere=True) for name in ("ideal.toml", "out/config.resolved.toml"))
    assert resolved.model == given.model
    assert resolved.sampler().library_deck == given.sampler().library_deck
    table = tomllib.loads((folder / "out" / "config.resolved.toml").read_text())["prior"]
    assert table == {"kind": "log-cosh", "strength": 0.8, "corner": 0.4, "signed": True}


@pytest.mark.slow
@pytest.mark.ngspice
def test_the_device_level_agrees_and_a_wrong_prior_does_not(folder):
    config = load_config(folder / "device.toml")
    sampler = config.sampler()
    samples = sampler.run(config.run, workers=2)
    judged = judge(sampler, samples, tolerance=config.timing.tolerance)
    assert judged.comparison.verdict == "agrees", judged.comparison.reason
    assert judged.path.rms < 1e-5
    # negative control: what a prior at another temperature would have given
    wrong = replace(sampler, model=replace(sampler.model, prior=PRIOR.tempered(1.5)))
    assert judge(wrong, samples, tolerance=config.timing.tolerance).comparison.verdict == "disagrees"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("strength = -1.0", r"prior\.strength = -1\.0, but it must be finite and > 0\. Give the strength k > 0\.$"),
        (
            "corner = 11.0",
            r"prior\.corner = 11\.0, but it must be > 0 and <= 10\. Give the width a of the corner in \(0, 10\]\.$",
        ),
        ("pi = 0.3", r"prior\.pi = 0\.3 does not belong to a log-cosh prior\. It has strength, corner, signed\.$"),
        ("corners = 0.3", r"prior\.corners = 0\.3 is not a known key\. Did you mean 'corner'\?"),
    ],
)
def test_its_keys_are_checked(folder, line, message):
    path = folder / "bad.toml"
    key = line.split()[0]
    kept = [old for old in CONFIG.format(level="ideal").splitlines() if old.split(" ")[0] != key]
    path.write_text("\n".join(kept).replace("[prior]", f"[prior]\n{line}"))
    with pytest.raises(InputError, match=message):
        load_config(path)
    path.write_text("\n".join(old for old in kept if not old.startswith("strength")))
    with pytest.raises(InputError, match=r"prior\.strength is missing\. Give the strength k > 0\.$"):
        load_config(path)


def test_the_constructor_checks_what_is_declared():
    with pytest.raises(InputError, match=r"^LogCosh: strength = 0, but the strength k must be > 0\."):
        LogCosh(0)
    with pytest.raises(
        InputError, match=r"^LogCosh: corner = 11, but the width a of the corner must be in \(0, 10\]\."
    ):
        LogCosh(1.0, 11)
    with pytest.raises(InputError, match=r"^LogCosh: signed = 'no' is not True or False\.$"):
        LogCosh(1.0, signed="no")


def test_what_cannot_be_registered():
    @dataclass(frozen=True)
    class Unfinished(Prior):
        kind = "unfinished"

    @dataclass(frozen=True)
    class Laplace(LogCosh):
        kind = "laplace"

    @dataclass(frozen=True)
    class Clash(LogCosh):
        kind = "clash"
        sigma: float = quantity(1.0, "1", "a number")

    class Bare(LogCosh):
        kind = "bare"

    @dataclass(frozen=True)
    class Numbered(LogCosh):
        kind = 3

    @dataclass(frozen=True)
    class Feature(LogCosh):
        kind = "feature"
        feature: float = quantity(1.0, "1", "a number")

    @dataclass(frozen=True)
    class Switched(LogCosh):
        kind = "switched"
        switch: bool = flag(True, "a switch")

    @dataclass(frozen=True)
    class Undeclared(LogCosh):
        kind = "undeclared"
        extra: float = 1.0

    @dataclass(frozen=True)
    class Counted(LogCosh):
        kind = "counted"
        count: int = quantity(3, "1", "a count", whole=True)

    methods = {name: vars(LogCosh)[name] for name in Prior.__abstractmethods__}
    Unsigned = dataclass(frozen=True)(type("Unsigned", (Prior,), {"kind": "unsigned", **methods}))
    Thawed = dataclass(type("Thawed", (Prior,), {"kind": "thawed", "signed": True, **methods}))

    for cls, message in (
        (3, r"^register_prior: 3 is not a frozen dataclass that extends Prior\."),
        (
            Bare,
            r"^register_prior: <class .*Bare'> is not a frozen dataclass .* Decorate it with @dataclass\(frozen=True\)\.$",
        ),
        (Thawed, r"is not a frozen dataclass"),
        (Unsigned, r"^register_prior: Unsigned has no signed\. Write what is missing\.$"),
        (Numbered, r"^register_prior: Numbered\.kind = 3 is not a string\. Give a word\.$"),
        (Feature, r"^register_prior: Feature\.feature has the name of something else\."),
        (Switched, r"^register_prior: Switched\.switch is not declared as a real number, and no file would keep it\."),
        (Undeclared, r"^register_prior: Undeclared\.extra is not declared as a real number"),
        (Counted, r"^register_prior: Counted\.count is not declared as a real number"),
        (
            Unfinished,
            r"^register_prior: Unfinished has no code_cost, code_cost_grad, curvature, slab_scale, tempered\.",
        ),
        (Laplace, r"^register_prior: the kind 'laplace' is that of Laplace\. Give another kind\.$"),
        (Clash, r"^register_prior: Clash\.sigma has the name of something else\. Rename it\.$"),
    ):
        with pytest.raises(InputError, match=message):
            register_prior(cls)
    assert prior_io.PRIORS.keys().isdisjoint({"clash", "bare", "feature", "switched", "undeclared", "counted", 3})


@dataclass(frozen=True)
class Optional(LogCosh):
    """A number that may be left out, and one of any sign."""

    kind = "optional"

    extra: float | None = quantity(None, "1", "a number", above=True)
    offset: float = quantity(0.0, "1", "an offset", low=-math.inf)


@pytest.mark.ngspice
def test_a_number_that_is_left_out_stays_left_out(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(prior_io.PRIORS, "optional", Optional)
    register_prior(Optional)
    text = CONFIG.format(level="ideal").replace('"log-cosh"', '"optional"')
    (folder / "optional.toml").write_text(text)
    (folder / "given.toml").write_text(text.replace("corner = 0.4", "corner = 0.4\nextra = 2.0\noffset = -3"))
    for name, prior in (
        ("optional", Optional(0.8, 0.4)),
        ("given", Optional(0.8, 0.4, extra=2.0, offset=-3.0)),
    ):
        config = load_config(folder / f"{name}.toml")
        sampler = config.sampler()
        (folder / "again.toml").write_text(resolved_toml(config, sampler))
        assert config.model.prior == load_config(folder / "again.toml", anywhere=True).model.prior == prior
        sampler.run(t_stop=60, seed=1).save(str(tmp_path / f"{name}.nc"))
        assert Samples.load(str(tmp_path / f"{name}.nc")).model().prior == prior
    with pytest.raises(
        InputError, match=r"^Optional: offset = inf, but an offset must be finite\. Give a finite number\.$"
    ):
        Optional(1.0, offset=math.inf)
    prior_io.PRIORS.pop("optional")
    with pytest.raises(InputError, match=r"'optional' is not known\. Import the module that registers it"):
        Samples.load(tmp_path / "given.nc")
