#!/usr/bin/env bash
# Make the site of docs/ in docs/_build/html (open index.html there); a warning is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x .venv/bin/sphinx-build ] || bash scripts/setup.sh docs
# -E: read every page anew, so that a link to a page that is gone is found.
exec .venv/bin/sphinx-build --builder html -E --fail-on-warning --keep-going --quiet docs docs/_build/html
