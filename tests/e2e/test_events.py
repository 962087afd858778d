"""What happens to clients when leaders change: asserted at the router and at a client."""

from __future__ import annotations

import random
import signal
import statistics
import time
from functools import partial

from tests.lab.event import Event, Observer
from tests.lab.lab import ECHO_CALLBACK, Lab

PROMPT = 1.0
"""Seconds after which a client writes again, once PostgreSQL on the new leader is writable."""
FENCE_BASE = 100_000
"""The default of `fence.base`."""


def assert_prompt_and_safe(event: Event) -> None:
    """The outage ends soon after there is a leader, and no old timeline takes writes."""
    print(event)
    assert event.served - event.writable < PROMPT, str(event)
    assert event.stale == [], str(event)


def test_bootstrap(lab: Lab) -> None:
    """A new cluster's leader, and it alone, has the route; its MED tells the timeline."""
    assert lab.route() == lab.leader()
    (path,) = lab.bird_paths()
    assert path.member == lab.leader()
    assert path.med == FENCE_BASE - (lab.timeline() or 0)


def test_switchover(lab: Lab, watch: Observer) -> None:
    """The route moves with the leadership, and leaves the old leader before."""
    (before,) = lab.bird_paths()
    event = watch.measure("switchover", lab.switchover)
    assert_prompt_and_safe(event)
    lab.wait_healthy()
    (after,) = lab.bird_paths()
    assert after.member == event.new
    assert before.med is not None
    assert after.med is not None
    assert after.med < before.med
    together = [c for c in event.changes if c.member and event.old in c.member]
    assert together == [], "the route came back to the old leader"


def test_failover_on_a_host_that_lives_on(lab: Lab, watch: Observer) -> None:
    """Patroni and PostgreSQL die, ExaBGP goes on announcing: the fence turns the router."""
    leader = lab.leader() or ""
    event = watch.measure("failover", lab.patroni[leader].kill_all)
    assert {path.member for path in lab.bird_paths()} == {leader, event.new}
    assert_prompt_and_safe(event)
    lab.repair()
    assert [c.member for c in watch.routes.since(event.since)][-1] == event.new


def test_power_cut(lab: Lab, watch: Observer) -> None:
    """A host is gone without a word; the route comes to the new leader all the same."""
    leader = lab.leader() or ""
    event = watch.measure("power cut", lambda: lab.power_cut(leader))
    assert_prompt_and_safe(event)
    lab.repair()
    assert lab.route() == event.new


def test_on_start_primary_that_is_false(lab: Lab, watch: Observer) -> None:
    """Patroni comes back on a former leader, whose PostgreSQL never stopped, and starts with
    on_start primary: this must not attract a client."""
    leader = lab.leader() or ""
    event = watch.measure("Patroni killed", lab.patroni[leader].kill)
    assert_prompt_and_safe(event)
    lab.patroni[leader].start()
    lab.wait_healthy(90)
    assert [c.member for c in watch.routes.since(event.arrival)] == [event.new]
    assert watch.writer.stale(event.timeline, event.arrival) == []
    lab.wait_for(
        lambda: [p.member for p in lab.bird_paths()] == [event.new], 30, "lone path"
    )


def test_hung_patroni(lab: Lab, watch: Observer) -> None:
    """Patroni on the leader hangs, its PostgreSQL takes writes: the new leader gets them as soon
    as there is one."""
    leader = lab.leader() or ""
    event = watch.measure("hang", lambda: lab.patroni[leader].signal(signal.SIGSTOP))
    lab.patroni[leader].signal(signal.SIGCONT)
    assert_prompt_and_safe(event)
    lab.wait_healthy(90)


def test_callbacks_killed_halfway(lab: Lab) -> None:
    """Whatever a killed callback leaves undone, the next one puts right."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(2):
        switchover = lab.switchover(wait=False)
        assert switchover is not None
        killed, deadline = 0, time.monotonic() + 30
        while switchover.poll() is None and time.monotonic() < deadline:
            if any(
                lab.hosts[name].processes("/pgcast-callback ") for name in lab.members
            ):
                moment = time.monotonic() + chance.uniform(0, 0.15)
                while time.monotonic() < moment:
                    pass
                killed += sum(
                    lab.patroni[name].kill_callbacks() for name in lab.members
                )
        assert switchover.wait(30) == 0
        lab.wait_for(lab.leader, 30, "leader")
        print("killed", killed)
        assert killed > 0
        lab.patronictl("reload", "main", "--force")
        lab.wait_healthy(60)
        lab.wait_for(
            lambda: [p.member for p in lab.bird_paths()] == [lab.leader()],
            30,
            "lone path",
        )


def announced_as(lab: Lab, fenced: bool) -> bool:
    """Whether one member announces, with a MED or without."""
    return [path.med is not None for path in lab.bird_paths()] == [fenced]


def test_switchover_is_as_fast_as_an_echo(lab: Lab, watch: Observer) -> None:
    """Looking before announcing costs a client no more than a quarter of the time that it is
    without a leader when the callback is one echo into the pipe."""
    outages: dict[str, list[float]] = {"echo": [], "pgcast": []}
    try:
        for _ in range(3):
            for name, script in (("echo", ECHO_CALLBACK), ("pgcast", None)):
                lab.use_callback(script)
                lab.patronictl("reload", "main", "--force")
                lab.wait_for(
                    partial(announced_as, lab, name == "pgcast"),
                    20,
                    f"announcement by {name}",
                )
                event = watch.measure(name, lab.switchover)
                print(event)
                outages[name].append(event.outage.seconds)
                lab.wait_healthy()
    finally:
        lab.use_callback(None)
        lab.patronictl("reload", "main", "--force")
    print(outages)
    pgcast, echo = (
        statistics.median(outages["pgcast"]),
        statistics.median(outages["echo"]),
    )
    assert pgcast <= 1.25 * echo, outages
