#!/usr/bin/env bash
# prepare.sh FOLDER: trains the model into FOLDER, unless it is there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?prepare.sh: got no folder, want one for the model and the held-out clicks}
[ -f "$folder/heldout_odds.npy" ] && exit 0
mkdir -p "$folder"
if [ ! -x "$folder/venv/bin/python" ] || ! "$folder/venv/bin/python" -c 'import numpy, onnx' 2>/dev/null; then
  echo "Installing numpy and onnx into $folder/venv"
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install -q -r "$here/requirements.txt"
fi
echo "Training the model: a minute or two"
"$folder/venv/bin/python" "$here/train.py" "$folder"
