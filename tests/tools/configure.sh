#!/usr/bin/env bash
# Configures a CMake preset; says nothing unless it fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cmake --preset "$1" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
