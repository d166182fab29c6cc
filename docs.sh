#!/usr/bin/env bash
# Install what is missing, and build the site of docs/: a folder for a browser, or for any static host.
# usage: ./docs.sh [OUTDIR]     (default: build/site)
set -euo pipefail
start=$PWD
cd "$(dirname "$0")"
. tools/setup.sh
setup -- -e '.[schematic]' --group docs
case "${1:-build/site}" in
/*) out=$1 ;;
*) out=$([ $# -gt 0 ] && printf '%s/%s' "$start" "$1" || printf 'build/site') ;;
esac
.venv/bin/python tools/site_pages.py
.venv/bin/python -m sphinx -W --keep-going -q -d build/doctrees docs "$out"
say "Open $out/index.html"
