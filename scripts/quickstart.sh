#!/usr/bin/env bash
# Install what is needed into .venv and run the main job; arguments go to `idbounds quickstart`.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh demo
exec .venv/bin/idbounds quickstart "$@"
