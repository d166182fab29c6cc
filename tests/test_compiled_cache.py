"""What is compiled: where it is kept, what is not taken from there, how ngspice loads it, and runs that need more nodes."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from circuitlsc import (
    Encoder,
    InputError,
    MissingSimulatorError,
    RunPlan,
    SparseCodingModel,
    SpikeSlab,
    bars,
    build_sampler,
)
from circuitlsc.io.cache import cache_folder
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.simulator import verilog_a
from circuitlsc.simulator.ngspice import modules
from circuitlsc.simulator.verilog_a import HEADER, Programs, compiled

FILE = "lsc_column.va"
OBJECT = HEADER.pack(b"\x7fELF", 100, 10, 3) + bytes(130 - HEADER.size)


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """Let there be a compiler that writes an object and takes note of it; return what it does, which may be changed."""
    (tmp_path / "object").write_bytes(OBJECT)
    program = tmp_path / "openvaf-r"

    def does(what):
        program.write_text(f"#!/bin/sh\necho >> {tmp_path / 'runs'}\n{what}\n")
        program.chmod(0o755)

    does(f"cp {tmp_path / 'object'} made.osdi")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(verilog_a, "find_programs", lambda: Programs(program, program))
    monkeypatch.setattr(verilog_a, "version", lambda: "a version")
    return SimpleNamespace(does=does, runs=lambda: len((tmp_path / "runs").read_text().splitlines()))


def test_it_is_compiled_once(compiler):
    path = compiled([FILE])[FILE]
    assert compiled([FILE]) == {FILE: path}
    assert path.read_bytes() == OBJECT
    assert compiler.runs() == 1
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("left", [0, HEADER.size - 1, len(OBJECT) - 1])
def test_a_part_of_an_object_is_compiled_again(compiler, left):
    """Loaded, it would crash ngspice in every run."""
    path = compiled([FILE])[FILE]
    path.write_bytes(OBJECT[:left])
    compiled([FILE])
    assert path.read_bytes() == OBJECT
    assert compiler.runs() == 2


def test_what_somebody_else_may_have_made_is_not_loaded(compiler, tmp_path, monkeypatch):
    path = compiled([FILE])[FILE]
    for each in (path, path.parent):
        mode = each.stat().st_mode
        each.chmod(mode | 0o002)
        with pytest.raises(InputError, match=f"^{each} is somebody else's, or anybody may write to it"):
            compiled([FILE])
        each.chmod(mode)
    with monkeypatch.context() as patch:
        patch.setattr(verilog_a.os, "geteuid", lambda: 4321)
        lstat = Path.lstat
        patch.setattr(Path, "lstat", lambda each: SimpleNamespace(st_uid=1234, st_mode=lstat(each).st_mode))
        with pytest.raises(InputError, match="is somebody else's"):
            compiled([FILE])
    path.rename(tmp_path / "other")
    path.symlink_to(tmp_path / "other")
    with pytest.raises(InputError, match="or it is a link"):
        compiled([FILE])
    assert compiler.runs() == 1


def test_a_wide_umask_is_no_stranger(compiler):
    before = os.umask(0)
    try:
        compiled([FILE])
    finally:
        os.umask(before)
    compiled([FILE])
    assert compiler.runs() == 1


def test_a_folder_that_cannot_be_made_is_one_line(compiler, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "object"))
    with pytest.raises(
        InputError, match=r"^compiled cells cannot be kept in .*object/circuitlsc/verilog-a \(Not a dir"
    ):
        compiled([FILE])


def test_a_compiler_that_hangs_or_does_not_start(compiler, monkeypatch):
    monkeypatch.setattr(verilog_a, "PATIENCE", 0.05)
    compiler.does("sleep 2; exit 1")  # what it has started goes on
    with pytest.raises(InputError, match=f"^openvaf-r had not compiled {FILE} after 0.05 s"):
        compiled([FILE])
    verilog_a.find_programs().openvaf.chmod(0o600)
    with pytest.raises(MissingSimulatorError, match=r"openvaf-r cannot be started \(Permission denied\)"):
        compiled([FILE])
    assert not [*cache_folder("verilog-a").iterdir()]


def test_a_program_near_the_root_has_no_version():
    assert verilog_a._number(Path("/vacask")) == "unknown"


def test_a_relative_cache_is_none(monkeypatch):
    """Each worker would have another one, in the chain's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert cache_folder("verilog-a") == Path.home() / ".cache/circuitlsc/verilog-a"


def test_ngspice_is_told_plain_paths(monkeypatch, tmp_path):
    """It takes a path apart at blanks, and its commands are ASCII."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    library = next(line.split()[-1] for line in maps if "libm.so" in line or "libm-" in line)
    path = tmp_path / "My Cache; $HOME" / "Zwölf.osdi"
    path.parent.mkdir()
    path.symlink_to(library)
    monkeypatch.setattr(modules, "compiled", lambda files: dict.fromkeys(files, path))
    monkeypatch.setattr(modules, "check_version", lambda version: None)
    told = []

    def command(text):
        word, _, name = text.partition(" ")
        told.append((word, name, Path(name).samefile(library)))

    modules.load_modules(SimpleNamespace(exec_command=command), "44.2", [FILE])
    ((word, name, there),) = told
    assert (word, there) == ("osdi", True)
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-./")
    path = path.with_name("elf.osdi")
    path.write_bytes(b"no library")
    with pytest.raises(MissingSimulatorError, match=r"^a compiled cell cannot be loaded \(.*elf.osdi.*\). Remove"):
        modules.load_modules(SimpleNamespace(exec_command=command), "44.2", [FILE])
    assert len(told) == 1


def samplers(**options):
    rng, A = np.random.default_rng(1), bars(2)
    model = SparseCodingModel(A, SpikeSlab(0.3, 1.0), 0.5)
    layers = [rng.normal(size=(5, 4)), rng.normal(size=(12, 5))]
    encoder = Encoder(weights=layers, biases=[np.zeros(5), np.zeros(12)], rectified=True)
    yield build_sampler(model, A @ np.array([1.0, 0, 0.5, 0]), **options)
    yield build_sampler(model, model.draw(1)[1], dynamics="variational", encoder=encoder, **options)


def test_a_run_that_keeps_other_nodes_needs_nothing_but_its_deck():
    """It reads the currents of a whole circuit at device level: its chains are run without what is compiled."""
    run = RunPlan(t_stop=200.0, warmup=10.0, chains=1)
    for made, tables in zip(samplers(level="device", cells="verilog-a"), samplers(level="device"), strict=True):
        nodes = tuple(node for cell in made.graph.cells if cell.quantity for node in cell.nodes)
        deck = made.observing(made.tasks(run)[0], nodes).deck
        assert deck == tables.closed().observing(tables.tasks(run)[0], nodes).deck
        assert ".model" not in deck


def test_what_is_compiled_again_keeps_its_cells():
    made = next(samplers(cells="verilog-a"))
    assert rebuilt(made, halvings=1).cells == "verilog-a"
    assert rebuilt(made, cells="table").cells == "table"
