#!/bin/sh
# Makes or completes .venv: nimad and nimactl from this checkout, and the tools of development.
set -eu

venv=${1:-.venv}
python=${PYTHON:-python3}

if [ ! -x "$venv/bin/python" ]; then
    if ! command -v "$python" >/dev/null; then
        echo "There is no $python here. On Debian: sudo apt install python3 python3-venv" >&2
        exit 1
    fi
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "nimad needs Python 3.11 or newer; $python is $version." >&2
        echo "PYTHON=python3.13 make setup names another one." >&2
        exit 1
    fi
    # Debian leaves ensurepip out of its python3; without it venv fails with a longer message.
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        case $python in python3) package=python3-venv ;; *) package=python$version-venv ;; esac
        echo "Python's venv is missing. On Debian: sudo apt install $package" >&2
        exit 1
    fi
    "$python" -m venv "$venv"
fi
pip() { # what a network refuses once is asked for again
    for pause in 5 20 60 ''; do
        "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@" && return
        if [ -z "$pause" ]; then return 1; fi
        sleep "$pause"
    done
}
# The build runs with the setuptools installed here: pip's own isolated one would be downloaded again,
# and without the settings for certificates and proxies that this machine may need.
pip install 'setuptools>=71'
pip install --no-build-isolation --editable '.[dev]'
