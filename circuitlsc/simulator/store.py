"""Where chains are kept while they run and afterwards: one folder each, named by the hash of all that it depends on.

So a chain that was interrupted is found again, and one that is finished is not simulated twice, whoever asks for it. One
process at a time works on a chain: it holds a lock, which the system frees when the process ends, however it ends.
"""

from __future__ import annotations

import errno
import hashlib
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.lock import lock
from circuitlsc.simulator.journal import (
    FAILURE,
    JOURNAL,
    SAMPLES,
    Record,
    belongs_to,
    read_journal,
    read_steps,
    says_done,
)
from circuitlsc.simulator.ngspice.simulator import NGSPICE
from circuitlsc.simulator.simulator import Simulator
from circuitlsc.simulator.task import ROWS, SCRATCH, SIMULATOR, TASK, ChainTask
from circuitlsc.simulator.workers import LOG, SPICEINIT

LOCK = "lock"
FILES = frozenset({LOCK, LOG, SPICEINIT, TASK, ROWS, SIMULATOR, SAMPLES, JOURNAL, FAILURE})  # of a chain
FORMAT = 1  # of the files, and of what a task means
_KEY, _KEPT_TOKEN = re.compile(r"[0-9a-f]{64}"), re.compile(r"token-[0-9a-f]{32}")
_TOKEN, _OLD = "token-", 7 * 86_400.0  # seconds
YOUNG = 3600.0  # seconds
LIMIT = 10e9  # bytes that a store keeps of finished chains


def identity(simulator: Simulator = NGSPICE, contents: bytes = b"") -> str:
    """Return what simulates here, as far as a sample's last bit may depend on it: our version, NumPy's, the simulator's.

    And what the simulator wants of the circuit beside its tasks, as a hash.
    """
    what = f"format {FORMAT}, circuitlsc {version('circuitlsc')}, numpy {np.__version__}, {simulator.version()}"
    if simulator.path != NGSPICE.path:
        what += f", {simulator.path}"
    return f"{what}, {hashlib.sha256(contents).hexdigest()}" if contents else what


@dataclass(frozen=True)
class Store:
    """A folder of chains.

    Attributes
    ----------
    folder : pathlib.Path
        It is made when something is to be kept.
    """

    folder: Path

    def entry(self, task: ChainTask, contents: bytes = b"") -> Path:
        """Return the folder of a chain in ngspice (which may not exist yet); ``contents`` as for `identity`."""
        return self.folder / task.key(identity(contents=contents))

    def steps(self, tasks: Sequence[ChainTask], contents: bytes = b"") -> int:
        """Return how many steps of some chains in ngspice are there (they are verified when they are used)."""
        return sum(read_steps(self.entry(task, contents)) for task in tasks)

    def make(self) -> None:
        """Make the folder.

        Raises
        ------
        InputError
            If it cannot be made or written to.
        """
        try:
            if self.folder.is_symlink():
                raise OSError(errno.EINVAL, "it is a link: name the folder itself")
            if not self.folder.is_dir():
                self.folder.mkdir(parents=True, exist_ok=True)
                with suppress(FileExistsError), (self.folder / ".gitignore").open("x", encoding="ascii") as mark:
                    mark.write("*\n")  # samples are no source
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> InputError:
        what = f"chains cannot be kept in {self.folder} ({error.strerror})"
        return InputError(f"{what}. Give another folder with --cache, or --no-cache.")

    @contextmanager
    def token(self) -> Iterator[str]:
        """Yield the name of a file here with a random name: who sees it, sees this folder, and that the run goes on.

        Raises
        ------
        InputError
            If the folder cannot be written to.
        """
        name = f"{_TOKEN}{secrets.token_hex(16)}"
        path = self.folder / name
        try:
            path.touch()
        except OSError as error:
            raise self._unusable(error) from None
        try:
            yield name
        finally:
            path.unlink(missing_ok=True)

    def prune(self, limit: float = LIMIT, young: float = YOUNG) -> int:
        """Remove chains, the longest unused first, until the rest takes ``limit`` bytes; return how many were removed.

        Those that somebody works on, or used in the last ``young`` seconds, stay: a run of many chains may still want them.
        So do those that did not reach their end, for a week: somebody may resume them. What else lies in the folder is none
        of ours, and stays.
        """
        found = []
        for entry in self.folder.iterdir() if self.folder.is_dir() else ():
            with suppress(OSError):  # somebody else prunes, too
                if _KEPT_TOKEN.fullmatch(entry.name) and entry.stat().st_mtime < time.time() - _OLD:
                    entry.unlink()  # of a run that was killed
                elif _KEY.fullmatch(entry.name) and (entry / LOCK).exists():
                    check_own(entry)
                    mark = entry / JOURNAL if (entry / JOURNAL).exists() else entry
                    used = mark.stat().st_mtime + (0 if says_done(entry) else _OLD)
                    found.append((used, sum(f.stat().st_size for f in entry.iterdir()), entry))
        total, removed = sum(size for _, size, _ in found), 0
        for used, size, entry in sorted(found):
            if total <= limit or used > time.time() - young:
                break
            with suppress(BlockingIOError, OSError), lock(entry / LOCK):
                shutil.rmtree(entry)
                total, removed = total - size, removed + 1
        return removed


def finished(entry: Path, task: ChainTask) -> Record | None:
    """Return the last record of a chain that is there from start to end, its checksums verified; None if it is not."""
    records = read_journal(entry, task.width, belongs_to(task))
    return records[-1] if records and records[-1].done else None


def check_own(entry: Path) -> None:
    """Raise OSError unless a chain's folder is a folder that holds what a worker leaves there: no links, no pipes, no more.

    Of a worker that was killed there may be a folder of its simulator.

    A stranger can know the name of the folder in which a config's chain will be kept, and put things there.
    """
    if entry.is_symlink():
        raise OSError(errno.EINVAL, "it is a link, not a folder of ours. Remove it", str(entry))
    for file in entry.iterdir():
        mode, left = file.lstat().st_mode, file.name.startswith(SCRATCH)
        if not (stat.S_ISDIR(mode) if left else file.name in FILES and stat.S_ISREG(mode)):
            what = "it is none of the files that a chain leaves there. Remove it, and do not trust the folder"
            raise OSError(errno.EINVAL, what, str(file))
