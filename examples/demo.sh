#!/bin/bash
# A PostgreSQL cluster of three members behind a BGP router, on this machine, in about two minutes:
# a switchover and a failover, seen by a client that never stops writing.
#
#   bash examples/demo.sh [--exabgp 4.2.21|4.2.25|5.0.15]
#
# Needs Debian 12 and root; installs what is missing (tests/lab/install.sh says what). All runs
# in namespaces of its own; nothing is left running, and nothing listens on this machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tests/lab/install.sh
exec "${PGCAST_LAB_CACHE:-/var/cache/pgcast}/lab/bin/python" -m tests.lab demo "$@"
