"""An operator's standing orders: one small file for each route in the state directory, and
one for the maintenance of the whole host.

`override-192.0.2.10_32` holds one JSON object: the order, who gave it, when and why, and
when it expires, twice: in seconds since 1970, which holds across reboots, and in seconds
since the boot that it names, which nobody can set back. A file for each route means that a
callback, which asks for the routes of one scope, opens a few names that are not there and
is done.

A file is replaced as a whole. One that is damaged all the same stands for `Order.HOLD`:
what it said is not known, so it never makes anything be announced; it is left as it is until
an operator gives the next order, and then kept aside. A state directory that cannot be
entered says nothing of any order, and is `trouble`.
"""

from __future__ import annotations

import os
import time
from typing import Any

from pgcast_hooks import record
from pgcast_hooks.errors import OverrideNotKept
from pgcast_hooks.model import Order, Override, Prefix

HOST = "override-host"
VERSION = 1
SIZE = 16_384  # bytes; no order is longer
MAX_TEXT = 500  # characters of a reason or a name


class Overrides:
    """The standing orders of one host."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.trouble: str | None = None

    def standing(self, prefix: Prefix) -> Override | None:
        """The order in force for a route: the host's maintenance, else the route's own."""
        return self.maintenance() or self.of(prefix)

    def maintenance(self) -> Override | None:
        """The order in force for the whole host."""
        found = self._read(HOST)
        return found._replace(whole_host=True) if found else None

    def of(self, prefix: Prefix) -> Override | None:
        """The order in force for a route alone."""
        return self._read(_name(prefix))

    def set(self, prefix: Prefix | None, override: Override) -> None:
        """Let an order stand, for a route or (None) for the whole host, from now on for
        `left` seconds. Raises OverrideNotKept."""
        import json

        name = HOST if prefix is None else _name(prefix)
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        document = {
            "version": VERSION,
            "order": override.order.value,
            "reason": override.reason[:MAX_TEXT],
            "by": override.by[:MAX_TEXT],
            "since": round(time.time(), 3),
            "until": None,
            "boot": record.boot(),
            "boot_until": None,
        }
        if override.left is not None:
            document["until"] = round(time.time() + override.left, 3)
            document["boot_until"] = round(now + override.left, 3)
        try:
            self._keep_aside_if_damaged(name)
            record.replace(self._directory, name, json.dumps(document) + "\n")
        except OSError as error:
            path = os.path.join(self._directory, name)
            raise OverrideNotKept(path, error.strerror or str(error)) from error

    def end(self, prefix: Prefix | None) -> Override | None:
        """End an order, of a route or (None) of the whole host; returns what was in force.

        Raises OverrideNotKept.
        """
        name = HOST if prefix is None else _name(prefix)
        ended = self._read(name)
        try:
            self._keep_aside_if_damaged(name)
            record.remove(self._directory, name)
        except OSError as error:
            path = os.path.join(self._directory, name)
            raise OverrideNotKept(path, error.strerror or str(error)) from error
        return ended

    def _read(self, name: str) -> Override | None:
        """What a file says, if it is in force."""
        path = os.path.join(self._directory, name)
        try:
            text = record.read(self._directory, name, SIZE + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.trouble = f"override {path} cannot be read: {error.strerror}"
            return _hold(self.trouble) if os.path.lexists(path) else None
        try:
            found = _parse(text)
        except (ValueError, KeyError, TypeError, RecursionError):
            self.trouble = f"override {path} is damaged"
            return _hold(self.trouble)
        return found if found.left is None or found.left > 0 else None

    def _keep_aside_if_damaged(self, name: str) -> None:
        found = self._read(name)
        if found and found.order is Order.HOLD:
            path = os.path.join(self._directory, name)
            os.rename(path, f"{path}.damaged-{time.time():.0f}")
            self.trouble = None


def _name(prefix: Prefix) -> str:
    return f"override-{prefix}".replace("/", "_")


def _hold(trouble: str) -> Override:
    return Override(
        Order.HOLD, f"{trouble}: nothing is announced anew until 'pgcast auto'"
    )


def _parse(text: str) -> Override:
    """What a file says. Raises ValueError, KeyError or TypeError where it is damaged."""
    import json

    document = json.loads(text)
    order = Order(document["order"])
    since, until = float(document["since"]), document["until"]
    if document["version"] != VERSION or order is Order.HOLD:
        raise ValueError("not an order of this version")
    if until is None and order is Order.ANNOUNCE:
        raise ValueError("an announcement that never ends")
    return Override(
        order=order,
        reason=str(document["reason"]),
        by=str(document["by"]),
        since=since,
        until=None if until is None else float(until),
        left=None if until is None else _left(document, order, since, float(until)),
    )


def _left(document: dict[str, Any], order: Order, since: float, until: float) -> float:
    """Seconds until an order expires.

    A clock that is behind the order after a reboot tells nothing: then the order counts as
    new if it withdraws, and as over if it announces.
    """
    if document["boot"] == record.boot():
        return float(document["boot_until"]) - time.clock_gettime(time.CLOCK_BOOTTIME)
    now = time.time()
    if now < since:
        return until - since if order is Order.WITHDRAW else 0.0
    return until - now
