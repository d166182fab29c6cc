"""Progress: a total and the time left, in a terminal, in a notebook, and nowhere."""

import time

import numpy as np
import pytest

from circuitlsc.errors import InputError
from circuitlsc.io import progress
from circuitlsc.io.progress import Pace, duration, progress_lines, told, told_whole


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


class Display:
    """What a notebook's frontend is sent."""

    def __init__(self, monkeypatch):
        IPython = pytest.importorskip("IPython.display")
        self.states = []
        monkeypatch.setattr(progress, "in_notebook", lambda: True)
        monkeypatch.setattr(IPython, "display", self.show)

    def show(self, data, raw, display_id):
        assert raw
        assert display_id
        self.states.append(data)
        return self

    def update(self, data, raw):
        assert raw
        self.states.append(data)

    @property
    def texts(self):
        return [state["text/plain"] for state in self.states]


def test_time_left_counts_what_was_made_not_what_was_found(monkeypatch):
    clock = Clock(monkeypatch)
    pace = Pace(40_000, "steps", found=30_000)
    pace.advance(0, 30_000)  # found: at once
    assert pace.said() == "30,000 of 40,000 steps"
    clock.now = 2.0
    pace.advance(1, 1000)
    assert pace.said() == "31,000 of 40,000 steps", "of the first it is not known how long it took to start"
    clock.now = 4.0
    pace.advance(1, 2000)
    assert pace.said() == "32,000 of 40,000 steps, 16 s left"
    pace.advance(1, 10_000)
    assert pace.said() == "40,000 of 40,000 steps"


def test_times_are_said_as_a_person_says_them():
    said = {8.2: "8 s", 99.7: "2 min", 3599: "1 h 0 min", 7801: "2 h 10 min", 3e5: "3 days"}
    assert {seconds: duration(seconds) for seconds in said} == said


def test_a_notebook_sees_a_total_and_at_the_end_one_line(monkeypatch):
    clock, shown = Clock(monkeypatch), Display(monkeypatch)
    with told(None, "<ngspice>", 4000, "steps") as tell:
        for done in range(0, 4001, 100):
            clock.now += 0.1
            tell(0, done)
    assert shown.texts[0] == "<ngspice>: 0 of 4,000 steps"
    assert shown.texts[-2] == "<ngspice>: 3,800 of 4,000 steps, 0 s left"
    assert shown.texts[-1] == "<ngspice>: 4,000 steps"
    assert len(shown.states) <= 3 + 4.1 / 0.2, "five times a second"
    assert '<progress value="3800" max="4000"' in shown.states[-2]["text/html"]
    assert "&lt;ngspice&gt;" in shown.states[-2]["text/html"]
    assert shown.states[-1].keys() == {"text/plain"}


def test_a_notebook_is_left_tidy_by_an_error(monkeypatch):
    shown = Display(monkeypatch)

    def interrupted():
        with told(True, "learning", 0.5, "tau") as tell:
            tell(0, 0.25)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert shown.texts[-1] == "learning: stopped at 0.25 of 0.5 tau"


def test_a_terminal_shows_the_end_of_each_line_of_one_display(capsys):
    with progress_lines() as line:
        line("exact posterior", 100, "%")(0, 100)
        with told(True, "ngspice", 4000, "steps") as tell:
            tell(0, 1500)
            tell(1, 2500)
        with told_whole(True, "learning", 20, "tau") as whole:
            whole(15, 20)
    shown = capsys.readouterr().err
    for end in ("100 of 100 %", "4,000 of 4,000 steps", "15 of 20 tau"):
        assert shown.count(end) == 1


def test_nothing_is_shown_where_nothing_is_asked_for(capsys):
    for silent in (None, False):
        with told(silent, "ngspice", 1, "steps") as tell, told_whole(silent, "learning", 1, "tau") as whole:
            assert tell is None
            assert whole is None
    calls = []
    with told(calls.append, "ngspice", 1, "steps") as tell, told_whole(print, "learning", 1, "tau") as whole:
        assert (tell, whole) == (calls.append, print)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(InputError, match=r"progress = 'yes' cannot be used\. Give True, False, None or a function\.$"):
        told("yes", "ngspice", 1, "steps").__enter__()


@pytest.mark.ngspice
def test_circuits_and_learners_tell_a_notebook(monkeypatch):
    from circuitlsc import SparseCodingModel, SpikeSlab, build_sampler
    from circuitlsc.learning.learner import Learner, Stage
    from circuitlsc.studies.chip_yield import chip_yield

    shown = Display(monkeypatch)
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    model = SparseCodingModel(np.eye(2), SpikeSlab(pi=0.3, lam=1.0), 0.5)
    x = model.draw(1)[1]
    build_sampler(model, x, step=0.05).run(t_stop=20.0, warmup=5.0, chains=2)
    assert shown.texts[0] == "ngspice: 0 of 800 steps"
    assert "ngspice: 400 of 800 steps" in shown.texts
    assert shown.texts[-1] == "ngspice: 800 steps"
    run = {"t_stop": 40.0, "warmup": 10.0, "chains": 1, "step": 0.05}
    chip_yield(model, x, {"integrator": {"capacitance_mismatch": 0.01}}, chips=1, **run)
    assert shown.texts[-1] == "ngspice: 1,600 steps", "of the ideal circuit and a chip"
    stages = (Stage(duration=1.0, step=0.1, hold=0.5),)
    Learner(A0=np.eye(2), source=np.ones((3, 2)), pi=0.3, lam=1.0, sigma=0.5, stages=stages, learn=(), seed=1).run()
    assert shown.texts[-1] == "learning: 1 tau"
    before = len(shown.states)
    build_sampler(model, x, step=0.05).run(t_stop=20.0, warmup=5.0, chains=1, progress=False)
    assert len(shown.states) == before
