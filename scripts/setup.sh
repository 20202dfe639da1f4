#!/usr/bin/env bash
# Make .venv if it is not there and install idbounds into it with the extras named as arguments.
#   bash scripts/setup.sh demo        for the quickstart
#   bash scripts/setup.sh dev         for the tests
set -euo pipefail
cd "$(dirname "$0")/.."

extras=$(IFS=,; echo "${*:-demo}")
python=.venv/bin/python
if [ ! -x "$python" ]; then
  "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: idbounds needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2
    exit 2
  }
  "${PYTHON:-python3}" -m venv .venv
fi

constraints=$(mktemp)
trap 'rm -f "$constraints"' EXIT
if "$python" -c 'import torch' 2>/dev/null; then
  grep -v '^torch==' constraints.txt >"$constraints"
else
  cp constraints.txt "$constraints"
fi
"$python" -m pip install --quiet --disable-pip-version-check --constraint "$constraints" --editable ".[$extras]"
