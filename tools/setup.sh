# Sourced by demo.sh and test.sh: installs what is missing, and says so first. Needs Debian or Ubuntu, python3 and git.
# usage: setup PACKAGE ... -- PIP_ARGUMENT ...   (PACKAGE: libngspice0, ngspice, chromium, chromium-driver)

say() { printf '%s\n' "$*" >&2; }

find_python() {
    local p
    for p in python3 python3.13 python3.12 python3.11; do
        if command -v "$p" >/dev/null && "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$p"
            return
        fi
    done
    say "circuitlsc needs Python 3.11 or later, and found none. On Debian 12 or later: apt-get install python3"
    exit 1
}

is_there() { # is a Debian package's content usable? (it may have been installed another way)
    case "$1" in
    libngspice0) "$PYTHON" - <<'PY'
import ctypes, ctypes.util, os, sys
for name in (os.environ.get("NGSPICE_LIBRARY_PATH"), ctypes.util.find_library("ngspice"), "libngspice.so.0"):
    try:
        if name and ctypes.CDLL(name):
            sys.exit(0)
    except OSError:
        pass
sys.exit(1)
PY
        ;;
    chromium-driver) command -v chromedriver >/dev/null ;;
    python3-venv) "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

install_system() {
    local missing=() p
    for p in "$@"; do is_there "$p" || missing+=("$p"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    local install="apt-get install -y --no-install-recommends ${missing[*]}"
    if ! command -v apt-get >/dev/null; then
        say "Missing: ${missing[*]}. This is no Debian or Ubuntu; install their equivalents, then run this again."
        exit 1
    fi
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if sudo -n true 2>/dev/null; then
            as_root=(sudo)
        else
            say "Missing: ${missing[*]}. You are not root; ask your administrator to run:"
            say "    apt-get update && $install"
            say "and then run this again. Everything else goes into the folder .venv and needs no rights."
            exit 1
        fi
    fi
    say "About to install Debian packages (as root): ${missing[*]}"
    "${as_root[@]}" apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" $install >&2
}

setup() {
    local system=() pip_args=()
    while [ $# -gt 0 ] && [ "$1" != "--" ]; do system+=("$1"); shift; done
    shift || true
    pip_args=("$@")
    PYTHON=$(find_python)
    install_system python3-venv "${system[@]}"
    # a .venv that was moved, or whose Python is gone, is made anew
    if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
        rm -rf .venv
        say "About to make the virtual environment .venv (with $PYTHON)"
        "$PYTHON" -m venv .venv
    fi
    local stamp=".venv/installed-$(printf '%s ' "$PWD" "${pip_args[@]}" | cat - pyproject.toml | sha256sum | cut -c1-16)"
    if [ ! -e "$stamp" ]; then
        say "About to install Python packages into .venv: pip install ${pip_args[*]} (about 1 GB with numba, scipy, matplotlib)"
        .venv/bin/python -m pip install --quiet --upgrade 'pip>=25.1' >&2
        .venv/bin/python -m pip install --quiet "${pip_args[@]}" >&2
        touch "$stamp"
    fi
}
