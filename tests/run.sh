#!/bin/bash
# Everything that is checked, on Debian 12, as root: installs what is missing, then runs the
# linters, the unit tests, the tests against real ExaBGP and BIRD, and those in the lab.
#
#   bash tests/run.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tests/lab/install.sh
python=${PGCAST_LAB_CACHE:-/var/cache/pgcast}/lab/bin/python
export PYTHONDONTWRITEBYTECODE=1

step() { printf '\n== %s\n' "$*"; }

step linters
git ls-files '*.sh' .ci/run | xargs shellcheck
"$python" -m black --quiet --check pgcast_hooks tests
"$python" -m ruff check --quiet --target-version py39 --line-length 120 \
    --select E,F,W,I,B,UP,SIM,RUF,C4,PT,RET --ignore SIM112,RUF001,RUF002,RUF005 pgcast_hooks tests
"$python" -m mypy
"${python%python}vermin" --quiet --no-tips --violations --eval-annotations --target=3.9- pgcast_hooks

tests() { "$python" -m pytest -q -p no:cacheprovider "$@"; }

# Side by side: the unit tests search, on one core, and the integration tests mostly wait. Each
# process of those makes a host of its own.
step "unit and integration"
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
tests tests/unit >"$said/unit" 2>&1 &
running=($!)
for part in 0 1; do
    mapfile -t files < <(printf '%s\n' tests/integration/test_*.py | awk "NR % 2 == $part")
    tests "${files[@]}" >"$said/integration-$part" 2>&1 &
    running+=($!)
done
failed=
for process in "${running[@]}"; do wait "$process" || failed=yes; done
cat "$said"/*
if [ -n "$failed" ]; then exit 1; fi

step e2e
tests tests/e2e
