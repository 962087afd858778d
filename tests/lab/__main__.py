"""`python -m tests.lab up` keeps a lab running by hand; `demo` shows one; `soak` hurts one; `night` plays
the README's nights on call."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from .demo import demo
from .host import LabError
from .lab import PATRONICTL, Lab
from .network import LAN, MEMBERS, VIP
from .night import night
from .services import CACHE
from .soak import soak


def keep_up(lab: Lab) -> None:
    """Bring the lab up, tell how to use it, stay until Ctrl-C."""
    print(
        f"bringing up three members with ExaBGP {lab.exabgp_version} (about 20 s) …",
        flush=True,
    )
    started = time.time()
    with lab:
        print(f"up after {time.time() - started:.0f} s; logs in {lab.logs_directory}")
        print(
            f"leader {lab.leader()}, timeline {lab.timeline()}, route to {VIP}: {lab.route()}\n"
        )
        for name, host in lab.hosts.items():
            print(f"  {name:7} {LAN.get(name, ''):10} {' '.join(host.enter())} bash")
        pgcast = "/opt/pgcast/bin/pgcast --help"
        patronictl = f"{CACHE}/lab/bin/patronictl {' '.join(PATRONICTL)} list"
        print(f"\non {', '.join(MEMBERS)}: {pgcast}\n    {patronictl}")
        print(
            "on the router: birdc show route all; ip monitor route\nCtrl-C ends it",
            flush=True,
        )
        while True:
            signal.pause()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("command", choices=["up", "demo", "soak", "night"])
    parser.add_argument("--exabgp", default="5.0.15", metavar="VERSION")
    parser.add_argument(
        "--callback", type=Path, help="a script for Patroni to run instead of pgcast's"
    )
    parser.add_argument("--faults", type=int, default=50, help="of a soak")
    parser.add_argument("--seed", type=int, help="of a soak; drawn, if not given")
    parser.add_argument(
        "--no-reconciler", action="store_true", help="soak with callbacks alone"
    )
    parser.add_argument(
        "--asynchronous",
        action="store_true",
        help="soak without synchronous_mode: acknowledged writes may be lost",
    )
    args = parser.parse_args()
    if os.getuid() != 0:
        parser.error("the lab makes hosts of namespaces: run it as root")

    def leave(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
    try:
        lab = Lab(exabgp=args.exabgp, callback=args.callback)
        if args.command == "up":
            keep_up(lab)
        elif args.command == "soak":
            seed = random.randrange(1 << 32) if args.seed is None else args.seed
            reconciler = not args.no_reconciler and args.callback is None
            synchronous = not args.asynchronous
            return 0 if soak(lab, args.faults, seed, reconciler, synchronous) else 1
        elif args.command == "night":
            with lab:
                for scene in night(lab).values():
                    print("\n".join(scene))
        else:
            demo(lab)
    except KeyboardInterrupt:
        print("\nended", file=sys.stderr)
        return 130
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
