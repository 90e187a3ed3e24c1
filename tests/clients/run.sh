#!/usr/bin/env bash
# Runs the foreign clients' tests against BUILD/portico: tests/clients/run.sh BUILD [RESULT.xml] [NAME_PART...]
set -euo pipefail
here=$(dirname "$0")
venv=$("$here/install.sh")
PYTHONDONTWRITEBYTECODE=1 exec "$venv/bin/python" "$here/run.py" "$@"
