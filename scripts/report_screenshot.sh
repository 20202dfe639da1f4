#!/usr/bin/env bash
# The report of a run, and how headless Chromium shows it: desktop, phone and paper.
#   bash scripts/report_screenshot.sh RUN FOLDER     (Debian: apt-get install chromium)
# Nothing checks the pictures but a person who looks at them; tests/test_report.py checks the page without a browser.
set -euo pipefail
run=$1 folder=$(realpath -m "$2") python=${PYTHON:-.venv/bin/python}
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT

browser() {
  chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --hide-scrollbars --user-data-dir="$profile" "$@" 2> "$profile/log"
}

mkdir -p "$folder"
"$python" -m idbounds report "$run" --output "$folder/report.html"
browser --window-size=1000,2150 --screenshot="$folder/desktop.png" "file://$folder/report.html"
# A window of Chromium is at least 500 wide; a frame is as narrow as a phone.
echo "<body style='margin:0'><iframe src='file://$folder/report.html' style='width:390px;height:8000px;border:0'>" > "$profile/phone.html"
browser --window-size=500,8000 --allow-file-access-from-files --screenshot="$profile/phone.png" "file://$profile/phone.html"
browser --no-pdf-header-footer --print-to-pdf="$profile/report.pdf" "file://$folder/report.html"
mv "$profile/phone.png" "$profile/report.pdf" "${KEEP:-/tmp}"
echo "look at $folder/desktop.png, ${KEEP:-/tmp}/phone.png and ${KEEP:-/tmp}/report.pdf"
