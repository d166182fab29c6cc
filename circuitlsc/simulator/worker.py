"""The work of one chain, in a process of its own (`circuitlsc.simulator.server`).

By hand it is ``python -m circuitlsc.simulator.worker FOLDER``. It reads ``task.json`` and which simulator is asked for
(ngspice, if the folder does not say), goes on after the last
good chunk of the folder's journal, and appends every chunk that it simulates.
A crash of the simulator takes this process and nothing else.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from circuitlsc.errors import CircuitLSCError
from circuitlsc.io.arrays import Array
from circuitlsc.simulator.journal import FAILURE, FULL, JournalWriter, Record, belongs_to, cannot_write
from circuitlsc.simulator.ngspice.simulator import NGSPICE
from circuitlsc.simulator.simulator import Chunk, Counts, Simulator, TransientFailed, load
from circuitlsc.simulator.task import SIMULATOR, TASK, ChainState, ChainTask

LOG_LINES = 12


def peak_memory() -> int:
    """Return the peak memory of this process, bytes (getrusage would count the parent's, from before exec)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def main(folder: Path) -> int:
    """Run the chain in ``folder``, where its temporary files are too; return the exit code."""
    tempfile.tempdir = str(folder)
    task = ChainTask.load(folder / TASK)
    code, counts = 1, Counts()
    try:
        _simulate(task, folder, counts)
        return 0
    except (TransientFailed, CircuitLSCError) as error:  # the latter: no such simulator here
        reason = str(error)
    except OSError as error:
        if error.errno not in FULL:
            raise
        code, reason = FULL[error.errno], cannot_write(folder, error.errno)
    said = [line for line in counts.log if line.strip() and not line.startswith("**")]  # without ngspice's banner
    failure = {"reason": reason, "log": said[-LOG_LINES:]}
    with suppress(OSError):  # the code says enough
        (folder / FAILURE).write_text(json.dumps(failure), encoding="utf-8")
    return code


def _simulator(folder: Path) -> tuple[Simulator, bytes]:
    """Return the simulator that a chain is for, and what it wants beside the task."""
    if not (folder / SIMULATOR).exists():
        return NGSPICE, b""
    path, _, contents = (folder / SIMULATOR).read_bytes().partition(b"\n")
    return load(path.decode()), contents


def _simulate(task: ChainTask, folder: Path, counts: Counts) -> None:
    """Simulate what is missing of a chain."""
    busy = time.process_time()
    with JournalWriter(folder, task.width, belongs_to(task)) as journal:
        last, test = journal.last or Record(), belongs_to(task)
        if last.done:
            return
        for name in ("steps", "points", "rejected", "iterations", "setup"):
            setattr(counts, name, getattr(last, name))
        start, rows, steps, done = time.perf_counter(), last.rows, last.steps, False
        simulator, contents = _simulator(folder)
        for chunk in simulator.advance(task, contents, counts, last.state if steps else None):
            samples, state = _checked(chunk, task, steps, simulator.name)
            kept = samples[task.kept(steps, len(samples))]
            rows, steps, done = rows + len(kept), state.steps, bool(chunk.done)
            record = Record(
                **vars(state),
                rows=rows,
                done=done,
                points=int(counts.points),
                rejected=int(counts.rejected),
                iterations=int(counts.iterations),
                setup=float(counts.setup),
                wall=last.wall + time.perf_counter() - start - float(counts.setup - last.setup),
                cpu=last.cpu + time.process_time() - busy,
                rss=max(peak_memory(), last.rss),
                ngspice=str(counts.version),
            )
            if not test(record):
                break
            journal.append(kept, record)
            if done:
                return
        raise TransientFailed(
            f"{simulator.name} ended after {steps} of {task.n_steps} steps, {'done' if done else 'not done'}, but chunks end "
            f"at multiples of {task.chunk} steps and at the last one, done there alone, with states as long as the first. Mend "
            "its advance."
        )


def _checked(chunk: Chunk, task: ChainTask, before: int, name: str) -> tuple[Array, ChainState]:
    """Return samples and state of a chunk as plain numbers, or raise TransientFailed: samples are a row a step, all finite."""
    samples, state = np.asarray(chunk.samples, dtype=float), chunk.state
    plain = [tuple(map(float, v)) for v in (state.u, state.held, *state.feedback)]
    wanted = (int(state.steps) - before, task.width)
    if samples.shape != wanted or wanted[0] < 1:
        raise TransientFailed(
            f"{name} returned samples of shape {samples.shape} from step {before} to step {state.steps}, but {wanted} is "
            "wanted: one row or more, one a step, of the states and what is observed. Mend its advance."
        )
    bad = np.argwhere(~np.isfinite(samples))
    if len(bad):
        node = (*task.nodes, *task.observed)[bad[0][1]]
        raise TransientFailed(f"{name} returned a v({node}) that is not finite at step {before + int(bad[0][0]) + 1}.")
    if not np.isfinite(np.concatenate(plain)).all():
        raise TransientFailed(f"{name} returned a state that is not finite at step {state.steps}.")
    return samples, ChainState(int(state.steps), plain[0], plain[1], tuple(plain[2:]))


if __name__ == "__main__":
    # libngspice runs the commands of a .spiceinit in the working or home folder: the parent put an empty one here
    sys.exit(main(Path(sys.argv[1])))
