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

for kind in unit integration e2e; do
    step "$kind"
    "$python" -m pytest -q -p no:cacheprovider "tests/$kind"
done
