"""What a status says of the host itself, as paragraphs: its BGP sessions, ExaBGP, the
reconciler, the state directory; and an override, which may be the host's maintenance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pgcast_hooks.cli.layout import Paragraph, labelled, table
from pgcast_hooks.cli.words import moment, span
from pgcast_hooks.model import Order, Override, Prefix, RibEntry
from pgcast_hooks.status.picture import (
    Level,
    NeighborStatus,
    ReconcilerStatus,
    Silence,
    Status,
)

MANY = 20  # foreign routes that are named


def neighbors(sessions: Sequence[NeighborStatus]) -> Iterable[Paragraph]:
    """The BGP sessions."""
    yield Paragraph("neighbors", "BGP neighbors", title=True)
    rows: list[tuple[str, ...]] = [("address", "session", "hold time", "AS", "for")]
    for item in sessions:
        neighbor = item.neighbor
        hold = "-" if neighbor.hold_time is None else f"{neighbor.hold_time} s"
        since = "-" if neighbor.seconds is None else span(neighbor.seconds)
        peer = "-" if neighbor.peer_as is None else str(neighbor.peer_as)
        rows.append((neighbor.address, neighbor.state, hold, peer, since))
    yield from table("neighbor", rows, [item.level for item in sessions])


def host(status: Status) -> Iterable[Paragraph]:
    """ExaBGP, the reconciler, maintenance, the state directory, and routes that are not ours."""
    yield Paragraph("host", f"host {status.name}", title=True)
    if isinstance(status.exabgp, Silence):
        yield labelled("exabgp", "ExaBGP", status.exabgp.why, Level.UNKNOWN)
    else:
        yield labelled("exabgp", "ExaBGP", f"{status.exabgp} on {status.pipe}")
        if not status.neighbors:
            yield labelled("no neighbors", "", "it has no neighbor", Level.WRONG)
    yield _reconciler(status.reconciler)
    off = "off" if not status.maintenance else override(status.maintenance)
    yield labelled("maintenance", "maintenance", off)
    for trouble in status.troubles or (None,):
        level = Level.UNKNOWN if trouble else None
        yield labelled("state", "state", trouble or status.state_dir, level)
    if status.foreign:
        yield labelled("foreign", "not ours", _foreign(status.foreign))


def override(standing: Override) -> str:
    """What an operator ordered, who, when, why, and for how long."""
    what = "the whole host" if standing.whole_host else standing.order.value
    if standing.order is Order.HOLD:
        return standing.reason
    text = f"{what}: {standing.reason}" if standing.reason else what
    if standing.by:
        text += f"; set by {standing.by}"
    if standing.since:
        text += f" at {moment(standing.since)}"
    if standing.left is not None:
        return f"{text}; {span(standing.left)} left"
    return f"{text}; until somebody ends it" if standing.until is None else text


def _foreign(entries: Iterable[RibEntry]) -> str:
    prefixes: list[Prefix] = list(dict.fromkeys(entry.prefix for entry in entries))
    named = ", ".join(map(str, prefixes[:MANY]))
    more = f" and {len(prefixes) - MANY} more" if len(prefixes) > MANY else ""
    return f"{named}{more}: announced, but not configured; pgcast leaves that alone"


def _reconciler(reconciler: ReconcilerStatus) -> Paragraph:
    last = reconciler.last_pass
    if reconciler.process is None:
        text = "the loop is GONE" if reconciler.overdue else "no loop runs"
    else:
        text = f"process {reconciler.process or 'unknown'}"
    if last is None:
        text += ", no pass is known"
    else:
        if last.interval is not None:
            text += f", a pass every {span(last.interval)}"
        did = f"{last.changed} changed" if last.changed else "nothing to change"
        ago = f"{span(last.ago)} ago"
        if last.ago == float("inf"):
            ago = "before the host's last boot"
        text += f"; the last {ago}, {last.milliseconds:.0f} ms, {did}"
        for trouble in last.trouble:
            text += f"; {trouble}"
    if reconciler.overdue:
        text += "; what no callback tells is NOT REPAIRED"
    return labelled("reconciler", "reconciler", text, reconciler.level)
