"""The verdict of `circuitlsc.validation.compare` on samplers that are known to be right, wrong, or too short."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import ndtr
from scipy.stats import binom, gamma, norm

from circuitlsc import InputError, SparseCodingModel, SpikeSlab
from circuitlsc.reference.statistics import PosteriorStatistics, summarize
from circuitlsc.validation.advice import Times
from circuitlsc.validation.compare import compare
from circuitlsc.validation.null import DRAWN, Judged, Null
from circuitlsc.validation.run_errors import Errors

pytestmark = pytest.mark.xdist_group("compare")  # nulls are drawn once in a process
N_RUNS = 400  # replicates of a null
TIMES = ("t_stop", "warmup", "seconds", "drawn")
LONGEST = 400  # draws of a replicate's chain: longer runs are scaled


class Law:
    """Independent spikes and Gamma slabs: every statistic has a closed form, and a copula gives it an AR(1)."""

    def __init__(self, p, shape=1.0, size=1.0):
        self.p, self.K = np.array(p, dtype=float), len(p)
        self.shape, self.size = shape, size  # of the slab: its mean is size, its kurtosis 3 + 6/shape
        self.model = SparseCodingModel(np.eye(self.K), SpikeSlab(0.3, 1.0), 0.5)
        self.minus_log = np.geomspace(1e-9, 40, 2000)  # of the slab's survival function
        self.quantile = gamma.isf(np.exp(-self.minus_log), shape) / shape
        self.nulls = {}

    def exact(self, **changes):
        p, second = self.p, self.p * self.size**2 * (1 + 1 / self.shape)
        mean, zero = p * self.size, np.zeros(self.K)
        coactive = np.outer(p, p)
        np.fill_diagonal(coactive, p)
        on = (np.arange(2**self.K)[:, None] >> np.arange(self.K)) & 1
        fields = dict(
            p_active=p, mean=mean, sd=np.sqrt(second - mean**2), coactive=coactive, residual_power=second.sum(),
            p_active_mcse=zero, mean_mcse=zero, sd_mcse=zero, coactive_mcse=0 * coactive, residual_power_mcse=0.0,
            support=dict(enumerate(np.where(on, p, 1 - p).prod(1))), ess_min=math.inf, rhat_max=1.0, n_draws=0,
            method="exact",
        )  # fmt: skip
        return PosteriorStatistics(**{**fields, **changes})

    def draw(self, rng, chains, draws, a=0.0):
        z = rng.standard_normal((chains, draws, self.K))
        z[:, 1:] *= math.sqrt(1 - a * a)
        tail = ndtr(-lfilter([1], [1, -a], z, axis=1)) / np.maximum(self.p, 1e-300)  # uniform on (0, 1) given active
        s, active = np.zeros(tail.shape), tail < 1
        s[active] = np.interp(-np.log(tail[active]), self.minus_log, self.quantile) * self.size
        return s, active

    def measure(self, s, active):
        return summarize(s, active, model=self.model, x=np.zeros(self.K), method="circuit")

    def sampled(self, seed, chains=4, draws=20_000, a=0.0):
        return self.measure(*self.draw(np.random.default_rng(seed), chains, draws, a))

    def runs(self, n, seed, chains=4, draws=20_000, a=0.0):
        """The time averages of n runs, and which of them have no latent k active, or negative."""
        rng, judged, averages, never = np.random.default_rng([seed, 9]), Judged.of(self.model, None), [], []
        for part in np.array_split(np.arange(n), 20):  # in pieces, to be short of memory
            s, active = self.draw(rng, len(part) * chains, draws, a)
            on = active.reshape(len(part), -1, self.K).astype(float)
            s = s.reshape(on.shape)
            marginals = np.stack([on.sum(1), 0 * on.sum(1), s.sum(1), (s**2).sum(1)], axis=1)
            pairs = (on.transpose(0, 2, 1) @ on)[:, *np.triu_indices(self.K, 1)]
            averages.append(judged.of_sums(on.shape[1], marginals, pairs, np.zeros((len(on), self.K, 0))))
            never.append(marginals[:, :2] == 0)
        return np.concatenate(averages), np.concatenate(never)

    def null(self, chains=4, draws=20_000, a=0.0, target=1000.0, longest=LONGEST):
        """Replicates of such runs, which take ``target`` tau; of long runs, of parts that forget where they began."""
        length, key = min(draws, longest), (chains, draws, a)
        if key not in self.nulls:
            self.nulls[key] = self.runs(N_RUNS, 10**6, chains, length, a)
        averages, never = self.nulls[key]
        share, blocks = length / draws, np.ones((2, 2, self.K))  # a run's slowdown is given to `compare`
        judged, times = Judged.of(self.model, None), (share * target, target)
        return Null(judged, averages, averages.mean(0), *times, 1.0, share < 1, blocks, target / 16, 1.0, never.mean(0))

    def errors(self, averages, null, **options):
        """The errors of such runs."""
        exact = null.judged.select(self.exact())
        runs = null.judged.from_averages(averages)
        return [Errors(run, exact, 0 * run, null, scale=1.0, **options) for run in runs]


# Small slabs, so that a few thousand effective samples suffice for a tolerance of 0.02.
EASY = Law([0.3, 0.6, 0.1, 0.8], shape=25.0, size=0.4)


def judge(circuit, exact, null=None, **options):
    times = Times(**{"t_stop": 1000.0, **{name: options.pop(name) for name in TIMES if name in options}})
    return compare(circuit, exact, null or EASY.null(), times=times, **{"scale": 1.0, "seed": 0, **options})


def finite(value):
    """Every number in nested lists and dicts is finite."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def test_a_right_sampler_agrees():
    c = judge(EASY.sampled(0), EASY.exact())
    assert c.verdict == "agrees", c.reason
    assert c.reason == "All 18 statistics are within 0.02 of exact, errors included."
    assert (c.t_stop_needed, c.needed_tolerance, c.needed_t_stop) == (None, None, None)
    assert c.notes == ()
    assert (c.null_runs, c.null_scaled, c.slowdown) == (N_RUNS, True, 1.0)
    # the largest of 18 statistics, of which those of one latent go together: normal, they would have these limits
    assert norm.isf(0.01 / 2) < c.z_limit < norm.isf(0.01 / 36) + 1
    assert c.max_abs_z < c.z_limit
    assert c.max_abs_z_pairs <= c.max_abs_z
    entry = c.latents[1].mean
    assert entry.exact == pytest.approx(0.24)
    assert entry.mcse == pytest.approx(EASY.exact().sd[1] / math.sqrt(80_000), rel=0.25)
    assert 0.7 < (entry.circuit - entry.exact) / entry.mcse / entry.z <= 1.0001
    assert abs(c.residual_power.z) < 4
    assert c.virial is None
    assert c.pathwise["max_abs"] is None


@pytest.mark.parametrize(
    ("law", "draws", "a"),
    [
        (Law([0.6, 0.3, 0.1, 0.05, 0.02, 0.9]), 1000, 0.9),  # exponential slabs, ESS about 200
        (Law([0.6, 0.3, 0.1, 0.05, 0.02, 0.9]), 200, 0.0),  # ESS about 600
        (Law([0.6, 0.3, 0.01, 1e-3, 1e-4, 0.999], shape=25.0), 1000, 0.8),  # states hardly ever visited, or left
        (Law([0.2]), 300, 0.5),
    ],
)
def test_false_alarms_are_as_rare_as_they_should_be(law, draws, a):
    n, null = 300, law.null(2, draws, a)
    found = law.errors(law.runs(n, 0, 2, draws, a)[0], null)
    most = binom.isf(1e-4, n, 0.02)  # 1 %, and the limit itself comes from 400 replicates
    alarms = sum((e.excess() > e.c).any() for e in found)
    assert alarms <= most, f"{alarms} of {n} right samplers disagree; at most {most:.0f} may"
    beyond = sum((np.abs(e.z) > e.c).any() for e in found)
    assert beyond <= most, f"{beyond} of {n} right samplers have a z beyond its limit; at most {most:.0f} may"
    # without allowance, two in ten runs have a p-value up to 0.2
    low = sum(e.p_value(0.0) <= 0.2 for e in found)
    assert binom.ppf(1e-4, n, 0.16) <= low <= binom.isf(1e-4, n, 0.24), f"{low} of {n} have a p-value up to 0.2"


def test_p_value_and_verdict_say_the_same():
    null, seen = EASY.null(draws=400), set()
    for seed in range(30):  # all degrees of wrong
        law = Law(EASY.p - 0.003 * seed, shape=25.0, size=0.4)
        c = judge(law.sampled(seed, draws=400), EASY.exact(), null)
        assert (c.verdict == "disagrees") == (c.p_value <= 0.01), (c.p_value, c.reason)
        seen.add(c.verdict)
        assert c.p_value >= 1 / 401
    assert seen >= {"disagrees", "inconclusive"}


WRONG = {
    "pi": Law([0.4, 0.7, 0.15, 0.9], shape=25.0, size=0.4),
    "lam": Law(EASY.p, shape=25.0, size=0.3),
    "width of the slab": Law(EASY.p, shape=4.0, size=0.4),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_sampler_disagrees(what):
    for seed in range(5):
        circuit = WRONG[what].sampled(seed, draws=2000, a=0.5)
        c = judge(circuit, EASY.exact(), EASY.null(draws=2000, a=0.5))
        assert c.verdict == "disagrees", (what, c.reason)
        assert c.max_abs_z > c.z_limit
        assert c.p_value == 1 / (DRAWN + 1)
        assert c.t_stop_needed is None
        assert c.reason.endswith(": more than noise and the allowed bias explain.")


def test_wrong_joint_probabilities_with_right_marginals_disagree():
    law = Law([0.3, 0.6, 0.1, 0.3], shape=25.0, size=0.4)
    rng = np.random.default_rng(0)
    s, active = law.draw(rng, 4, 20_000)
    follows = rng.random((4, 20_000)) < 0.5  # latent 3 is active when latent 0 is, half of the time
    active[..., 3] = np.where(follows, active[..., 0], active[..., 3])
    s[..., 3] = active[..., 3] * gamma.rvs(25, scale=0.4 / 25, size=follows.shape, random_state=rng)
    c = judge(law.measure(s, active), law.exact(), law.null())
    assert max(abs(getattr(row, name).z) for row in c.latents for name in ("p_active", "mean", "sd")) < c.z_limit
    assert c.max_abs_z == c.max_abs_z_pairs
    assert c.verdict == "disagrees"
    assert c.reason.startswith("P(both active) of latents 0 and 3 is ")


def test_a_bias_within_the_allowance_agrees():
    biased, null = Law(EASY.p - 0.004, shape=25.0, size=0.4).sampled(0, draws=100_000), EASY.null(draws=100_000)
    assert judge(biased, EASY.exact(), null).verdict == "agrees"
    assert judge(biased, EASY.exact(), null).max_abs_z > 4
    assert judge(biased, EASY.exact(), null, allowance=0.0).verdict == "disagrees"


def test_a_short_run_is_inconclusive_and_says_how_long_would_do():
    step, n = 0.05, 4

    def run(seed, t_stop, **options):
        draws = round(t_stop / step)
        null = EASY.null(draws=draws, a=0.6, target=t_stop)
        circuit = EASY.sampled(seed, draws=draws, a=0.6)
        return judge(circuit, EASY.exact(), null, t_stop=t_stop, **options)

    agreed = near = 0
    for seed in range(n):
        short = run(seed, 20.0, seconds=1e-3)
        assert short.verdict == "inconclusive", short.reason
        assert short.reason.endswith(f" About t_stop = {short.t_stop_needed:g} tau per chain would do.")
        assert (short.needed_tolerance, short.needed_t_stop) == (None, None)
        assert 200 < short.t_stop_needed < 2000
        agreed += run(100 + seed, short.t_stop_needed).verdict == "agrees"
        # that is more than ten times as long, which may be too long: a tolerance that is nearer
        short = run(seed, 20.0)
        what = f"; with --tolerance {short.needed_tolerance:g} t_stop = {short.needed_t_stop:g} would do."
        assert short.reason.endswith(what), short.reason
        assert short.needed_t_stop == 200
        assert 0.02 < short.needed_tolerance < 0.1
        near += run(200 + seed, 200.0, tolerance=short.needed_tolerance).verdict == "agrees"
    least = binom.ppf(1e-4, n, 0.95)
    assert agreed >= least, f"{agreed} of {n} runs of the length that would do agree"
    assert near >= least, f"{near} of {n} runs agree within the tolerance that is advised"
    assert " days on this machine: more chains on several machines" in run(0, 20.0, seconds=1000.0).reason


def test_warmup_is_not_scaled():
    circuit, null = EASY.sampled(0, draws=400, a=0.6), EASY.null(draws=400, a=0.6, target=100.0)
    plain = judge(circuit, EASY.exact(), null, t_stop=100.0).t_stop_needed
    warm = judge(circuit, EASY.exact(), null, t_stop=1100.0, warmup=1000.0).t_stop_needed
    assert plain > 1000
    assert warm == pytest.approx(1000 + plain, rel=0.03)  # two digits


def test_few_effective_samples_never_agree():
    # 4 x 15 draws of a law so narrow that every error is below the tolerance, but not below the allowance
    law = Law([1.0, 1.0], shape=1e2, size=0.5)
    null, few = law.null(draws=15), replace(law.sampled(0, draws=15), rhat_max=1.0)
    assert few.ess_min < 100
    c = judge(few, law.exact(), null, tolerance=0.05)
    assert c.verdict == "inconclusive"
    assert c.reason.startswith("The run is too short: circuit has ")
    assert "effective samples (at least 100 are needed)" in c.reason
    assert c.t_stop_needed > c.t_stop
    assert judge(few, law.exact(), null, tolerance=0.05, gates=False).verdict == "agrees"
    assert judge(replace(few, ess_min=100.0), law.exact(), null, tolerance=0.05).verdict == "agrees"
    mixed = judge(replace(few, ess_min=100.0, rhat_max=1.06), law.exact(), null, tolerance=0.05)
    assert mixed.verdict == "inconclusive"
    assert "and rank R-hat 1.06 (at most 1.05)" in mixed.reason


def test_gates_only_ever_turn_agrees_into_inconclusive():
    wrong, seen = WRONG["pi"], set()
    for law in (EASY, wrong):
        for draws in (20, 2000):
            null = EASY.null(draws=draws)
            for ess, rhat in ((24.0, 1.0), (99.0, 1.0), (1000.0, 1.2), (1.0, math.inf), (1000.0, 1.0)):
                circuit = replace(law.sampled(draws, draws=draws), ess_min=ess, rhat_max=rhat)
                gated, free = (
                    judge(circuit, EASY.exact(), null, gates=gates, tolerance=0.05) for gates in (True, False)
                )
                seen.add((free.verdict, gated.verdict))
                assert (gated.p_value, gated.max_abs_z) == (free.p_value, free.max_abs_z)
    same = {(verdict, verdict) for verdict in ("agrees", "disagrees", "inconclusive")}
    assert seen == {("agrees", "inconclusive"), *same}


def test_a_stuck_chain_never_agrees():
    s, active = EASY.draw(np.random.default_rng(0), 4, 5000)
    active[0, :, 0], s[0, :, 0] = True, 0.4 + 0.01 * np.random.default_rng(1).standard_normal(5000)
    circuit, null = EASY.measure(s, active), EASY.null(draws=5000)
    c = judge(circuit, EASY.exact(), null)
    assert c.verdict == "disagrees", "right chains of this length go everywhere"
    assert c.rhat_max > 1.05
    # within a wide tolerance, it is R-hat that tells; and so it is if the run is known to mix slowly
    loose = {"tolerance": 0.6, "allowance": 0.3}
    c = judge(circuit, EASY.exact(), null, **loose)
    assert c.verdict == "inconclusive"
    assert "and rank R-hat " in c.reason
    assert judge(circuit, EASY.exact(), null, **loose, gates=False).verdict == "agrees"
    slow = judge(circuit, EASY.exact(), null, slowdown=1e4)
    assert slow.verdict == "inconclusive"
    assert any("mixes 1e+04 times more slowly than the ideal SDE" in note for note in slow.notes)


def test_chains_that_all_stand_still_never_agree_where_correct_ones_move():
    # (correct runs of the first one hardly move, either, but its sd is not known well enough)
    for law, expected in ((Law([0.001]), "inconclusive"), (Law([0.05]), "disagrees"), (Law([0.3, 0.5]), "disagrees")):
        still = law.measure(np.zeros((4, 500, law.K)), np.zeros((4, 500, law.K), bool))
        c = judge(still, law.exact(), law.null(draws=500))
        assert c.verdict == expected, c.reason
        assert finite(c.to_dict())
    apart = np.repeat(np.array([1.0, 2.0])[:, None, None], 500, axis=1)
    law = Law([1.0])
    c = judge(law.measure(apart, apart > 0), law.exact(), law.null(chains=2, draws=500))
    assert c.verdict == "disagrees"
    assert c.rhat_max is None
    assert c.t_stop_needed is None
    assert finite(c.to_dict())


def test_a_short_reference_is_named():
    circuit = EASY.sampled(0)
    few = replace(EASY.sampled(1, draws=15), method="gibbs", rhat_max=1.0)
    c = judge(circuit, few)
    assert c.verdict == "inconclusive"
    assert c.reason.startswith("The reference is too short: gibbs has ")
    assert c.t_stop_needed is None
    for seed in range(10):
        c = judge(circuit, replace(EASY.sampled(seed, draws=400), method="gibbs"))
        assert c.verdict == "inconclusive"
        assert c.reason.startswith("The reference is too short: "), c.reason
        assert c.reason.endswith(" in the run. Draw more from it.")
        timed = judge(circuit, replace(EASY.sampled(seed, draws=400), method="gibbs"), drawn=3.0)
        assert re.search(r" About reference_time = [\d.e+]+ \(\[run\]\) would do\.$", timed.reason), timed.reason
        assert c.t_stop_needed is None
    c = judge(circuit, replace(EASY.sampled(1, draws=40_000), method="gibbs"))
    assert c.verdict == "agrees", c.reason
    assert c.reference == "gibbs"
    assert c.ess_exact > 100_000
    entry = c.latents[0].mean
    assert entry.mcse_exact > 0
    assert abs(entry.z) < abs(entry.circuit - entry.exact) / max(entry.mcse_exact, 0.7 * entry.mcse)
    # neither does a reference in other modes in each of its chains count, however well it seems to know
    c = judge(WRONG["pi"].sampled(0), replace(EASY.sampled(1, draws=40_000), method="gibbs", rhat_max=1.3))
    assert c.verdict == "inconclusive"
    assert "and rank R-hat 1.3 (at most 1.05). Draw more from it." in c.reason


@pytest.mark.parametrize("share", [0.1, pytest.param(1, marks=pytest.mark.slow), 5])
def test_errors_of_the_reference_raise_no_alarm(share):
    """Its errors, in units of the run's: it may be drawn for a short time only, or the run be a very long one."""
    n, null, exact = 200, EASY.null(), EASY.null().judged.select(EASY.exact())
    runs, errors = null.judged.from_averages(EASY.runs(n, 0, draws=2000)[0]) - exact, EASY.null(draws=2000).errors()
    alarms = 0
    for run, off in zip(exact + (runs * math.sqrt(0.1))[::-1], runs * share * math.sqrt(0.1), strict=True):
        e = Errors(run, exact + off, errors * share * math.sqrt(0.1), null, scale=1.0)
        alarms += e.excess(0.0).max() > e.c
    most = binom.isf(1e-4, n, 0.02)
    assert alarms <= most, f"{alarms} of {n} right samplers disagree; at most {most:.0f} may"


def test_states_never_visited_are_no_disagreement():
    law = Law([1e-4, 0.4], shape=1.0, size=0.3)
    s, active = law.draw(np.random.default_rng(0), 4, 5000)
    s[..., 0], active[..., 0] = 0.0, False
    null = law.null(draws=5000)
    c = judge(law.measure(s, active), law.exact(), null)
    assert c.verdict == "agrees", c.reason
    entry = c.latents[0].p_active
    assert entry.circuit == 0
    assert entry.mcse == pytest.approx(math.sqrt(1e-4 * (1 - 1e-4) / 20_000), rel=0.5)
    assert -3 < entry.z < 0
    wrong = Law([0.05, 0.4], shape=1.0, size=0.3)
    assert judge(law.measure(s, active), wrong.exact(), wrong.null(draws=5000)).verdict == "disagrees"


class Signs(Law):
    """As `Law`, with a signed prior: half of the active codes are negative."""

    def __init__(self, p):
        super().__init__(p)
        self.model = SparseCodingModel(np.eye(self.K), SpikeSlab(0.3, 1.0, True), 0.5)


def test_a_run_that_never_visited_a_state_never_agrees():
    """Whatever its errors are, if the state has more mass than the tolerance: the wide null excuses, it does not agree."""
    law, rng = Law([0.3, 0.5, 0.5], shape=25.0, size=0.4), np.random.default_rng(0)
    s, active = law.draw(rng, 4, 20_000)
    full, null = law.measure(s, active), law.null()
    assert judge(full, law.exact(), null).verdict == "agrees"
    wide = replace(null, averages=null.averages + rng.standard_normal((N_RUNS, 1)), scaled=False)
    for on in (True, False):
        stuck, codes = active.copy(), s.copy()
        stuck[..., 0], codes[..., 0] = not on, 0.0 if on else np.where(active[..., 0], s[..., 0], 0.4)
        for options in ({}, {"gates": False}, {"slowdown": 1e6, "gates": False}):
            for errors in (null, wide):
                assert judge(law.measure(codes, stuck), law.exact(), errors, **options).verdict != "agrees"
    assert judge(law.measure(codes, stuck), law.exact(), null).verdict == "disagrees"
    assert judge(law.measure(codes, stuck), law.exact(), wide).verdict == "inconclusive"

    # every probability of one and of two latents is right, and all three are never active together
    three = Law([0.5] * 3, shape=25.0, size=0.4)
    s, active = three.draw(rng, 4, 20_000)
    active[..., 2] = active[..., 0] ^ active[..., 1]
    s[..., 2] = np.where(active[..., 2], gamma.rvs(25, scale=0.4 / 25, size=s.shape[:2], random_state=rng), 0.0)
    c = judge(three.measure(s, active), three.exact(), three.null())
    assert c.max_abs_z < c.z_limit
    assert c.verdict == "inconclusive"
    # one of four states of the same mass
    states = r"latents 0, 1, 2 alone are|latent \d alone is"
    assert re.match(
        rf"The run is too short: it never visited the state in which ({states}) active, with probability 0\.125\.",
        c.reason,
    )
    assert judge(three.measure(s, active), three.exact(), three.null(), tolerance=0.2).verdict == "agrees"

    # signs: a state whose lack is half in each of two probabilities, which are within the tolerance for themselves
    signed = Signs([0.03])
    assert Judged.of(signed.model, None).names == [
        "P(active) of latent 0", "P(s < 0) of latent 0", "mean of latent 0", "sd of latent 0"
    ]  # fmt: skip
    fields = {"p_negative": np.array([0.015]), "p_negative_mcse": np.zeros(1), "mean": np.zeros(1)}
    exact = signed.exact(**fields)
    judged = Judged.of(signed.model, None)
    averages = judged.averages(judged.select(exact)) + 1e-4 * rng.standard_normal((N_RUNS, 4))
    null = replace(signed.null(), judged=judged, averages=averages)
    right = replace(
        signed.sampled(0), sd=exact.sd, **{**fields, "p_active": exact.p_active, "coactive": exact.coactive}
    )
    assert judge(right, exact, null, tolerance=0.014).verdict == "agrees"
    for on, negative, expected, what in (
        (
            0.0225,
            0.0225,
            "inconclusive",
            "it never visited the state in which latent 0 is positive, with probability 0.015.",
        ),
        (0.0225, 0.0, "disagrees", "P(s < 0) of latent 0 is 0, exact 0.015"),
    ):
        one = replace(right, p_active=np.array([on]), p_negative=np.array([negative]))
        c = judge(one, exact, null, tolerance=0.014, allowance=0.01)
        assert c.verdict == expected
        assert what in c.reason


def test_modes_that_runs_of_this_length_hardly_visit_are_named():
    # one visit in 33 draws if they were independent; these forget in 1,000
    law, a = Law([0.03, 0.5], shape=25.0, size=1.0), 0.999
    null = law.null(chains=2, draws=900, a=a, longest=900)
    never = null.never[0, 0]
    assert 0.2 < never < 0.95
    s, active = law.draw(np.random.default_rng(3), 2, 900, a)
    active[..., 0], s[..., 0] = False, 0.0
    c = judge(law.measure(s, active), law.exact(), null)
    assert c.verdict == "inconclusive"
    told = f"latent 0 is active with probability 0.03, and {never:.0%} of correct runs of this length never see it so"
    assert told in c.notes
    assert not any("latent 1 is" in note for note in c.notes)
    far = [note for note in c.notes if note.startswith("a far mode is hardly visited: ")]
    assert (
        len(far)
        == (np.mean(null.judged.from_averages(null.averages) < null.judged.select(law.exact()), axis=0) > 0.8).any()
    )
    assert judge(EASY.sampled(0), EASY.exact()).notes == ()


def test_a_fault_as_large_as_the_detectable_one_is_found():
    exact, null = EASY.exact(), EASY.null(draws=2000)
    perfect = replace(
        EASY.sampled(0, draws=2000), **{n: getattr(exact, n) for n in ("p_active", "mean", "sd", "coactive")}
    )
    least, most = judge(perfect, exact, null).detectable
    assert 0.005 < least < most < 0.1
    found = []
    for fault in (0.8 * least, 1.02 * most):
        verdicts = []
        for name in ("p_active", "mean", "sd"):
            for k in range(4):
                for sign in (1, -1):
                    moved = replace(perfect, **{name: getattr(exact, name) + sign * fault * (np.arange(4) == k)})
                    verdicts.append(judge(moved, exact, null, gates=False).verdict)
        found.append(verdicts.count("disagrees"))
    # upwards and downwards errors differ a little: the least is that of the wider side
    assert found[0] == 0
    assert found[1] == 24


def test_a_slower_run_has_larger_errors():
    """A sampler that mixes twice as slowly has the errors of half as many draws, which is no fault."""
    n, exact, null = 200, EASY.exact(), EASY.null(draws=1000)
    runs, alarms = EASY.runs(n, 0, draws=500)[0], []
    for slowdown in (1.0, 2.0):
        alarms.append(sum(e.excess(0.0).max() > e.c for e in EASY.errors(runs, null, slowdown=slowdown)))
    most = binom.isf(1e-4, n, 0.02)
    assert alarms[1] <= most, f"{alarms[1]} of {n} right samplers that mix slowly disagree; at most {most:.0f} may"
    assert alarms[0] > most, f"{alarms[0]} of {n} as if they were fast: the factor would not be needed"
    c = judge(EASY.sampled(0, draws=500), exact, null, slowdown=2.0)
    assert c.slowdown == 2
    assert c.notes == ("the run mixes 2 times more slowly than the ideal SDE; its errors are so much larger",)
    plain = judge(EASY.sampled(0, draws=500), exact, null)
    assert c.latents[0].mean.mcse == pytest.approx(math.sqrt(2) * plain.latents[0].mean.mcse)
    assert c.z_limit == plain.z_limit


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_probabilities_of_zero_and_one_have_z_zero(p):
    s, active = EASY.draw(np.random.default_rng(0), 4, 5000)
    s[..., 0], active[..., 0] = (s[..., 1] + 0.1 if p else 0.0), bool(p)
    circuit = EASY.measure(s, active)
    q = EASY.p.copy()
    q[0] = p
    law = Law(q, 25.0, 0.4)
    exact, null = law.exact(), law.null(draws=5000)
    mean, sd = exact.mean.copy(), exact.sd.copy()
    mean[0], sd[0] = (exact.mean[1] + 0.1, exact.sd[1]) if p else (1e-12, 0.0)
    before, after = (null.judged.averages(null.judged.select(e)) for e in (exact, replace(exact, mean=mean, sd=sd)))
    null = replace(null, averages=null.averages + after - before)
    c = judge(circuit, replace(exact, mean=mean, sd=sd), null)
    assert c.latents[0].p_active.z == 0
    if not p:
        assert abs(c.latents[0].mean.z) < 1e-3, "rounding of an exact calculation is no disagreement"
        assert c.max_abs_z < c.z_limit
    assert finite(c.to_dict())
    flipped = replace(exact, p_active=np.where(np.arange(4) == 0, 1 - p, exact.p_active))
    c = judge(circuit, flipped, null)
    assert c.verdict != "agrees"
    assert finite(c.to_dict())


def test_a_prior_without_a_spike_and_one_latent():
    law = Law([1.0], shape=25.0, size=0.4)
    c = judge(law.sampled(0), law.exact(), law.null())
    assert c.verdict == "agrees"
    assert c.latents[0].p_active.z == 0
    assert c.coactivation == ()
    assert c.max_abs_z_pairs == 0
    assert (c.support.tv, c.support.tv_floor) == (0, 0)


def test_tolerance_is_in_units_of_scale():
    large = Law(EASY.p, shape=25.0, size=40.0)
    circuit = large.sampled(0)
    assert judge(circuit, large.exact(), large.null()).verdict == "inconclusive"
    assert judge(circuit, large.exact(), large.null(), scale=100.0).verdict == "agrees"


def test_total_variation_floor_is_that_of_a_multinomial():
    # 2^6 equally likely supports, n draws: E|p - 1/S| is that of a normal, sqrt(2 p (1 - p) / (pi n)).
    law = Law([0.5] * 6, shape=25.0)
    circuit = replace(law.sampled(0), ess_min=5000.0)
    floor = 0.5 * 64 * math.sqrt(2 / 64 * (1 - 1 / 64) / (math.pi * 5000))
    null = law.null(draws=20)
    one = judge(circuit, law.exact(), null).support
    assert one.tv_floor == pytest.approx(floor, rel=0.03)
    assert one.tv_floor < one.tv_limit < 1.5 * floor
    both = judge(circuit, replace(law.exact(), ess_min=5000.0), null).support
    assert both.tv_floor == pytest.approx(math.sqrt(2) * floor, rel=0.03)
    assert judge(circuit, law.exact(), null).support == one, "the same seed gives the same floor"
    right = judge(law.sampled(0, draws=1250), law.exact(), null).support
    assert 0.5 * floor < right.tv < right.tv_limit
    wrong = judge(Law([0.4] * 6, shape=25.0).sampled(0, draws=1250), law.exact(), null).support
    assert wrong.tv > 3 * wrong.tv_limit


def test_total_variation_floor_with_rare_supports():
    # P(active) as in a 4x4 bars posterior, whose latents are not independent: there it is 0.025 [m].
    n, law = 20_000, Law([0.219, 0.245, 0.151, 0.125, 0.139, 0.99, 0.094, 0.432], shape=25.0)
    exact = law.exact()
    p = np.array(list(exact.support.values()))
    m = np.floor(n * p) + 1  # De Moivre: E|X - n p| = 2 m (1 - p) P(X = m)
    floor = 0.5 * np.sum(2 * m * (1 - p) * binom.pmf(m, n, p) / n)
    support = judge(replace(law.sampled(0, draws=5000), ess_min=float(n)), exact, law.null(draws=20)).support
    assert support.tv_floor == pytest.approx(floor, rel=0.03)
    assert 0.018 < floor < 0.03


def test_total_variation_is_refused_where_it_says_nothing():
    many = Law([0.5] * 12)
    support = judge(replace(many.sampled(0, draws=500), ess_min=400.0), many.exact(), many.null(draws=20)).support
    assert support.tv is None
    assert support.tv_floor > 0.5
    assert support.reason.startswith("Noise alone would make 0.")
    circuit = replace(EASY.sampled(0), support=None)
    assert (
        judge(circuit, EASY.exact()).support.reason
        == "One of the two has no table: the 2^K supports are not tabulated."
    )
    wide = np.random.default_rng(0).random((4, 200, 24)) < 0.5
    law = Law([0.5] * 24)
    measured = law.measure(wide * 1.0, wide)
    support = judge(measured, replace(measured, method="gibbs"), law.null(draws=20)).support
    assert (support.tv, support.tv_floor) == (None, None)
    assert support.reason == "K = 24 > 20: the 2^K supports are not tabulated."


def test_json_round_trip_and_contract():
    virial = (np.array([1.01, 0.99, 1.0, 1.0]), np.full(4, 0.01))
    pathwise = {"max_abs": 3e-6, "rms": 1e-6, "time": 1000.0}
    full = judge(EASY.sampled(0), EASY.exact(), seed=3, virial=virial, pathwise=pathwise)
    short = judge(EASY.sampled(0, draws=50), replace(EASY.exact(), support=None), EASY.null(draws=50), slowdown=2.0)
    assert short.notes
    for c in (full, short):
        text = json.dumps(c.to_dict(), allow_nan=False)
        assert json.loads(text) == c.to_dict()
        assert finite(c.to_dict())
    d = full.to_dict()
    for row in d["latents"]:
        for name in ("p_active", "mean", "sd"):
            assert {"circuit", "sde", "exact", "mcse", "z"} <= row[name].keys()
    sd = d["latents"][2]["sd"]
    assert sd["sde"] == pytest.approx(EASY.exact().sd[2], rel=0.01), "the replicates are the software SDE"
    assert 0 < sd["mcse_sde"] < sd["mcse"]
    assert abs(sd["z_sde"]) < 5
    assert [(row["i"], row["j"]) for row in d["coactivation"]] == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert {"tv", "tv_floor", "reason"} <= d["support"].keys()
    assert d["pathwise"] == pathwise
    assert d["virial"][0]["circuit"] == 1.01
    assert d["virial"][0]["exact"] == 1
    assert d["virial"][0]["z"] == pytest.approx(1)
    assert d["residual_power"]["sde"] is None
    keys = {
        "ess_min", "max_abs_z", "z_limit", "verdict", "reason", "t_stop_needed", "allowance", "tolerance", "scale", "notes",
        "p_value", "detectable", "slowdown", "null_runs", "null_length", "null_scaled", "needed_tolerance", "needed_t_stop",
    }  # fmt: skip
    assert keys <= d.keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, r"^scale = 0\.0, .* Give scale > 0 and 0 <= warmup < t_stop\.$"),
        ({"t_stop": math.nan}, "t_stop = nan"),
        ({"t_stop": 10.0, "warmup": 10.0}, r"warmup = 10\.0, t_stop = 10\.0"),
        ({"alpha": 0.0}, r"^alpha = 0\.0, "),
        ({"allowance": 0.05}, r"^alpha = 0\.01, allowance = 0\.05, tolerance = 0\.02\. Give 0 < alpha < 1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        judge(EASY.sampled(0, draws=50), EASY.exact(), **options)


def test_statistics_of_different_models_are_refused():
    with pytest.raises(InputError, match=r"^exact has 1 latents, but circuit has 4\. Compare samples of one model\.$"):
        judge(EASY.sampled(0, draws=50), Law([0.3]).exact())
    with pytest.raises(InputError, match=r"^exact has no samples"):
        judge(EASY.exact(), EASY.exact())
