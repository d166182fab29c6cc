"""The verdict of `circuitlsc.compare` on samplers that are known to be right, wrong, or too short."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom, gamma, norm

from circuitlsc import InputError, SparseCodingModel, SpikeSlab
from circuitlsc.compare import Comparison, compare
from circuitlsc.statistics import PosteriorStatistics, summarize


class Law:
    """Independent spikes and Gamma slabs: every statistic has a closed form, and a copula gives it an AR(1)."""

    def __init__(self, p, shape=1.0, size=1.0):
        self.p, self.K = np.array(p, dtype=float), len(p)
        self.shape, self.size = shape, size  # of the slab: its mean is size, its kurtosis 3 + 6/shape
        self.model = SparseCodingModel(np.eye(self.K), SpikeSlab(0.3, 1.0), 0.5)

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
        tail = norm.sf(lfilter([1], [1, -a], z, axis=1)) / self.p  # uniform on (0, 1) given active
        slab = (
            -np.log(np.minimum(tail, 1)) if self.shape == 1 else gamma.isf(np.minimum(tail, 1), self.shape) / self.shape
        )
        return np.where(tail < 1, slab * self.size, 0.0), tail < 1

    def measure(self, s, active):
        return summarize(s, active, model=self.model, x=np.zeros(self.K), method="circuit")

    def sampled(self, seed, chains=4, draws=20_000, a=0.0):
        return self.measure(*self.draw(np.random.default_rng(seed), chains, draws, a))


# Small slabs, so that a few thousand effective samples suffice for a tolerance of 0.02.
EASY = Law([0.3, 0.6, 0.1, 0.8], shape=25.0, size=0.4)


def judge(circuit, exact, **options):
    return compare(circuit, exact, None, **{"scale": 1.0, "t_stop": 1000.0, "seed": 0, **options})


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
    assert c.t_stop_needed is None
    assert c.z_limit == pytest.approx(norm.isf(0.01 / 24))
    assert c.z_limit_pairs == pytest.approx(norm.isf(0.01 / 12))
    assert c.max_abs_z < c.z_limit
    entry = c.latents[1].mean
    assert entry.exact == pytest.approx(0.24)
    assert entry.z == pytest.approx((entry.circuit - entry.exact) / entry.mcse)
    assert abs(c.residual_power.z) < 4
    assert c.virial is None
    assert c.pathwise.max_abs is None


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
    n, exact = 100, law.exact()
    verdicts, beyond, bare = [], 0, 0
    for seed in range(n):
        circuit = law.sampled(seed, draws=draws, a=a)
        c = judge(circuit, exact)
        verdicts.append(c.verdict)
        beyond += c.max_abs_z > c.z_limit or c.max_abs_z_pairs > c.z_limit_pairs
        own = [
            (getattr(circuit, k) - getattr(exact, k), getattr(circuit, k + "_mcse")) for k in ("p_active", "mean", "sd")
        ]
        bare += any((np.abs(d) > c.z_limit * mcse).any() for d, mcse in own)
    most = binom.isf(1e-4, n, 0.02)  # 2 alpha: marginals and pairs
    alarms = verdicts.count("disagrees")
    assert alarms <= most, f"{alarms} of {n} right samplers disagree; at most {most:.0f} may"
    assert beyond <= most, f"{beyond} of {n} right samplers have a z beyond its limit; at most {most:.0f} may"
    if a == 0.9:
        assert bare > most, f"{bare} of {n} with each column's own MCSE: its floors would not be needed"


WRONG = {
    "pi": Law([0.4, 0.7, 0.15, 0.9], shape=25.0, size=0.4),
    "lam": Law(EASY.p, shape=25.0, size=0.3),
    "width of the slab": Law(EASY.p, shape=4.0, size=0.4),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_sampler_disagrees(what):
    for seed in range(5):
        c = judge(WRONG[what].sampled(seed, draws=2000, a=0.5), EASY.exact())
        assert c.verdict == "disagrees", (what, c.reason)
        assert c.max_abs_z > c.z_limit
        assert c.t_stop_needed is None
        assert c.reason.endswith(": more than noise and the allowed bias explain.")


def test_wrong_joint_probabilities_with_right_marginals_disagree():
    law = Law([0.3, 0.6, 0.1, 0.3], shape=25.0, size=0.4)
    rng = np.random.default_rng(0)
    s, active = law.draw(rng, 4, 20_000)
    follows = rng.random((4, 20_000)) < 0.5  # latent 3 is active when latent 0 is, half of the time
    active[..., 3] = np.where(follows, active[..., 0], active[..., 3])
    s[..., 3] = active[..., 3] * gamma.rvs(25, scale=0.4 / 25, size=follows.shape, random_state=rng)
    c = judge(law.measure(s, active), law.exact())
    assert c.max_abs_z < c.z_limit
    assert c.verdict == "disagrees"
    assert c.reason.startswith("P(both active) of latents 0 and 3 is ")


def test_a_bias_within_the_allowance_agrees():
    biased = Law(EASY.p - 0.004, shape=25.0, size=0.4).sampled(0, draws=100_000)
    assert judge(biased, EASY.exact()).verdict == "agrees"
    assert judge(biased, EASY.exact()).max_abs_z > 3.5
    assert judge(biased, EASY.exact(), allowance=0.0).verdict == "disagrees"


def test_a_short_run_is_inconclusive_and_says_how_long_would_do():
    step, agreed = 0.05, 0
    for seed in range(10):
        short = judge(EASY.sampled(seed, draws=400, a=0.6), EASY.exact(), t_stop=400 * step)
        assert short.verdict == "inconclusive", short.reason
        assert short.reason.endswith(f" About t_stop = {short.t_stop_needed:g} tau per chain would do.")
        assert short.t_stop < short.t_stop_needed < 100 * short.t_stop
        longer = EASY.sampled(100 + seed, draws=round(short.t_stop_needed / step), a=0.6)
        agreed += judge(longer, EASY.exact()).verdict == "agrees"
    assert agreed >= 8, f"{agreed} of 10 runs of the length that would do agree"


def test_warmup_is_not_scaled():
    circuit = EASY.sampled(0, draws=400, a=0.6)
    plain = judge(circuit, EASY.exact(), t_stop=100.0).t_stop_needed
    warm = judge(circuit, EASY.exact(), t_stop=1100.0, warmup=1000.0).t_stop_needed
    assert warm == pytest.approx(1000 + plain, rel=0.1)


def test_few_effective_samples_never_agree():
    # 4 x 15 draws of a law so narrow that every error is far below the tolerance.
    law = Law([1.0, 1.0], shape=1e4, size=0.1)
    few = replace(law.sampled(0, draws=15), rhat_max=1.0)
    assert few.ess_min < 100
    c = judge(few, law.exact())
    assert c.verdict == "inconclusive"
    assert c.reason.startswith("The run is too short: circuit has ")
    assert "effective samples (at least 100 are needed)" in c.reason
    assert judge(replace(few, ess_min=100.0), law.exact()).verdict == "agrees"
    assert judge(law.sampled(0, draws=500), law.exact()).verdict == "agrees"


def test_very_few_effective_samples_never_disagree_and_few_only_if_grossly():
    wrong = Law([0.9, 0.1, 0.9, 0.1], shape=25.0, size=0.4)
    few = replace(wrong.sampled(1, draws=20), rhat_max=1.0)
    assert 25 < few.ess_min < 100
    assert judge(few, EASY.exact()).verdict == "disagrees"
    assert judge(replace(few, ess_min=24.0), EASY.exact()).verdict == "inconclusive"
    # The same statistics, 1.5 times their margin away: enough with 100 effective samples, not with fewer.
    shifted = EASY.exact(mean=few.mean, sd=few.sd, coactive=few.coactive, p_active=few.p_active)
    z = judge(few, shifted).z_limit
    margin = max(row.mean.mcse for row in judge(few, shifted).latents) * z
    moved = replace(shifted, mean=shifted.mean + 0.005 + 1.5 * margin * (few.mean_mcse == few.mean_mcse.max()))
    assert judge(few, moved).verdict == "inconclusive"
    assert judge(replace(few, ess_min=100.0), moved).verdict == "disagrees"


def test_a_stuck_chain_is_inconclusive_not_wrong():
    s, active = EASY.draw(np.random.default_rng(0), 4, 5000)
    active[0, :, 0], s[0, :, 0] = True, 0.4 + 0.01 * np.random.default_rng(1).standard_normal(5000)
    c = judge(EASY.measure(s, active), EASY.exact())
    assert c.verdict == "inconclusive"
    assert c.rhat_max > 1.05
    assert c.reason.startswith("The chains have not converged: circuit has ")
    assert c.t_stop_needed > 1000


def test_chains_that_all_stand_still_are_inconclusive():
    for law in (Law([0.001]), Law([0.3, 0.5])):
        c = judge(law.measure(np.zeros((4, 500, law.K)), np.zeros((4, 500, law.K), bool)), law.exact())
        assert c.verdict == "inconclusive", c.reason
        assert finite(c.to_dict())
    apart = np.repeat(np.array([1.0, 2.0])[:, None, None], 500, axis=1)
    c = judge(Law([1.0]).measure(apart, apart > 0), Law([1.0]).exact())
    assert c.verdict == "inconclusive"
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
    c = judge(circuit, replace(EASY.sampled(1, draws=400), method="gibbs"))
    assert c.verdict == "inconclusive"
    assert c.reason.endswith("; draw more from it.")
    c = judge(circuit, replace(EASY.sampled(1, draws=40_000), method="gibbs"))
    assert c.verdict == "agrees", c.reason
    assert c.reference == "gibbs"
    assert c.ess_exact > 100_000
    entry = c.latents[0].mean
    assert entry.mcse_exact > 0
    assert entry.z == pytest.approx((entry.circuit - entry.exact) / math.hypot(entry.mcse, entry.mcse_exact))


def test_states_never_visited_are_no_disagreement():
    law = Law([1e-4, 0.4], shape=1.0, size=0.3)
    s, active = law.draw(np.random.default_rng(0), 4, 5000)
    s[..., 0], active[..., 0] = 0.0, False
    c = judge(law.measure(s, active), law.exact())
    assert c.verdict == "agrees", c.reason
    entry = c.latents[0].p_active
    assert entry.circuit == 0
    assert entry.mcse == pytest.approx(math.sqrt(1e-4 * (1 - 1e-4) / c.ess_min))
    assert -2 < entry.z < 0
    wrong = Law([0.05, 0.4], shape=1.0, size=0.3)
    assert judge(law.measure(s, active), wrong.exact()).verdict == "disagrees"


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_probabilities_of_zero_and_one_have_z_zero(p):
    s, active = EASY.draw(np.random.default_rng(0), 4, 5000)
    s[..., 0], active[..., 0] = (s[..., 1] + 0.1 if p else 0.0), bool(p)
    circuit = EASY.measure(s, active)
    q = EASY.p.copy()
    q[0] = p
    exact = Law(q, 25.0, 0.4).exact()
    mean, sd = exact.mean.copy(), exact.sd.copy()
    mean[0], sd[0] = (exact.mean[1] + 0.1, exact.sd[1]) if p else (1e-12, 0.0)
    c = judge(circuit, replace(exact, mean=mean, sd=sd))
    assert c.latents[0].p_active.z == 0
    if not p:
        assert abs(c.latents[0].mean.z) < 1e-3, "rounding of an exact calculation is no disagreement"
    assert finite(c.to_dict())
    assert c.max_abs_z < c.z_limit
    flipped = replace(exact, p_active=np.where(np.arange(4) == 0, 1 - p, exact.p_active))
    c = judge(circuit, flipped)
    assert c.verdict == "disagrees"
    assert finite(c.to_dict())


def test_a_prior_without_a_spike_and_one_latent():
    law = Law([1.0], shape=25.0, size=0.4)
    c = judge(law.sampled(0), law.exact())
    assert c.verdict == "agrees"
    assert c.latents[0].p_active.z == 0
    assert c.coactivation == ()
    assert c.max_abs_z_pairs == 0
    assert (c.support.tv, c.support.tv_floor) == (0, 0)


def test_tolerance_is_in_units_of_scale():
    large = Law(EASY.p, shape=25.0, size=40.0)
    circuit = large.sampled(0)
    assert judge(circuit, large.exact()).verdict == "inconclusive"
    assert judge(circuit, large.exact(), scale=100.0).verdict == "agrees"


def test_total_variation_floor_is_that_of_a_multinomial():
    # 2^6 equally likely supports, n draws: E|p - 1/S| is that of a normal, sqrt(2 p (1 - p) / (pi n)).
    law = Law([0.5] * 6, shape=25.0)
    circuit = replace(law.sampled(0), ess_min=5000.0)
    floor = 0.5 * 64 * math.sqrt(2 / 64 * (1 - 1 / 64) / (math.pi * 5000))
    one = judge(circuit, law.exact()).support
    assert one.tv_floor == pytest.approx(floor, rel=0.03)
    assert one.tv_floor < one.tv_limit < 1.5 * floor
    both = judge(circuit, replace(law.exact(), ess_min=5000.0)).support
    assert both.tv_floor == pytest.approx(math.sqrt(2) * floor, rel=0.03)
    assert judge(circuit, law.exact()).support == one, "the same seed gives the same floor"
    right = judge(law.sampled(0, draws=1250), law.exact()).support
    assert 0.5 * floor < right.tv < right.tv_limit
    wrong = judge(Law([0.4] * 6, shape=25.0).sampled(0, draws=1250), law.exact()).support
    assert wrong.tv > 3 * wrong.tv_limit


def test_total_variation_floor_with_rare_supports():
    # P(active) as in a 4x4 bars posterior, whose latents are not independent: there it is 0.025 [m].
    n, law = 20_000, Law([0.219, 0.245, 0.151, 0.125, 0.139, 0.99, 0.094, 0.432], shape=25.0)
    exact = law.exact()
    p = np.array(list(exact.support.values()))
    m = np.floor(n * p) + 1  # De Moivre: E|X - n p| = 2 m (1 - p) P(X = m)
    floor = 0.5 * np.sum(2 * m * (1 - p) * binom.pmf(m, n, p) / n)
    support = judge(replace(law.sampled(0, draws=5000), ess_min=float(n)), exact).support
    assert support.tv_floor == pytest.approx(floor, rel=0.03)
    assert 0.018 < floor < 0.03


def test_total_variation_is_refused_where_it_says_nothing():
    many = Law([0.5] * 12)
    support = judge(replace(many.sampled(0, draws=500), ess_min=400.0), many.exact()).support
    assert support.tv is None
    assert support.tv_floor > 0.5
    assert support.reason.startswith("Noise alone would make 0.")
    circuit = replace(EASY.sampled(0), support=None)
    assert (
        judge(circuit, EASY.exact()).support.reason
        == "One of the two has no table: the 2^K supports are not tabulated."
    )
    wide = np.random.default_rng(0).random((4, 200, 24)) < 0.5
    model = SparseCodingModel(np.eye(24), SpikeSlab(0.3, 1.0), 0.5)
    wide = summarize(wide * 1.0, wide, model=model, x=np.zeros(24), method="circuit")
    support = judge(wide, replace(wide, method="gibbs")).support
    assert (support.tv, support.tv_floor) == (None, None)
    assert support.reason == "K = 24 > 20: the 2^K supports are not tabulated."


def test_json_round_trip_and_contract():
    sde = EASY.sampled(5, draws=3000)
    virial = (np.array([1.01, 0.99, 1.0, 1.0]), np.full(4, 0.01))
    pathwise = {"max_abs": 3e-6, "rms": 1e-6, "time": 1000.0}
    full = compare(EASY.sampled(0), EASY.exact(), sde, scale=1.0, t_stop=1e4, seed=3, virial=virial, pathwise=pathwise)
    bare = judge(EASY.sampled(0, draws=50), replace(EASY.exact(), support=None))
    for c in (full, bare):
        text = json.dumps(c.to_dict(), allow_nan=False)
        assert Comparison.from_dict(json.loads(text)) == c
        assert finite(c.to_dict())
    d = full.to_dict()
    for row in d["latents"]:
        for name in ("p_active", "mean", "sd"):
            assert {"circuit", "sde", "exact", "mcse", "z"} <= row[name].keys()
    assert d["latents"][2]["sd"]["sde"] == pytest.approx(sde.sd[2])
    assert abs(d["latents"][2]["sd"]["z_sde"]) < 5
    assert [(row["i"], row["j"]) for row in d["coactivation"]] == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert {"tv", "tv_floor", "reason"} <= d["support"].keys()
    assert d["pathwise"] == pathwise
    assert d["virial"][0]["circuit"] == 1.01
    assert d["virial"][0]["exact"] == 1
    assert d["virial"][0]["z"] == pytest.approx(1)
    assert d["residual_power"]["sde"] == pytest.approx(sde.residual_power)
    keys = {"ess_min", "max_abs_z", "z_limit", "verdict", "reason", "t_stop_needed", "allowance", "tolerance", "scale"}
    assert keys <= d.keys()
    assert bare.to_dict()["latents"][0]["mean"]["sde"] is None
    for broken in ({**d, "extra": 1}, {k: v for k, v in d.items() if k != "latents"}, {**d, "support": None}):
        with pytest.raises(InputError, match="no comparison that this version of circuitlsc wrote"):
            Comparison.from_dict(broken)


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
