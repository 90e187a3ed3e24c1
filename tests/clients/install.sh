#!/usr/bin/env bash
# install.sh [FILE]: makes the Python environment of FILE (requirements.txt: the foreign clients; mlserver.txt: a foreign server) under
# ${XDG_CACHE_HOME:-$HOME/.cache}/portico, once per content of that file, and prints its folder. A second run, also of another clone, only
# looks.
set -euo pipefail
cd "$(dirname "$0")"
file="${1:-requirements.txt}"
hash=$(sha256sum "$file" | cut -c1-12)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/portico"
venv="$cache/clients-$hash"
mkdir -p "$cache"
exec 9>"$cache/clients.lock"
flock 9
if [ ! -f "$venv/complete" ]; then
  printf 'clients: installing %s packages into %s\n' "$(grep -c == "$file")" "$venv" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r "$file" >&2
  "$venv/bin/python" -m pip check --disable-pip-version-check >&2
  touch "$venv/complete"
fi
printf '%s\n' "$venv"
