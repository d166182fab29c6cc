"""The worker process of one chain: ``python -m circuitlsc.spice.worker FOLDER``.

It reads ``task.json``, appends the kept samples to ``samples.f64``, prints one line of progress per chunk, and ends with
``result.json``. A crash of libngspice takes this process and nothing else.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from circuitlsc.spice.library import library_version
from circuitlsc.spice.task import ChainTask
from circuitlsc.spice.transient import Counts, TransientFailed, integrate

LOG_LINES = 12


def peak_memory() -> int:
    """Return the peak memory of this process, bytes (getrusage would count the parent's, from before exec)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def main(folder: Path) -> int:
    """Run the chain in ``folder``; return the exit code."""
    task = ChainTask.load(folder / "task.json")
    parent, counts = os.getppid(), Counts()
    lines: list[str] = []
    result: dict[str, object] = {"ok": False}
    start, busy = time.perf_counter(), time.process_time()
    try:
        with (folder / "samples.f64").open("wb") as out:
            done = 0
            for u in integrate(task, counts, lines.extend):
                out.write(u[task.kept(done, len(u))].tobytes())
                done += len(u)
                print(done, flush=True)
                if os.getppid() != parent:
                    return 1  # whoever asked is gone
            out.flush()
            os.fsync(out.fileno())
        result = {
            "ok": True,
            **asdict(counts),
            "ngspice": library_version(),
            "wall": time.perf_counter() - start - counts.setup,
            "cpu": time.process_time() - busy,
            "rss": peak_memory(),
        }
    except TransientFailed as error:
        result["reason"] = str(error)
    result["log"] = [line for line in lines if line.strip()][-LOG_LINES:]
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    # libngspice runs the commands of a .spiceinit in the working or home folder: the parent put an empty one here
    sys.exit(main(Path(sys.argv[1])))
