#!/usr/bin/env bash
# Makes the Python environment of the foreign clients (requirements.txt) under ${XDG_CACHE_HOME:-$HOME/.cache}/portico, once per content of
# that file, and prints its folder. A second run, also of another clone, only looks.
set -euo pipefail
cd "$(dirname "$0")"
hash=$(sha256sum requirements.txt | cut -c1-12)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/portico"
venv="$cache/clients-$hash"
mkdir -p "$cache"
exec 9>"$cache/clients.lock"
flock 9
if [ ! -f "$venv/complete" ]; then
  printf 'clients: installing %s packages into %s\n' "$(grep -c == requirements.txt)" "$venv" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r requirements.txt >&2
  "$venv/bin/python" -m pip check --disable-pip-version-check >&2
  touch "$venv/complete"
fi
printf '%s\n' "$venv"
