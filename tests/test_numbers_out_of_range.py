"""Numbers that double precision does not hold are an error of one line, wherever they come from."""

import subprocess
import sys

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from circuitlsc import (
    Cauchy,
    Dynamics,
    Gaussian,
    InputError,
    RunPlan,
    SparseCodingModel,
    SpikeSlab,
    SquareRoot,
    bars,
    build_sampler,
)
from circuitlsc.cli.shared import one_line_errors
from circuitlsc.learning.start import overcomplete
from circuitlsc.sampling.batch import CircuitRun, run_circuits


@pytest.mark.parametrize("sd", [1e7, 1e8, 1e15, 1e99])
def test_a_prior_so_wide_that_nothing_holds_the_code(sd):
    """Two latents that make the same image: their difference is left to the prior."""
    with pytest.raises(
        InputError, match=r"more than a million times wider in one direction .* sd = .* Give a smaller sd\.$"
    ):
        build_sampler(SparseCodingModel(bars(1), Gaussian(sd), 0.5), [1.0])
    build_sampler(SparseCodingModel(bars(1), Gaussian(1e4), 0.5), [1.0])


@pytest.mark.parametrize(
    ("A", "sigma"), [(np.eye(2) * 1e200, 0.5), (np.eye(2) * 1e60, 1e-60), (np.eye(2) * 1e-200, 1.0)]
)
def test_a_dictionary_without_room_for_its_square(A, sigma):
    with pytest.raises(
        InputError, match=r"^A( has an entry of size .* no room for their squares|\[:, 0\] is a zero column)"
    ):
        SparseCodingModel(A, Gaussian(1.0), sigma)


def test_the_scale_of_a_smooth_prior_is_no_difference_of_large_numbers():
    for epsilon in (1e-6, 1.0, 1e3, 1e6, 1e12, 1e99):
        prior = SquareRoot(1.0, epsilon=epsilon)
        s = prior.slab_scale
        # C(s) = s^2 / ((sqrt(hypot) + sqrt(epsilon)) (hypot + epsilon)), without a difference
        far = np.hypot(s, epsilon)
        assert (s / (np.sqrt(far) + np.sqrt(epsilon))) * (s / (far + epsilon)) == pytest.approx(1.0, rel=1e-9)


def test_times_are_no_numbers():
    with pytest.raises(InputError, match=r"^A has dtype timedelta64"):
        SparseCodingModel(np.ones((2, 2), "m8[s]"), Gaussian(1.0), 0.5)


def test_more_latents_than_can_be_learned():
    with pytest.raises(InputError, match=r"and at most 100,000 can be learned\. Give a smaller factor\.$"):
        overcomplete(4, 1e99)


@pytest.mark.parametrize(
    "make",
    [lambda: 1 // 0, lambda: 1e300**2, lambda: np.linalg.inv(np.ones((2, 2)))],
    ids=["ZeroDivisionError", "OverflowError", "LinAlgError"],
)
def test_what_is_left_is_one_line_at_the_command_line(make):
    app = typer.Typer()

    @app.command()
    def command():
        with one_line_errors():
            make()

    done = CliRunner().invoke(app)
    assert done.exit_code == 1
    assert done.stderr.startswith("circuitlsc: error: the numbers of this problem cannot be calculated with (")
    assert len(done.stderr.splitlines()) == 1


def test_negative_control_other_errors_are_shown_as_ours():
    with pytest.raises(ValueError, match="a slip"), one_line_errors():
        raise ValueError("a slip")


@pytest.mark.parametrize(
    ("raised", "code"),
    [("KeyboardInterrupt", 130), ("RuntimeError('x') from KeyboardInterrupt()", 130), ("RuntimeError('x')", 1)],
)
@pytest.mark.parametrize("within", ["app", "command"])
def test_an_interrupt_before_a_commands_own_handling_is_one_line(raised, code, within):
    """NumPy's import turns one into a RuntimeError; Typer ends in silence."""
    takes = "**_" if within == "app" else ""
    start = f"import sys; import circuitlsc.cli.main as cli\ndef doctor({takes}): raise {raised}\n"
    start += "cli.app = doctor\n" if within == "app" else "cli.app.registered_commands[-1].callback = doctor\n"
    start += "sys.argv[1:] = ['doctor']; cli.main()"
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("Traceback" in done.stderr) == (code == 1)
    if code == 130:
        assert done.stderr == "circuitlsc: error: interrupted; nothing was written\n"


A = np.array([[0.6, 0.8], [0.8, -0.2]])


def planned(model=None, *, run=None, x=(1.0, 0.5), **arguments):
    model = model or SparseCodingModel(A, SpikeSlab(0.3, 1.0), 0.5)
    sampler = build_sampler(model, np.array(x), **arguments)
    return sampler.tasks(sampler.run_plan(**{"t_stop": 60.0, **(run or {})} if np.ndim(x) == 1 else {}))


def slab(pi=0.3, lam=1.0, sigma=0.5):
    return SparseCodingModel(A, SpikeSlab(pi, lam), sigma)


HOLDS = r"^u would reach .* units and e .*, which no voltages on rails of \+-2\.5 V hold \(sigma = .* Measure x, A and sigma"
STEPS = (
    r"^run\.t_stop = \S+ tau is \S+ steps of \S+ tau, weeks of computing for each chain\. Give t_stop <= \S+, or what"
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": slab(sigma=1e-60)}, r"^sigma/\|a\| = 1e-60 is lost beside the threshold and the slab"),
        ({"model": slab(lam=1e-20)}, r"^sigma/\|a\| = 0\.5 is lost beside the threshold and the slab"),
        ({"model": SparseCodingModel(A, SquareRoot(1e-12), 0.5)}, r"^sigma/\|a\| = 0\.5 is lost beside"),
        ({"model": SparseCodingModel(A, Gaussian(1.0), 1e-60)}, HOLDS),
        ({"model": SparseCodingModel(A, Cauchy(1.0, 1e60), 0.5)}, r"^sigma/\|a\| = 0\.5 is lost beside"),
        ({"model": slab(sigma=1e60)}, r"^the prior SpikeSlab.* lets u reach .* below what a comparator tells apart"),
        ({"model": slab(lam=1e12)}, r"^the prior SpikeSlab.* lets u reach .* below what a comparator tells apart"),
        ({"rails": 1e-9}, r"^the prior SpikeSlab.* lets u reach .* or higher rails\.$"),
        ({"model": slab(sigma=1e-10)}, STEPS),
        ({"dynamics": Dynamics(temperature=1e-12)}, STEPS),
        ({"step": 1e-60}, STEPS),
        ({"run": {"t_stop": 1e12}}, STEPS),
        ({"run": {"t_stop": 1e15}}, r"^run\.t_stop = 1000000000000000\.0 tau would never end"),
        (
            {"run": {"chains": 10**6}},
            r"^run\.chains = 1,000,000, but each is a process .* Give at most 10,000, and a longer",
        ),
        ({"run": {"thin": 10**15}}, r"^run\.t_stop = 60\.0 tau leaves 0 samples per chain"),
        (
            {"tau": 1e10},
            r"^tau = 10000000000\.0 s is longer than ngspice's transients hold their step \(1e\+06 s\)\. Give a",
        ),
        ({"volt": 1e30}, r"^circuit\.volt = 1e\+30 V per unit puts u .* Give volt <= "),
        ({"volt": 1e-30}, r"^volt = 1e-30 V per unit is below what ngspice holds, 1e-15 V\."),
        (
            {"width": 1e-60},
            r"^circuit\.width = 1e-60 is lost beside the threshold and the slab",
        ),
        ({"x": A, "hold": 1e15}, r"^run\.t_stop = 2000000000000000\.0 tau would never end"),
    ],
)
def test_numbers_that_nothing_could_run_are_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        planned(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.ngspice
def test_numbers_at_the_edge_run():
    """All chains of one batch: pi near 0 and 1, a wide slab, one latent, the scales of a circuit far from ours."""
    one = np.ones((1, 1))
    circuits = {
        "pi -> 0": build_sampler(slab(pi=1e-12), [1.0, 0.5]),
        "pi -> 1": build_sampler(slab(pi=1 - 1e-12), [1.0, 0.5]),
        "wide": build_sampler(slab(lam=1e-12), [1.0, 0.5]),
        "1 x 1": build_sampler(SparseCodingModel(one, SpikeSlab(0.3, 1.0), 0.5), [0.0], level="device"),
        "scales": build_sampler(slab(), [1.0, 0.5], tau=1e6, c_int=1e-30, rails=1e30),
    }
    done = run_circuits(
        [CircuitRun(name, sampler, RunPlan(t_stop=25.0, chains=1)) for name, sampler in circuits.items()]
    )
    shares = {name: (samples.s != 0).mean() for name, samples in done.items()}
    assert all(np.isfinite(samples.u).all() for samples in done.values())
    assert shares["pi -> 0"] == 0
    assert shares["pi -> 1"] == 1
    here = build_sampler(slab(), [1.0, 0.5]).run(t_stop=25.0, chains=1)
    np.testing.assert_allclose(done["scales"].u, here.u, rtol=0, atol=1e-3)  # the same circuit in other units


def test_python_without_docstrings_is_one_line():
    done = subprocess.run(
        [sys.executable, "-OO", "-m", "circuitlsc", "doctor"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("circuitlsc: error: PYTHONOPTIMIZE = 2 (python -OO) removes docstrings")
    assert len(done.stderr.splitlines()) == 1
