"""Comparator width and step: the rules, the refusals with a suggestion that works, the warnings."""

import re
from dataclasses import replace

import numpy as np
import pytest

from circuitlsc import Gaussian, InputError, Laplace, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.planning.stepping import fastest_mode, plan_step

CASES = {
    "bars": (bars(4), SpikeSlab(0.3, 1.0), 0.5),
    "narrow": (bars(4), SpikeSlab(0.3, 1.0), 0.05),
    "signed": (bars(4), SpikeSlab(0.3, 1.0, signed=True), 0.3),
    "small-slab": (bars(2), SpikeSlab(0.3, 40.0), 0.5),
    "laplace": (bars(4), Laplace(1.0), 0.1),
    "exponential": (bars(4), Laplace(1.0, signed=False), 0.5),
    "gaussian": (bars(4), Gaussian(1.0), 0.5),
    "gaussian-stiff": (bars(4), Gaussian(1.0), 0.02),
    "large-atoms": (7 * np.random.default_rng(0).standard_normal((6, 9)), SpikeSlab(0.3, 1.0), 0.5),
}


@pytest.fixture(params=list(CASES))
def problem(request):
    model = SparseCodingModel(*CASES[request.param])
    return model, model.draw(np.random.default_rng(3))[1]


def test_fastest_mode_is_the_largest_eigenvalue_of_the_hessian(problem):
    model, _ = problem
    hessian = model.gram + np.eye(model.n_latents) / model.prior.slab_scale**2
    assert fastest_mode(model) == pytest.approx(np.linalg.eigvalsh(hessian)[-1])


def test_automatic_width_and_step_follow_their_rules(problem):
    model, x = problem
    plan = plan_step(model, x)
    atom = np.linalg.norm(model.A, axis=0).max()
    assert plan.width == pytest.approx(min(0.05 * model.prior.slab_scale, 0.1 * model.sigma / atom))
    if isinstance(model.prior, Gaussian):
        assert plan.step == pytest.approx(min(0.05, 1.9 / np.sqrt(plan.fastest_mode)))
        return
    rules = [0.05 * model.prior.slab_scale**2, 2.5 / plan.fastest_mode]
    u = np.linspace(-3, 3, 600_001)
    gate_slope = np.abs(np.gradient(model.prior.latent_grad(u, plan.width), u)).max()
    if gate_slope > 1e-9:  # the gate of a signed Laplace prior is 1
        gradient = max(np.abs(model.drive(x)).max(), 3 * atom / model.sigma)
        rules.append(1.5 / (gate_slope * gradient))
    assert plan.step == pytest.approx(min(rules), rel=0.01)


@pytest.fixture(params=[name for name, (_, prior, _) in CASES.items() if not isinstance(prior, Gaussian)])
def nonlinear(request):
    """Give a problem whose step is bound to the slab (a linear circuit's is not)."""
    model = SparseCodingModel(*CASES[request.param])
    return model, model.draw(np.random.default_rng(3))[1]


def scaled(prior, c):
    """Return the prior of c times the code."""
    return replace(prior, lam=prior.lam / c)


@pytest.mark.parametrize("c", [0.1, 7.0])
def test_rules_do_not_depend_on_the_unit_of_the_code(nonlinear, c):
    """Codes in a unit 1/c as large: widths grow by c, and diffusion over them takes c^2 as long."""
    model, x = nonlinear
    one, other = plan_step(model, x), plan_step(SparseCodingModel(model.A / c, scaled(model.prior, c), model.sigma), x)
    assert other.width == pytest.approx(c * one.width)
    assert other.step == pytest.approx(c**2 * one.step)
    assert other.time_scale == pytest.approx(c**2 * one.time_scale)


@pytest.mark.parametrize("temperature", [0.3, 4.0])
def test_temperature_is_that_of_the_tempered_model(nonlinear, temperature):
    """E at temperature T is E/T at temperature 1, with T times the speed."""
    model, x = nonlinear
    hot, tempered = plan_step(model, x, temperature=temperature), plan_step(model.tempered(temperature), x)
    assert hot.width == pytest.approx(tempered.width)
    assert hot.step * temperature == pytest.approx(tempered.step)
    assert hot.fastest_mode == pytest.approx(tempered.fastest_mode * temperature)


def test_automatic_choice_is_accepted_when_given(problem):
    model, x = problem
    auto = plan_step(model, x)
    given = plan_step(model, x, width=auto.width, step=auto.step)
    assert (given.width, given.step) == (auto.width, auto.step)
    assert given.warnings == auto.warnings


def test_suggested_step_works_where_a_larger_one_is_refused(problem):
    model, x = problem
    message = (
        rf"run\.step = 0\.6 tau is too large for the fastest mode, {re.escape(f'{fastest_mode(model):.4g}')} / tau: "
        r'the limit is (\S+) tau\. Give step <= (\S+), or step = "auto"\.'
    )
    with pytest.raises(InputError, match=rf"^{message}$") as refusal:
        plan_step(model, x, step=0.6)
    limit, suggested = (float(v) for v in re.search(message, str(refusal.value)).groups())
    assert suggested <= limit
    assert plan_step(model, x, step=suggested).step == suggested
    with pytest.raises(InputError, match="too large for the fastest mode"):
        plan_step(model, x, step=limit * 1.01)


def test_suggested_width_works_where_a_larger_one_is_refused(problem):
    model, x = problem
    ratio = model.sigma / np.linalg.norm(model.A, axis=0).max()
    width = float(1.1 * ratio)
    if isinstance(model.prior, Gaussian):
        assert plan_step(model, x, width=width).warnings == ()  # there is no comparator
        return
    message = (
        rf"circuit\.width = {re.escape(repr(width))}, but the likelihood is only sigma/\|a\| = {ratio:.3g} wide: "
        r"a comparator that coarse samples another posterior\. Give width <= (\S+), or leave it out\."
    )
    with pytest.raises(InputError, match=rf"^{message}$") as refusal:
        plan_step(model, x, width=width)
    suggested = float(re.search(message, str(refusal.value))[1])
    plan = plan_step(model, x, width=suggested)
    assert plan.width == suggested
    assert not any("width" in w and "bias" in w for w in plan.warnings)


@pytest.mark.parametrize("value", [0, 0.0, -1.0, np.nan, np.inf, True, "auto", 1j])
@pytest.mark.parametrize(
    ("name", "why"), [("width", "a comparator has a finite width, in model units"), ("step", "time goes forward")]
)
def test_what_is_no_width_or_step_is_refused(name, why, value):
    model = SparseCodingModel(*CASES["bars"])
    key = {"width": "circuit.width", "step": "run.step"}[name]
    message = f"{key} = {value!r}, but {why}. Give a finite number > 0."
    with pytest.raises(InputError, match=rf"^{re.escape(message)}$"):
        plan_step(model, np.ones(16), **{name: value})


# --- warnings ---


@pytest.fixture
def bars_plan(bars_model, bars_x):
    return lambda **given: plan_step(bars_model, bars_x, **given)


def test_ordinary_plan_has_no_warning(bars_plan):
    assert bars_plan().warnings == ()


def test_wide_comparator_warns(bars_plan):
    (warning,) = bars_plan(width=0.11).warnings
    assert warning == "width = 0.11 is above 0.1: expect a bias from rounded corners."
    assert bars_plan(width=0.099).warnings == ()


def test_long_step_warns(bars_plan):
    (warning,) = bars_plan(width=0.02, step=0.2).warnings
    match = re.fullmatch(
        r"step = 0\.2 tau is above 2/\(steepest gate x e_max\) = (\S+): "
        r"the implicit step may have several solutions, and the samples a bias\.",
        warning,
    )
    assert bars_plan(width=0.02, step=0.99 * float(match[1])).warnings == ()


def test_narrow_posterior_warns(bars_x):
    narrow, wide = (plan_step(SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), sigma), bars_x) for sigma in (0.09, 0.11))
    (warning,) = narrow.warnings
    assert warning.startswith("sigma/|a|_max = 0.09 is below 0.1, the narrowest likelihood that was checked: ")
    assert warning.endswith("Look at R-hat and ess_min.")
    assert wide.warnings == ()


# --- the report says all this ---


def test_report_has_the_numbers_and_their_reasons(problem):
    model, x = problem
    sampler = build_sampler(model, x)
    report = sampler.report()
    for line in (*sampler.plan.explanation, *sampler.plan.warnings):
        assert line in report
    assert f"width {sampler.plan.width:.4g} = min(" in report
    assert f"step {sampler.plan.step:.4g} tau = min(" in report


def test_report_of_given_values_says_what_the_rule_would_give(bars_model, bars_x):
    report = build_sampler(bars_model, bars_x, width=0.04, step=0.02).report()
    assert "width 0.04 as given (the rule would give 0.05)" in report
    assert "step 0.02 tau as given (the rule would give " in report
