"""Numbers that double precision does not hold are an error of one line, wherever they come from."""

import subprocess
import sys

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from circuitlsc import Gaussian, InputError, SparseCodingModel, SquareRoot, bars, build_sampler
from circuitlsc.commands.shared import one_line_errors
from circuitlsc.learning.start import overcomplete


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
    start = f"import sys; import circuitlsc.cli as cli\ndef doctor({takes}): raise {raised}\n"
    start += "cli.app = doctor\n" if within == "app" else "cli.app.registered_commands[-1].callback = doctor\n"
    start += "sys.argv[1:] = ['doctor']; cli.main()"
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("Traceback" in done.stderr) == (code == 1)
    if code == 130:
        assert done.stderr == "circuitlsc: error: interrupted; nothing was written\n"
