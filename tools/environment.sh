#!/bin/sh
# environment.sh VENV [PYTHON]: make the Python environment, with everything Leulo is built with.
# Needs Python 3.11 or later with venv; installs Debian's where it may, else names the command.
set -eu
venv=$1
wanted=${2:-}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

can_make_venv() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

find_python() {
    for candidate in $wanted python3.11 python3.12 python3.13 python3.14 python3; do
        if command -v "$candidate" >/dev/null 2>&1 && is_new_enough "$candidate" && can_make_venv "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
    echo "leulo: runs on x86-64 Linux only; this is $(uname -s) on $(uname -m)" >&2
    exit 5
fi

if ! [ -x "$venv/bin/python" ] || ! is_new_enough "$venv/bin/python"; then
    if ! python=$(find_python); then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
            echo "leulo: installing python3 and python3-venv" >&2
            apt-get update -qq && apt-get install -y -qq python3 python3-venv >/dev/null
        fi
        if ! python=$(find_python); then
            echo "leulo: needs Python 3.11 or later with venv; on Debian 12 or Ubuntu 24.04:" >&2
            echo "    sudo apt-get install python3 python3-venv" >&2
            exit 5
        fi
    fi
    echo "leulo: making $venv with $python" >&2
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
exec "$venv/bin/python" tools/environment.py --install
