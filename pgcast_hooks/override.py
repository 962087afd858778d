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

import contextlib
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

from pgcast_hooks import record, timekeeping
from pgcast_hooks.errors import OverrideNotKept
from pgcast_hooks.model import Order, Override, Prefix

HOST = "override-host"
LOCK = "override-lock"
LOCK_TIMEOUT = 1.0  # seconds; then an operator's order is written all the same
RETRY = 0.01
VERSION = 1
SIZE = 16_384  # bytes; no order is longer
LATEST = 253_402_300_800.0  # seconds since 1970: the year 10000, which no clock shows
MAX_TEXT = 500  # characters of a reason or a name


class Overrides:
    """The standing orders of one host."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.trouble: str | None = None

    def standing(self, prefix: Prefix) -> Override | None:
        """The order in force for a route: the host's maintenance, else the route's own.

        A damaged one hides no order to withdraw.
        """
        host, own = self.of(None), self.of(prefix)
        if own and own.order is Order.WITHDRAW and host and host.order is Order.HOLD:
            return own
        return host or own

    def of(self, prefix: Prefix | None) -> Override | None:
        """The order in force for a route alone, or (None) for the whole host."""
        found = self._found(_name(prefix))
        if found is None or (found[0].left is not None and found[0].left <= 0):
            return None
        return found[0]._replace(whole_host=prefix is None)

    def set(self, prefix: Prefix | None, override: Override) -> None:
        """Let an order stand, for a route or (None) for the whole host, from now on for
        `left` seconds. Raises OverrideNotKept."""
        with self._changing(prefix) as name:
            aside = self._aside(prefix)
            record.replace(self._directory, name, _document(override), aside)

    def end(self, prefix: Prefix | None) -> Override | None:
        """End an order, of a route or (None) of the whole host; returns what was in force.

        Raises OverrideNotKept.
        """
        ended = self.of(prefix)
        with self._changing(prefix) as name:
            aside = self._aside(prefix)
            if aside:
                path = os.path.join(self._directory, name)
                os.rename(path, os.path.join(self._directory, aside))
            else:
                record.remove(self._directory, name)
        return ended

    def tidy(self, prefixes: Iterable[Prefix]) -> None:
        """Remove orders that are over, and let those that outlived a reboot count by this
        boot's clock, which nobody sets.

        Does nothing while an operator gives an order, and leaves what another boot left until
        the clock is known to be right.
        """
        there = [
            prefix
            for prefix in (None, *prefixes)
            if os.path.lexists(os.path.join(self._directory, _name(prefix)))
        ]
        if not there:
            return
        with contextlib.suppress(OSError), self._lock(0.0) as held:
            for prefix in there if held else ():
                order, text = self._found(_name(prefix)) or (None, "")
                if order is None or order.left is None:
                    continue
                of_this_boot = f'"boot": "{record.boot()}"' in text
                if not (of_this_boot or timekeeping.synchronised()):
                    continue
                if order.left <= 0:
                    if order.since <= time.time():  # else the clock is wrong
                        record.remove(self._directory, _name(prefix))
                elif not of_this_boot:
                    kept = _document(order, order.since)
                    record.replace(self._directory, _name(prefix), kept)

    @contextlib.contextmanager
    def _changing(self, prefix: Prefix | None) -> Iterator[str]:
        """The file's name, while nobody else changes it; OSErrors raise OverrideNotKept."""
        name = _name(prefix)
        try:
            with self._lock(LOCK_TIMEOUT):
                yield name
        except OSError as error:
            path = os.path.join(self._directory, name)
            raise OverrideNotKept(path, error.strerror or str(error)) from error
        self.trouble = None  # of what was there before

    @contextlib.contextmanager
    def _lock(self, wait: float) -> Iterator[bool]:
        """Keep others from changing orders; False where it could not be had in time. An
        operator goes on all the same: whoever holds it may be stopped."""
        try:
            file = record.open_plain(self._directory, LOCK, os.O_RDWR | os.O_CREAT)
        except OSError:
            yield False
            return
        try:
            end = time.monotonic() + wait
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    yield True
                    return
                if time.monotonic() >= end:
                    yield False
                    return
                time.sleep(RETRY)
        finally:
            os.close(file)

    def _found(self, name: str) -> tuple[Override, str] | None:
        """The order in a file, over or not, and the file's text; None where there is none, or
        nobody can say whether there is."""
        path = os.path.join(self._directory, name)
        try:
            text = record.read(self._directory, name, SIZE + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.trouble = f"override {path} cannot be read: {error.strerror}"
            return (_hold(name, self.trouble), "") if os.path.lexists(path) else None
        try:
            return _parse(text), text
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
            self.trouble = f"override {path} is damaged"
            return _hold(name, self.trouble), text

    def _aside(self, prefix: Prefix | None) -> str | None:
        """The name under which a damaged file is kept; None where it is not damaged."""
        found = self.of(prefix)
        if found is None or found.order is not Order.HOLD:
            return None
        return f"{_name(prefix)}.damaged-{time.time():.0f}"


def _name(prefix: Prefix | None) -> str:
    return HOST if prefix is None else f"override-{prefix}".replace("/", "_")


def _hold(name: str, trouble: str) -> Override:
    end = "pgcast maintenance off" if name == HOST else "pgcast auto"
    return Override(Order.HOLD, f"{trouble}: nothing is announced anew until '{end}'")


def _plain(text: str) -> str:
    """A text that every terminal and log can take, on one line; a command line may hold any
    byte."""
    cut = text[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
    cut = " ".join(cut.split())
    return "".join(letter if letter.isprintable() else "?" for letter in cut)


def _document(override: Override, since: float | None = None) -> str:
    """The text of a file; `since`: when the order was given, now unless it is older."""
    import json

    since = time.time() if since is None else since
    document = {
        "version": VERSION,
        "order": override.order.value,
        "reason": _plain(override.reason),
        "by": _plain(override.by),
        "since": round(since, 3),
        "until": None,
        "boot": record.boot(),
        "boot_until": None,
    }
    if override.left is not None:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        until = override.until or since + override.left
        document["until"] = round(until, 3)
        document["boot_until"] = round(now + override.left, 3)
    return json.dumps(document) + "\n"


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
    if not 0 <= since < LATEST or not (until is None or since <= float(until) < LATEST):
        raise ValueError("a moment that is none")
    return Override(
        order=order,
        reason=_plain(str(document["reason"])),
        by=_plain(str(document["by"])),
        since=since,
        until=None if until is None else float(until),
        left=None if until is None else _left(document, order, since, float(until)),
    )


def _left(document: dict[str, Any], order: Order, since: float, until: float) -> float:
    """Seconds until an order expires.

    After a reboot a clock that nobody has set right yet tells nothing: until then an order to
    withdraw counts from the boot on. Nor does one that is behind the order: then the order
    counts as new if it withdraws, and as over if it announces.
    """
    up = time.clock_gettime(time.CLOCK_BOOTTIME)
    if document["boot"] == record.boot():
        end = float(document["boot_until"])
        if not 0 <= end < LATEST:
            raise ValueError("a moment that is none")
        return min(end - up, until - since)
    now = time.time()
    if order is not Order.WITHDRAW:
        return until - now if now >= since else 0.0
    if not timekeeping.synchronised():
        return until - since - up
    return until - now if now >= since else until - since
