"""compare-samplers: L0-LSC and variational circuits on the same inputs; what is refused before there is work."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from legible import illegible
from reports import results_in, text_of
from scipy.signal import lfilter
from test_cli import circuitlsc, one_line

from circuitlsc import Gaussian, InputError, Laplace, SparseCodingModel, SpikeSlab, bars
from circuitlsc.config.comparison import load_comparison_config
from circuitlsc.errors import ReferenceRefusedError
from circuitlsc.learning import VariationalLearner
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.variational import best_law, elbo, law_of
from circuitlsc.reference.sampled import exact_statistics
from circuitlsc.reporting.samplers import samplers_figure, samplers_report
from circuitlsc.studies import sampler_comparison as study
from circuitlsc.validation.law import laplace_of, memory, memory_loss

pytestmark = [pytest.mark.ngspice, pytest.mark.usefixtures("unrendered")]

CONFIG = """
[model]
dictionary = "A.csv"
sigma = 0.5
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[encoder]
hidden = [5]
source = "table"
"""
SMALL = ("--inputs", "3", "--hold", "20", "--steps", "20", "--sigma", "0.5")
MODEL = SparseCodingModel(np.random.default_rng(3).standard_normal((4, 3)), SpikeSlab(0.3, 1.0, signed=True), 0.5)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a dictionary, whose posteriors are summed up support by support."""
    np.savetxt(tmp_path / "A.csv", MODEL.A, delimiter=",")
    return tmp_path


def constant(model):
    """An encoder that says the best law of the input 0 of every input."""
    law = best_law(model, np.zeros(model.n_features))
    heads = np.concatenate([law.mu, law.rho, -np.log(np.expm1(law.kappa))])
    return Encoder(weights=(np.zeros((len(heads), model.n_features)),), biases=(heads,))


def nonnegative(sigma):
    """An encoder of nonnegative codes, for a noise level."""
    return replace(constant(replace(MODEL, sigma=sigma)), rectified=True)


@pytest.fixture(scope="module")
def found():
    """Of variational samples that are independent: their errors have closed forms."""
    return study.compare_samplers(
        MODEL, {0.5: constant(MODEL)}, inputs=6, hold=120.0, seed=3, variational={"step": 2.0}
    )


def test_what_is_found(found):
    (level,) = found.levels
    assert list(level.samplers) == ["l0-lsc", "amortised", "weighted", "optimum"]
    assert (found.inputs, found.n_latents, found.hold, found.supports, found.level) == (6, 3, 120.0, True, "ideal")
    times = np.array(level.times)
    assert (times[0], times[-1]) == (2.0, 120.0)
    np.testing.assert_array_equal(times % 2, 0)
    for course in level.samplers.values():
        assert course.rms[0] > course.rms[-1]
        for what in ("rms", "kl"):
            low, middle, high = (np.array(getattr(course, f"{what}{end}")) for end in ("_low", "", "_high"))
            assert (low <= middle).all()
            assert (middle <= high).all()
        assert course.watts is None
        assert course.watts_reason.startswith("ideal parts draw no current")
    samplers = level.samplers
    assert samplers["amortised"].law_kl > samplers["optimum"].law_kl > 0
    assert (samplers["l0-lsc"].law_kl, samplers["weighted"].law_kl) == (None, None)
    assert 0 < samplers["weighted"].ess_share < 1
    assert (samplers["amortised"].step, samplers["optimum"].step) == (2.0, 2.0)
    for name, course in samplers.items():
        assert course.check.follows, (name, course.check)
        assert course.check.of == ("the posterior" if name in ("l0-lsc", "weighted") else "its law")
    assert samplers["amortised"].rms[0] == samplers["weighted"].rms[0]  # one sample each
    assert set(level.wins) == {"amortised", "weighted", "optimum"}
    assert set(level.speeds) == {"amortised", "weighted", "optimum"}
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["levels"][0]["sigma"] == 0.5


def test_errors_are_those_of_the_laws(found):
    """At the end of a hold of m samples: (q - p)^2 + q (1 - q)/m, mean over latents and inputs, for laws that are known."""
    (level,) = found.levels
    X = study.inputs_of(MODEL, 7, 3)[1:]
    p = np.stack([exact_statistics(MODEL, x, seed=0).p_active for x in X])
    heads = constant(MODEL).heads(X)
    best = [law_of(MODEL, *best_law(MODEL, x)).p_active for x in X]
    for name, q in (("amortised", law_of(MODEL, *heads).p_active), ("optimum", np.stack(best))):
        bias, noise = np.mean((q - p) ** 2), np.mean(q * (1 - q)) / 60
        spread = np.sqrt(2 * np.mean((q * (1 - q) / 60) ** 2 + 2 * (q - p) ** 2 * q * (1 - q) / 60) / p.size)
        assert level.samplers[name].rms[-1] ** 2 == pytest.approx(bias + noise, abs=4 * spread)
    assert np.mean((law_of(MODEL, *heads).p_active - p) ** 2) > 8 * spread  # a law that was not sampled would be seen


def test_what_is_left_of_a_law_is_its_bias(found):
    """Beside many draws of the laws, for both errors; from when on L0-LSC is below it does not depend on the noise cell."""
    (level,) = found.levels
    X = study.inputs_of(MODEL, 7, 3)[1:]
    exact = [exact_statistics(MODEL, x, seed=0) for x in X]
    law = law_of(MODEL, *constant(MODEL).heads(X))
    on = law.draw(100_000, 5) != 0
    far = np.array([100_000])
    shares = [study.support_shares(on[:, n], None, far)[0] for n in range(6)]
    kl = [study.support_divergence(s, study.smoothed(e.support, 3, 0)) for s, e in zip(shares, exact, strict=True)]
    amortised = level.samplers["amortised"]
    assert amortised.bias_kl == pytest.approx(np.mean(kl), abs=0.01)
    p = np.stack([e.p_active for e in exact])
    assert amortised.bias_rms**2 == pytest.approx(np.mean((on.mean(0) - p) ** 2), abs=2e-3)
    assert (
        level.samplers["optimum"].bias_kl < level.samplers["optimum"].law_kl
    )  # of supports is a part of that of codes
    assert level.samplers["weighted"].bias_rms is None
    assert set(level.wins["weighted"]) == {"rms", "kl"}
    wins = level.wins["amortised"]
    assert set(wins) == {"rms", "kl", "rms_limit", "kl_limit"}
    assert wins["rms_limit"].value >= wins["rms"].value


def test_speed_is_that_of_the_noise(found):
    """Error floor + noise/r meets the aim at r; there is none where the floor is above it."""
    rng = np.random.default_rng(2)
    noise, floor = rng.gamma(4.0, 0.25, 200), rng.gamma(4.0, 0.02, 200)
    picked = study.resampled(200, 1)
    aim = floor + noise / 7
    met = study.speed(aim, noise, floor, picked, "it")
    assert met.value == pytest.approx(7, rel=1e-12)
    assert (met.low, met.high, met.reason) == (pytest.approx(7), pytest.approx(7), None)
    assert met.share == 1
    uneven = study.speed(np.full(200, 0.5), noise, floor, picked, "it")
    assert uneven.low < uneven.value < uneven.high
    never = study.speed(0.9 * floor, noise, floor, picked, "it")
    assert (never.value, never.low, never.high, never.share) == (None, None, None, 0.0)
    assert never.reason == "what is left of infinitely many samples is above it"
    (level,) = found.levels
    weighted, slow = (level.samplers[name] for name in ("weighted", "l0-lsc"))
    assert level.speeds["weighted"].value == pytest.approx((weighted.rms[-1] / slow.rms[-1]) ** 2)
    amortised = level.speeds["amortised"]
    assert (amortised.value is None) == (level.samplers["amortised"].bias_rms > slow.rms[-1])
    said = text_of(samplers_report(found))
    assert "as accurate with r" in said
    assert "read every 2 tau, L0-LSC every 0.2." in said
    assert "times at r = 1 favour L0-LSC" in said
    often = replace(level.samplers["amortised"], spacing=0.5)
    mixed = replace(found, levels=(replace(level, samplers={**level.samplers, "amortised": often}),))
    said = text_of(samplers_report(mixed))
    assert "read every 0.5 tau, L0-LSC every 0.2." in said
    assert "favour" not in said


def test_what_is_read_more_often_than_it_forgets():
    """Averages of activity over time know at least twice as much as samples 2 tau apart, by the loss of `memory_loss`."""
    rng, n, step = np.random.default_rng(5), 400, 0.25
    lag = memory(step, 1)
    assert memory(2.0, 1) == 0
    assert memory_loss(lag, even=True) * step < 2.0 / 1.9
    for fields in (1, 4):
        u = rng.standard_normal((fields, n, 2000))
        u[..., 1:] *= np.sqrt(1 - lag**2)
        L = laplace_of(lfilter([1.0], [1.0, -lag], u, axis=2))
        on, sign = abs(L) > 1.0, np.sign(L)
        lost = [each.mean(1).var() / (each.var() / each.shape[1]) for each in (on, sign)]
        assert lost[0] < memory_loss(lag, even=True) * (1 + 4 * np.sqrt(2 / n))
        # the sign of the table's one noise voltage is odd in it
        assert (lost[1] > memory_loss(lag, even=True) * (1 + 4 * np.sqrt(2 / n))) == (fields == 1)
        assert lost[1] < memory_loss(lag) * (1 + 4 * np.sqrt(2 / n))


def test_no_divergence_where_too_many_inputs_are_refused(monkeypatch):
    """As `law_stream` does: above 5 % of them the mean of the others is another number."""
    X = study.inputs_of(MODEL, 41, 3)
    heads = constant(MODEL).heads(X)
    bench = study.Bench(MODEL, X, constant(MODEL), {}, {}, heads)
    calls = []

    def evidence(model, x, *_, **__):
        calls.append(x)
        if len(calls) <= refused:
            raise ReferenceRefusedError("too far")
        return SimpleNamespace(log_p=elbo(model, x[None], *(head[:1] for head in heads))[0] + 0.5)

    monkeypatch.setattr(study, "log_evidence", evidence)
    refused = 2
    few = study._law_kl(MODEL, bench, heads, 0)
    assert (few["law_kl"], few["law_kl_refused"], few["law_kl_reason"]) == (pytest.approx(0.5), 2, None)
    calls.clear()
    refused = 3
    many = study._law_kl(MODEL, bench, heads, 0)
    assert (many["law_kl"], many["law_kl_se"], many["law_kl_refused"]) == (None, None, 3)
    assert many["law_kl_reason"] == "log p(x) is refused for 3 of 40 inputs, first: too far"


def test_inputs_have_the_same_codes_at_every_noise_level():
    low, high = (study.inputs_of(replace(MODEL, sigma=sigma), 5, 1) for sigma in (1e-9, 1.0))
    other = study.inputs_of(replace(MODEL, sigma=2.0), 5, 1)
    np.testing.assert_allclose(other - low, 2 * (high - low), atol=1e-6)
    assert np.linalg.matrix_rank(low, tol=1e-6) <= 3


def test_a_circuit_that_does_not_follow_is_said(found):
    rng = np.random.default_rng(0)
    law = rng.random((40, 4))
    right = study._check("its law", law + 0.02 * rng.standard_normal((40, 4)), law)
    wrong = study._check("its law", law + [0, 0, 0.03, 0] + 0.02 * rng.standard_normal((40, 4)), law)
    assert right.follows
    assert not wrong.follows
    signs = np.where(np.arange(40) % 2, 0.1, -0.1)[:, None]  # off by as much to either side: averages see nothing
    noise = rng.standard_normal((40, 4)) * np.sqrt(law * (1 - law) / 400)
    one, other = (study._check("its law", law + noise + far, law, 400.0) for far in (0.0, signs))
    assert one.follows
    assert one.scatter == pytest.approx(1, abs=0.4)
    assert other.max_abs_z < other.z_limit
    assert not other.follows
    assert wrong.largest == pytest.approx(0.03, abs=0.015)
    (level,) = found.levels
    said = text_of(samplers_report(found))
    assert "DID NOT FOLLOW" not in said
    bad = replace(level.samplers["optimum"], check=wrong)
    odd = replace(found, levels=(replace(level, samplers={**level.samplers, "optimum": bad}),))
    assert "(IT DID NOT FOLLOW ITS LAW)" in text_of(samplers_report(odd))


def test_errors_against_energy_are_those_against_time():
    """A curve 1/t of a circuit of 3 W, read off by hand at E = 3 tau t, beside a flat one of 1 W: they meet where 1/t is c."""
    tau, times = 1e-6, np.geomspace(1.0, 1000.0, 60)
    bench = SimpleNamespace(circuits={"l0-lsc": SimpleNamespace(scaling=SimpleNamespace(tau=tau))})
    for c in (0.02, 0.3):
        slow, fast = ({what: (e, np.stack([e, e])) for what in ("rms", "kl")} for e in (1 / times, np.full(60, c)))
        found = study._wins(times, bench, slow, fast, (3.0, 1.0))
        assert found["rms"].value == pytest.approx(1 / c)
        assert found["rms_joule"].value == pytest.approx(3 * tau / c, rel=1e-6)
        other = study._wins(times, bench, slow, fast, (0.3, 1.0))["kl_joule"]
        assert other.value == pytest.approx(max(0.3 / c, 1.0) * tau, rel=1e-6)  # both are there from 1 W tau on
    assert set(study._wins(times, bench, slow, fast, (None, 1.0))) == {"rms", "kl"}
    apart = study._wins(times, bench, slow, fast, (3e4, 1.0))["rms_joule"]
    assert (apart.value, apart.reason) == (None, "the two have no energy per input in common")


def test_figure_and_table(found):
    one = samplers_figure(found)
    assert len(one.axes) == 2
    assert illegible(one) == []
    lines = text_of(samplers_report(found)).splitlines()
    assert lines[0].split()[:2] == ["sigma", "0.5"]
    assert "rms at 120" in lines[0]
    assert lines[-1].startswith("energy         not known: ")
    (level,) = found.levels
    powered = {name: replace(c, watts=None if name == "optimum" else 1e-3) for name, c in level.samplers.items()}
    both = replace(found, levels=(replace(level, samplers=powered), replace(level, samplers=powered, sigma=0.8)))
    figure = samplers_figure(both)
    assert len(figure.axes) == 6
    assert illegible(figure) == []
    assert figure.axes[-1].get_xlabel() == "energy per input (J)"
    assert len(figure.axes[-1].lines) == 4  # of the best law nothing is known; one of the others has a bias


def test_from_the_command_line(folder, monkeypatch):
    """Interrupted after its circuits have run, it goes on from what was kept; a second one finds encoder and chains."""
    (folder / "config.toml").write_text(CONFIG)
    arguments = ("compare-samplers", "config.toml", *SMALL)
    level = study._level
    monkeypatch.setattr(study, "_level", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert circuitlsc(*arguments, "-o", "out", cwd=folder).returncode == 130
    monkeypatch.setattr(study, "_level", level)
    done = circuitlsc(*arguments, "-o", "out", "--resume", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "the encoder of sigma 0.5 was found in" in done.stderr
    assert " steps were found in " in done.stderr
    assert done.stdout.splitlines()[-1].startswith("energy         not known: ")
    names = results_in(folder / "out")
    assert names == {"config.resolved.toml", "encoder-0.5.npz", "samplers.json", "samplers.png"}
    first = json.loads((folder / "out" / "samplers.json").read_text())
    assert Encoder.load(folder / "out" / "encoder-0.5.npz").meta["steps"] == 20
    told = "# circuitlsc compare-samplers config.resolved.toml --inputs 3 --hold 20.0 --steps 20 --sigma 0.5"
    assert (folder / "out" / "config.resolved.toml").read_text().startswith(told + "\n")
    steps = {name: course["step"] for name, course in first["levels"][0]["samplers"].items() if name != "l0-lsc"}
    assert steps == dict.fromkeys(("amortised", "weighted", "optimum"), 0.25)
    # of a variational config with that encoder: the same but for the noise of Gibbs sampling's clock
    named = CONFIG.replace("hidden = [5]", 'file = "out/encoder-0.5.npz"') + '[dynamics]\nkind = "variational"\n'
    (folder / "config.toml").write_text(named)
    again = circuitlsc(*arguments, "-o", "again", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert "encoder of sigma" not in again.stderr
    same_errors(first, json.loads((folder / "again" / "samplers.json").read_text()))


def same_errors(first, second):
    for one, other in zip(first["levels"], second["levels"], strict=True):
        for name, course in one["samplers"].items():
            np.testing.assert_allclose(course["rms"], other["samplers"][name]["rms"], atol=1e-9)


@pytest.mark.parametrize(
    "more",
    [
        '[circuit]\nvolt = 0.08\nwidth = 0.1\nform = "auto"\n[run]\nstep = 0.04\nseed = 3\n',
        '[dynamics]\nkind = "variational"\n[circuit]\nvolt = 0.08\n[run]\nstep = 1.0\ntimeout = 9.0\n',
        '[circuit]\nlevel = "device"\ntau = 2e-6\n[nonideal]\npreset = "rram"\nseed = 5\n',
        '[dynamics]\nkind = "variational"\n',
    ],
    ids=["langevin", "variational", "device", "file"],
)
def test_the_resolved_config_is_of_the_same_comparison(more, request, folder):
    """Whatever circuits and encoders are made from is the same, and the config that is left of it, too."""
    named = request.node.callspec.id == "file"
    nonnegative(0.5).save(folder / "e.npz")
    text = CONFIG.replace("hidden = [5]", 'file = "e.npz"' if named else "hidden = [5]\nrate = 0.002") + more
    (folder / "config.toml").write_text(text)
    first = load_comparison_config(folder / "config.toml")
    (folder / "out").mkdir()
    (folder / "out" / "config.toml").write_text(first.resolved("called so"))
    second = load_comparison_config(folder / "out" / "config.toml", anywhere=True)
    assert second.resolved("called so") == first.resolved("called so")
    assert first.resolved("called so").startswith("# called so\n")
    for what in ("kind", "langevin", "variational", "training"):
        assert getattr(first, what) == getattr(second, what), what
    assert (first.encoder is not None) == (second.encoder is not None) == named
    np.testing.assert_array_equal(first.config.model.A, second.config.model.A)
    assert repr(first.config.model.prior) == repr(second.config.model.prior)
    assert (first.config.model.sigma, first.config.run.seed) == (second.config.model.sigma, second.config.run.seed)
    wanted = {"volt": 0.08, "step": 1.0} if "volt = 0.08\n[run]" in more else {}
    assert wanted.items() <= second.variational.items()
    assert second.variational["source"] == "table"


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        (("volt = 0.08", "volt = 0.09"), SMALL, "volt = 0.08 there, volt = 0.09 now"),
        (("step = 1.0", "step = 2.0"), SMALL, "step = 1.0 there, step = 2.0 now"),
        (('source = "table"', 'source = "product"'), SMALL, 'source = "product" now'),
        (("hidden = [5]", "hidden = [5]\nrate = 0.001"), SMALL, "rate = 0.001 now"),
        (("", ""), (*SMALL[:-3], "21", *SMALL[-2:]), "steps"),
        (("", ""), ("--inputs", "4", *SMALL[2:]), "inputs"),
        (("", ""), (*SMALL, "--sigma", "0.6"), "sigmas"),
        (("", ""), ("--inputs", "3", "--hold", "24", *SMALL[4:]), "hold"),
        (("A.csv", "A.csv"), SMALL, "file"),  # nothing but what the file holds
    ],
    ids=["volt", "step", "source", "rate", "steps", "inputs", "sigma", "hold", "encoder"],
)
def test_a_resumed_run_has_the_same_settings(change, options, says, folder, monkeypatch):
    text = CONFIG + '[dynamics]\nkind = "variational"\n[circuit]\nvolt = 0.08\n[run]\nstep = 1.0\n'
    if change[0] == "A.csv":
        text = text.replace("hidden = [5]", 'file = "e.npz"')
        nonnegative(0.5).save(folder / "e.npz")
    (folder / "config.toml").write_text(text)
    monkeypatch.setattr(study, "bench_of", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    first = circuitlsc("compare-samplers", "config.toml", *SMALL, "-o", "out", cwd=folder)
    assert first.returncode == 130, first.stderr
    (folder / "config.toml").write_text(text.replace(*change))
    if change[0] == "A.csv":
        nonnegative(0.6).save(folder / "e.npz")
    other = circuitlsc("compare-samplers", "config.toml", *options, "-o", "out", "--resume", cwd=folder)
    line = one_line(other, 2)
    assert "out.partial was begun with another" in line
    assert says in line


def test_a_level_is_the_configs_own_digit_for_digit(folder, monkeypatch):
    """1/3 and 0.1 + 0.2 have more than 12 digits; the encoder of encoder.file is that of the config's own."""
    seen = []
    monkeypatch.setattr(study, "check_comparison", lambda model, sigmas, *_: seen.append((model.sigma, sigmas)))
    monkeypatch.setattr(study, "inputs_of", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    nonnegative(0.5).save(folder / "e.npz")
    for own in (1 / 3, 0.1 + 0.2):
        named = CONFIG.replace("hidden = [5]", 'file = "e.npz"').replace("sigma = 0.5", f"sigma = {own!r}")
        (folder / "config.toml").write_text(named)
        assert circuitlsc("compare-samplers", "config.toml", "-o", "out", cwd=folder).returncode == 130
    assert seen == [(1 / 3, (0.2, 1 / 3, 0.533333333333)), (0.1 + 0.2, (0.18, 0.1 + 0.2, 0.48))]


KIND = '[dynamics]\nkind = "variational"\n'


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (
            CONFIG + '[dynamics]\nkind = "underdamped"\n',
            (),
            "dynamics.kind = 'underdamped', but samplers that are compared",
        ),
        (CONFIG + '[dynamics]\nkind = "gradient"\n', (), "dynamics.kind = 'gradient', but samplers that are compared"),
        (CONFIG + "[dynamics]\ntemperature = 2.0\n", (), "dynamics.temperature = 2.0, but an encoder's law"),
        (
            CONFIG.replace("pi = 0.3\nlam", "lam").replace("spike-slab", "laplace"),
            (),
            "prior.kind = 'laplace', but the law",
        ),
        (
            CONFIG.replace("pi = 0.3\nlam = 1.0", "sd = 1.0").replace("spike-slab", "gaussian"),
            (),
            "prior.kind = 'gaussian'",
        ),
        (
            CONFIG.replace("sigma = 0.5", 'sigma = 0.5\nx = "draw:5"') + "[run]\nhold = 20.0\n",
            (),
            "model.x = 'draw:5', but inputs are drawn from the model",
        ),
        (CONFIG.replace("sigma = 0.5", "sigma = 0.5\nseed = 1"), (), "model.seed = 1, but inputs are drawn"),
        *(
            (CONFIG + KIND + f"[run]\n{key} = 5\n", (), f"run.{key} = 5, but each input is on for the time of --hold")
            for key in ("t_stop", "warmup", "hold", "chains", "thin", "tolerance", "reference_time")
        ),
        (CONFIG + KIND + "[run]\nweights = true\n", (), "run.weights = True, but each input"),
        (CONFIG.replace("hidden = [5]", "held_out = 5"), (), "encoder.held_out = 5, but encoders are trained here"),
        (CONFIG.replace("hidden = [5]", "rate_model = 1.0"), (), "encoder.rate_model = 1.0, but encoders are trained"),
        (
            CONFIG.replace("hidden = [5]", 'file = "e.npz"'),
            ("--sigma", "0.4", "--sigma", "0.8"),
            "encoder.file = 'e.npz', but that encoder is for model.sigma = 0.5, and sigma is 0.4, 0.8. Add --sigma 0.5",
        ),
        (
            CONFIG.replace("hidden = [5]", 'file = "e.npz"\nrate = 0.001'),
            ("--sigma", "0.5"),
            "encoder.rate = 0.001, but the only encoder is that of encoder.file.",
        ),
        (CONFIG, ("--inputs", "1"), "compare-samplers: inputs = 1, and errors over inputs need several."),
        (CONFIG, ("--sigma", "0"), "compare-samplers: sigma = 0.0 is no noise level."),
        (CONFIG, ("--sigma", "-0.5"), "compare-samplers: sigma = -0.5 is no noise level."),
        (CONFIG, ("--sigma", "0.5", "--sigma", "0.5"), "each noise level is compared once"),
        (CONFIG, ("--hold", "4"), "compare-samplers: hold = 4.0 tau has fewer than four independent samples"),
        (CONFIG, ("--steps", "0"), "steps = 0"),
        (CONFIG + "[encoders]\n", (), "[encoders] is not a known table"),
        (CONFIG.replace("hidden = [5]", "widths = [5]"), (), "encoder.widths = [5] is not a known key"),
        (CONFIG.replace("hidden = [5]", 'file = "none.npz"'), (), "none.npz does not exist"),
        (CONFIG.replace("hidden = [5]", "draws = 5"), (), 'objective = "exact" draws nothing'),
        (
            CONFIG + KIND + "[circuit]\nwidth = 3.0\n",
            (),
            "circuit.width = 3.0, but the threshold acts on a Laplace draw",
        ),
        (CONFIG + "[nonideal]\n", (), '[nonideal] needs circuit.level = "device"'),
        (CONFIG + "[learning]\n", (), "has a table [learning]"),
    ],
    ids=range(32),
)
def test_refused_in_one_line(text, options, says, folder):
    (folder / "config.toml").write_text(text)
    nonnegative(0.5).save(folder / "e.npz")
    done = circuitlsc("compare-samplers", "config.toml", "-o", "out", *options, cwd=folder)
    assert says in one_line(done, 2)
    assert {p.name for p in folder.iterdir()} == {"config.toml", "A.csv", "e.npz"}


def test_refused_from_python():
    with pytest.raises(InputError, match="no exponential slab"):
        study.check_comparison(replace(MODEL, prior=Gaussian(1.0)), (0.5,), 5, 100.0)
    with pytest.raises(InputError, match="pi < 1"):
        study.check_comparison(replace(MODEL, prior=Laplace(1.0)), (0.5,), 5, 100.0)


# --- slow ---


@pytest.mark.slow
def test_fast_and_biased_or_slow_and_exact():
    """4x4 bars: the exact sampler wins, from a time on that is known; weights take the bias back; every circuit follows."""
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0, signed=True), 0.5)
    trained = VariationalLearner(
        A0=model.A, pi=0.3, lam=1.0, sigma=0.5, source=model, signed=True, seed=0, held_out=0
    ).run()
    found = study.compare_samplers(model, {0.5: trained.encoder}, inputs=40, hold=1000.0, seed=1)
    (level,) = found.levels
    samplers = level.samplers
    for name, course in samplers.items():
        assert course.check.follows, (name, course.check)
    assert samplers["amortised"].law_kl > samplers["optimum"].law_kl > 0.1
    assert samplers["l0-lsc"].rms[-1] < samplers["optimum"].rms[-1] < samplers["amortised"].rms[-1]
    assert samplers["weighted"].rms[-1] < samplers["amortised"].rms[-1]
    for name in ("amortised", "optimum"):
        assert samplers[name].rms[-1] == pytest.approx(samplers[name].bias_rms, rel=0.25)
        # the rest is the noise of 500 independent samples at most, and its product with the bias
        assert abs(samplers[name].rms[-1] ** 2 - samplers[name].bias_rms ** 2) < 0.25 / 500
    first, later = (level.wins[name]["rms"] for name in ("amortised", "optimum"))
    assert 20 < first.value < 200
    assert 2 * first.value < later.value < 1000
    for name in ("amortised", "optimum"):
        assert level.wins[name]["rms_limit"].value > level.wins[name]["rms"].value
        assert (level.speeds[name].value is None) == (samplers[name].bias_rms > samplers["l0-lsc"].rms[-1])
    assert 0.5 < level.speeds["weighted"].value < 5


@pytest.mark.slow
def test_energy_at_device_level():
    """Errors against joule are those against time, by the power of each circuit."""
    device = {"level": "device"}
    how = {"inputs": 6, "hold": 100.0, "seed": 2, "langevin": device, "variational": device}
    found = study.compare_samplers(MODEL, {0.5: constant(MODEL)}, **how)
    (level,) = found.levels
    watts = {name: course.watts for name, course in level.samplers.items()}
    assert watts["amortised"] == watts["weighted"] > 0
    assert watts["l0-lsc"] > 0
    assert watts["optimum"] is None
    assert level.samplers["optimum"].watts_reason == "no circuit finds the best law"
    wins = level.wins["amortised"]
    assert {"rms_joule", "kl_joule"} <= set(wins)
    assert "rms_joule" not in level.wins["optimum"]
    for name in ("amortised", "weighted"):
        for what in ("rms", "kl"):
            slow, fast = (
                np.log([np.array(level.times) * found.tau * watts[each], getattr(level.samplers[each], what)])
                for each in ("l0-lsc", name)
            )
            joule = np.linspace(max(slow[0, 0], fast[0, 0]), min(slow[0, -1], fast[0, -1]), 2001)
            above = np.interp(joule, *slow) > np.interp(joule, *fast)
            value = level.wins[name][f"{what}_joule"].value
            if above[-1]:
                assert value is None
            else:
                expected = joule[2001 - np.argmax(above[::-1])] if above.any() else joule[0]
                assert np.log(value) == pytest.approx(expected, abs=0.03)
    said = text_of(samplers_report(found))
    assert "energy         not known of variational, best law: no circuit finds the best law" in said
    assert len(samplers_figure(found).axes) == 3
