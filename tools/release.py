"""Build sdist and wheel, install each into a clean environment, and run the demo there from another folder.

usage: release.py [OUTDIR]     (default: dist; packages that were there before are replaced)

The demo is 4x4 bars at the length of ``demo.sh``, and must agree. Nothing of the checkout is on the path: what a command needs
must be in the package. The version is that of pyproject.toml, which stands in both packages and nowhere else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = "bars4x4"  # of the package, whose run must agree
COMMANDS = (
    ["doctor"],
    ["init", "demo", "--example", EXAMPLE],
    ["run", f"demo/{EXAMPLE}.toml", "-o", "out"],
    ["report", "out", "-o", "page.html"],
    ["explain", "agrees"],
)
LEFT = ("out/report.html", "out/figure.png", "out/samples.nc", "out/deck.cir", "page.html")


def call(*command: object, cwd: Path) -> str:
    """Return what a command prints; stop with that and the rest if it fails."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(folder: Path, version: str) -> list[Path]:
    """Return sdist and wheel, built anew."""
    packages = [folder / f"circuitlsc-{version}.tar.gz", folder / f"circuitlsc-{version}-py3-none-any.whl"]
    for package in packages:
        package.unlink(missing_ok=True)
    call(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    return packages


def demo(package: Path, version: str) -> None:
    """Install a package into an environment of its own, and run the demo from a folder that holds nothing else."""
    with tempfile.TemporaryDirectory(prefix="circuitlsc-release-") as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        call(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package, cwd=folder)
        work = folder / "elsewhere"
        work.mkdir()
        command = folder / "venv" / "bin" / "circuitlsc"
        said = call(command, "--version", cwd=work).split()
        where = call(python, "-P", "-c", "import circuitlsc; print(circuitlsc.__file__)", cwd=work).strip()
        typed = Path(where).with_name("py.typed")
        if said[-1] != version or not Path(where).is_relative_to(folder) or not typed.is_file():
            sys.exit(f"{package.name}: version {said[-1]} at {where}, py.typed: {typed.is_file()}; expected {version}")
        for words in COMMANDS:
            call(command, *words, cwd=work)
        missing = [left for left in LEFT if not (work / left).stat().st_size]
        if missing:
            sys.exit(f"{package.name}: the demo left {', '.join(missing)} empty")
        print(f"{package.name}: the demo agrees (Python {sys.version.split()[0]})", flush=True)


def main() -> None:
    """Build and try both."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist").resolve()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for package in build(out, version):
        demo(package, version)


if __name__ == "__main__":
    main()
