#!/usr/bin/env bash
# Install what is missing, run the 4x4 bars circuit in ngspice, and show how its samples compare with the exact posterior.
# usage: ./demo.sh [OUTDIR]     (default: demo-output; an earlier demo-output is replaced)
set -euo pipefail
start=$PWD
cd "$(dirname "$0")"
. tools/setup.sh
setup libngspice0 -- -e .
if [ $# -gt 0 ]; then
    case "$1" in /*) out=$1 ;; *) out=$start/$1 ;; esac
else
    out=demo-output
    rm -rf demo-output
fi
code=0
.venv/bin/circuitlsc run circuitlsc/examples/bars4x4.toml -o "$out" || code=$?
if [ -d "$out" ]; then say "Open $out/report.html; beside it: figure.png, samples.nc, deck.cir, comparison.json"; fi
exit "$code"
