"""BIRD as the router that ExaBGP speaks to: what its table holds is what counts."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.integration.waiting import until

CONFIG = """
router id 10.9.0.2;
protocol device {}
template bgp session {
    multihop;
    passive;
    hold time 9;
    error wait time 1, 1;
    ipv4 { import all; export none; };
    ipv6 { import all; export none; };
}
protocol bgp exabgp from session {
    local 10.9.0.2 as 65000;
    neighbor 10.9.0.1 as 65001;
}
protocol bgp second from session {
    local 10.9.0.2 as 65000;
    neighbor 10.9.0.3 as 65001;
}
protocol bgp six from session {
    local 2001:db8:9::2 as 65000;
    neighbor 2001:db8:9::1 as 65001;
}
"""


class Bird:
    """A router in this process's network namespace."""

    def __init__(self, directory: Path, config: str = CONFIG) -> None:
        self._config = directory / "bird.conf"
        self._socket = directory / "bird.ctl"
        self._config.write_text(config)

    def __enter__(self) -> Bird:
        self._process = subprocess.Popen(
            ["bird", "-f", "-c", str(self._config), "-s", str(self._socket)],
            stderr=subprocess.DEVNULL,
        )
        until(self._socket.exists, "BIRD's control socket")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def wait_established(self, session: str = "exabgp") -> None:
        """Wait for a session with ExaBGP; there is one over IPv6, `six`, and one for a
        `second`."""
        until(
            lambda: "Established" in self._ask(f"show protocols {session}"),
            f"the BGP session {session}",
        )

    def disable(self) -> None:
        """End the session with ExaBGP, and take no new one."""
        self._command("disable exabgp")

    def enable(self) -> None:
        """Take it again, and wait for it."""
        self._command("enable exabgp")
        self.wait_established()

    def count(self) -> int:
        """How many routes the table has: quicker than to read them."""
        return sum(
            map(
                int,
                re.findall(
                    r"^(\d+) of \d+ routes", self._ask("show route count"), re.M
                ),
            )
        )

    def table(self) -> dict[str, tuple[int | None, int | None]]:
        """Prefix to (MED, local-preference) of each route that ExaBGP's UPDATEs have put there."""
        routes: dict[str, tuple[int | None, int | None]] = {}
        text = self._ask("show route all")
        for chunk in re.split(r"\n(?=[0-9a-f][0-9a-f.:]*/\d)", text):
            prefix = re.match(r"([0-9a-f.:]+/\d+)\s", chunk)
            if prefix:
                med = re.search(r"BGP\.med: (\d+)", chunk)
                preference = re.search(r"BGP\.local_pref: (\d+)", chunk)
                routes[prefix[1]] = (
                    int(med[1]) if med else None,
                    int(preference[1]) if preference else None,
                )
        return routes

    def attributes(self, prefix: str) -> dict[str, str]:
        """The BGP attributes of the route to a prefix, by BIRD's names; none without one."""
        text = self._ask(f"show route {prefix} all")
        return dict(re.findall(r"BGP\.(\w+): (.*?)\s*$", text, re.M))

    def next_hops(self) -> dict[str, str]:
        """Prefix to the next-hop of its route."""
        found = {}
        for prefix in self.table():
            text = self._ask(f"show route {prefix} all")
            found[prefix] = re.findall(r"BGP\.next_hop: (\S+)", text)[0]
        return found

    def wait_table(self, expected: Mapping[str, int | None]) -> None:
        """Wait until the table is exactly this: prefix to MED."""
        try:
            until(lambda: self._meds() == expected, "the router's table")
        except TimeoutError:
            assert self._meds() == expected

    def _meds(self) -> dict[str, int | None]:
        return {prefix: med for prefix, (med, _) in self.table().items()}

    def _ask(self, command: str) -> str:
        return self._command(command, "-r")

    def _command(self, command: str, *options: str) -> str:
        return subprocess.run(
            ["birdc", *options, "-s", str(self._socket), *command.split()],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout
