"""Which worker processes there are, from /proc: pgrep is not everywhere."""

from __future__ import annotations

from pathlib import Path

from circuitlsc.simulator.server import SERVER, WORKER


def called(name: str, parent: int) -> list[int]:
    """Return the children of a process that have a name."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, after = stat.read_text().rpartition(")")
        except OSError:
            continue  # it has just ended
        if before.partition("(")[2] == name and int(after.split()[1]) == parent and after.split()[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def workers_of(parent: int) -> dict[int, Path]:
    """Return the workers of a process, and the folders in which they work; its servers have them as children."""
    found = {}
    for server in called(SERVER, parent):
        for pid in called(WORKER, server):
            try:
                found[pid] = Path(f"/proc/{pid}/cwd").readlink()
            except OSError:
                continue
    return found


def is_one_of_ours(pid: int) -> bool:
    """Whether a worker or a server still runs."""
    try:
        before, _, after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return False
    return before.partition("(")[2] in (SERVER, WORKER) and after.split()[0] != "Z"
