#!/bin/bash
# Install what the lab needs on Debian 12, as root; quick when it is there already.
#
#   bash tests/lab/install.sh
#
# Virtual environments go to ${PGCAST_LAB_CACHE:-/var/cache/pgcast}, all made by Debian's own
# python3: what runs as postgres or exabgp cannot enter root's home, where another python3 or
# this checkout may lie.
set -euo pipefail
umask 022

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${PGCAST_LAB_CACHE:-/var/cache/pgcast}
packages=(postgresql etcd-server bird2 iproute2 tini python3-venv procps util-linux
    openssl shellcheck systemd libfaketime strace prometheus
    prometheus-node-exporter)
declare -A units=([postgresql]=postgresql [etcd-server]=etcd [bird2]=bird
    [prometheus]=prometheus [prometheus-node-exporter]=prometheus-node-exporter)
speakers=(4.2.21 4.2.25 5.0.15)
tools=('patroni[etcd3]==4.1.5' 'psycopg[binary]' click requests pyyaml prometheus_client
    pytest hypothesis black ruff 'mypy<1.20' vermin types-requests types-PyYAML)
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
policy_is_ours=

step() { printf '%s\n' "$*"; }

finish() {
    status=$?
    if [ -n "$policy_is_ours" ]; then rm -f "$policy"; fi
    if [ "$status" -ne 0 ]; then tail -n 30 "$log" >&2; fi
    rm -f "$log"
}
trap finish EXIT

if [ "$(id -u)" -ne 0 ]; then
    echo "the lab makes hosts of namespaces: run this as root" >&2
    exit 77
fi
case "$cache/" in /run/* | /etc/* | /opt/* | /var/lib/* | /mnt/* | /dev/*)
    echo "PGCAST_LAB_CACHE=$cache: the lab's hosts have their own ${cache%/*}; choose another" >&2
    exit 78
    ;;
esac

mkdir -p "$cache"
chmod 755 "$cache"
exec 9>"$cache/.lock"
flock 9 # one installation at a time

# Debian's packages

missing=()
for package in "${packages[@]}"; do
    if [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
        missing+=("$package")
    fi
done
if [ "${#missing[@]}" -gt 0 ]; then
    step "Debian packages: ${missing[*]}"
    if [ ! -e "$policy" ]; then
        # Installing must not start a database, a store and a router on this machine.
        policy_is_ours=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update >"$log" 2>&1
    apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1
    if [ -n "$policy_is_ours" ]; then
        rm -f "$policy"
        policy_is_ours=
        # Nor may they start at the next boot.
        if [ -d /run/systemd/system ]; then
            for package in "${missing[@]}"; do
                unit=${units[$package]-}
                if [ -n "$unit" ]; then systemctl disable "$unit" >>"$log" 2>&1 || true; fi
            done
        fi
    fi
fi

if ! id exabgp >/dev/null 2>&1; then
    step "system user exabgp"
    useradd --system --user-group --no-create-home --home-dir /run/exabgp \
        --shell /usr/sbin/nologin exabgp
fi

# Virtual environments

# venv NAME STAMP REQUIREMENT...: made anew unless it was finished with the same stamp
venv() {
    local name=$1 stamp=$2 target=$cache/$1
    shift 2
    if [ "$(cat "$target/.stamp" 2>/dev/null)" = "$stamp" ]; then return; fi
    step "$name"
    rm -f "$target/.stamp"
    if ! [ -x "$target/bin/python" ]; then /usr/bin/python3 -m venv "$target" >"$log" 2>&1; fi
    (cd / && umask 022 && "$target/bin/python" -m pip install --no-input \
        --disable-pip-version-check "$@") >"$log" 2>&1
    printf '%s\n' "$stamp" >"$target/.stamp"
}

for version in "${speakers[@]}"; do
    venv "exabgp-$version" "exabgp==$version" "exabgp==$version"
done
venv lab "${tools[*]}" "${tools[@]}"

if [ -e "$checkout/setup.cfg" ]; then
    cd "$checkout"
    sources=$(find setup.cfg pyproject.toml setup.py README* LICENSE* CHANGELOG* pgcast_hooks \
        -type f -not -name "*.pyc" 2>/dev/null | sort || true)
    stamp=$(xargs -d '\n' sha256sum <<<"$sources" | sha256sum)
    if [ "$(cat "$cache/pgcast/.stamp" 2>/dev/null)" != "$stamp" ]; then
        # From a copy: building leaves files beside the sources.
        copy=$(mktemp -d)
        xargs -d '\n' cp --parents -t "$copy" <<<"$sources"
        if [ -x "$cache/pgcast/bin/python" ]; then
            "$cache/pgcast/bin/python" -m pip uninstall -qy pgcast-hooks \
                >"$log" 2>&1 || true
        fi
        venv pgcast "$stamp" "$copy"
        rm -rf "$copy"
    fi
fi
