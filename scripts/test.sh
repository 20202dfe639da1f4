#!/usr/bin/env bash
# Install what is needed into .venv, check style and types, make the site, run the tests; arguments go to pytest.
# The long studies are left out: bash scripts/test.sh -m slow
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh dev
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
bash scripts/docs.sh
# Two processes, each test file in one of them, since tests of a file share what they have trained.
exec .venv/bin/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile "$@"
