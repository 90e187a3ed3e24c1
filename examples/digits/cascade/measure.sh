#!/usr/bin/env bash
# Tunes the digits cascade on calibration.npz, judges three settings on heldout.npz, and writes tables and plots into docs/
# (digits_cascade.md, digits_frontier.svg, digits_cascade.svg). The mesh file gets the middle setting.
# usage: measure.sh [PORTICO]      make digits-cascade
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
docs=$here/../../../docs
portico=${1:-$here/../../../build/portico}
mesh=$here/mesh.yaml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# tune FLAG...: what was chosen, on the images that the trigger has not seen.
tune() {
  "$portico" cascade tune "$mesh" --model digit --data "$here/calibration.npz" "$@" > "$work/tune.txt"
  sed -n 's/^chosen: //p' "$work/tune.txt"
}

few=$(tune --max-escalated 5%)
most=$(tune --min-agreement 99.7%)
middle=$(tune --min-agreement 99% --svg "$docs/digits_frontier.svg" --write)
cp "$work/tune.txt" "$work/middle.txt"
"$portico" cascade evaluate "$mesh" --model digit --data "$here/heldout.npz" --labels digit \
  --when "$few" --when "$middle" --when "$most" --svg "$docs/digits_cascade.svg" > "$work/evaluate.txt"

# Between its two markers the page is what the commands have printed.
awk -v tuned="$work/middle.txt" -v judged="$work/evaluate.txt" '
  function put(file,  line) { print "```"; while ((getline line < file) > 0) if (line !~ /written, in place of/) print line; print "```" }
  /^<!-- measured: tune -->/ { print; put(tuned); skip = 1; next }
  /^<!-- measured: evaluate -->/ { print; put(judged); skip = 1; next }
  /^<!-- end -->/ { skip = 0 }
  !skip { print }
' "$docs/digits_cascade.md" > "$work/page.md"
cp "$work/page.md" "$docs/digits_cascade.md"
cat "$work/middle.txt" "$work/evaluate.txt"
