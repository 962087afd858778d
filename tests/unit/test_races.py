"""Callbacks, before_stop, reconciler, an operator's commands and Patroni's kill, in every order that a search reaches.

The code is the real one, from `callback.run`, `reconcile.reconcile` and the command line down to
the speaker. Only what it does to the world outside is taken over: each question to Patroni, each
look at or change of the generation or an override, the lock, each write to and read from the pipe
is a step, and a scheduler decides who makes the next one. The search runs every schedule with at
most `PREEMPTIONS` switches away from somebody who could have gone on, as most races need only one
or two; each within as many steps as there are without any.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Callable, NamedTuple

import pytest

from pgcast_hooks import callback, config, patroni, vip
from pgcast_hooks.cli import main, orders
from pgcast_hooks.errors import PgcastError
from pgcast_hooks.model import Callback, Order, Override
from pgcast_hooks.reconcile import reconcile
from tests.unit.world import PRIMARY, REPLICA, STARTING, STOPPING, Actor, World

PREEMPTIONS = 2
SAMPLES = 500
CONFIG = config.parse(
    {
        "callback": {"deadline": 0.000001},
        "clusters": {
            "main": {
                "patroni": "http://127.0.0.1:8008",
                "routes": [{"prefix": "192.0.2.10/32", "role": "primary"}],
            }
        },
    }
)
(ROUTE,) = CONFIG.clusters["main"].routes
Work = Callable[[World], object]

# What Patroni does


def life(world: World) -> None:
    """A promotion, and later a stop: the truth first, its callbacks after it."""
    running: list[Actor] = []

    def tell(action: str, role: str) -> None:
        """Kill the callback that still runs, and start the next; wait for none."""
        for before in running:
            before.kill()
        told = Callback(action, role, "main")
        running[:] = [
            world.start(f"{action} {role}", partial(callback.run, told, CONFIG))
        ]

    world.says = PRIMARY
    tell("on_role_change", "primary")
    world.step("promoted")
    world.says = STOPPING
    callback.run(Callback("before_stop", "-", "main"), CONFIG)
    world.denied = True
    world.step("stopped")
    world.says = REPLICA
    tell("on_stop", "demoted")
    world.step("demoted")
    tell("on_role_change", "replica")


def promotion(world: World) -> None:
    """Recovery ends once somebody has asked."""
    world.says, world.says_next = STARTING, PRIMARY
    callback.run(Callback("on_role_change", "primary", "main"), CONFIG)


def recovery(world: World) -> None:
    """Patroni did not answer for longer than the grace, and does again."""
    world.says, world.says_next = None, PRIMARY
    callback.run(Callback("on_start", "primary", "main"), CONFIG)


# What others do


def reconciler(world: World) -> None:
    """Two passes of the loop."""
    for _ in range(2):
        with contextlib.suppress(PgcastError):
            reconcile(world.hands, CONFIG, interval=2.0)


def one_pass(world: World) -> None:
    """What a timer starts."""
    reconcile(world.hands, CONFIG)


def typed(*lines: str) -> Work:
    """Somebody types one `pgcast` command after the other."""

    def operator(world: World) -> None:
        me = world.current
        assert me
        for line in lines:
            withdraws = line.startswith(("withdraw", "maintenance on"))
            world.withdrawing += withdraws
            code = main(line.split(), standalone_mode=False)
            world.withdrawing -= withdraws
            if not code:  # told that it is done
                world.disobeyed.discard(me)
            assert code != 70, line

    operator.__name__ = ", ".join(lines)
    return operator


def expiry(world: World) -> None:
    """The orders that stand expire, and nobody is told."""
    world.step("expired")
    world.orders.clear()


AUTO = typed("auto main")
AUTO_TWICE = typed("auto main", "auto main")
WITHDRAW = typed("withdraw main")
ANNOUNCE_AUTO = typed("announce main --for 1h --yes", "auto main")
MAINTENANCE = typed("maintenance on")
MAINTENANCE_OFF = typed("maintenance off")
DRAIN_AUTO = typed("drain main", "auto main")


class Case(NamedTuple):
    """What Patroni does, or (role and state) says all the time; who else acts; which order stands
    when they begin."""

    patroni: Work | tuple[str, str]
    others: tuple[Work, ...]
    order: Order | None = None
    whole_host: bool = False

    def __str__(self) -> str:
        names = [work.__name__ for work in self.others]
        says = self.patroni
        names.insert(0, says[0] if isinstance(says, tuple) else says.__name__)
        if self.order:
            whose = "the host" if self.whole_host else "the route"
            names.insert(0, f"{self.order.value} of {whose}")
        return ", ".join(names)

    def begin(self, world: World) -> None:
        """Let everybody wait for the first turn."""
        if self.order:
            key = None if self.whole_host else ROUTE.prefix
            by = "alice"
            order = Override(self.order, "a test", by, whole_host=self.whole_host)
            world.orders[key] = order
        if isinstance(self.patroni, tuple):
            world.says = self.patroni
            world.denied = self.patroni == REPLICA
        else:
            world.start("patroni", partial(self.patroni, world))
        for other in self.others:
            world.start(other.__name__, partial(other, world))


CASES = (
    Case(life, (reconciler,)),
    Case(life, (AUTO,)),
    Case(life, (WITHDRAW,)),
    Case(life, (ANNOUNCE_AUTO,)),
    Case(promotion, (reconciler,)),
    Case(promotion, (AUTO,)),
    Case(recovery, (reconciler,)),
    Case(promotion, (one_pass, expiry), Order.WITHDRAW),
    Case(PRIMARY, (one_pass, AUTO), Order.WITHDRAW),
    Case(PRIMARY, (one_pass, MAINTENANCE_OFF), Order.WITHDRAW, whole_host=True),
    Case(REPLICA, (one_pass, AUTO), Order.ANNOUNCE),
    Case(REPLICA, (one_pass, WITHDRAW), Order.ANNOUNCE),
    Case(REPLICA, (one_pass, MAINTENANCE), Order.ANNOUNCE),
)
CROWDS = (
    Case(life, (reconciler, WITHDRAW)),
    Case(life, (reconciler, ANNOUNCE_AUTO)),
    Case(life, (reconciler, MAINTENANCE, MAINTENANCE_OFF)),
    Case(life, (reconciler, DRAIN_AUTO)),
    Case(life, (reconciler, AUTO), Order.HOLD),
    Case(promotion, (reconciler, expiry, AUTO), Order.ANNOUNCE),
)


def run(world: World, case: Case, switches: dict[int, int]) -> tuple[int, list[str]]:
    """One schedule: at step `n` go on with the actor `switches[n]` places after the one that runs.

    Returns the number of steps, and what was wrong.
    """
    case.begin(world)
    found, at, running = [], 0, 0
    while True:
        alive = [actor for actor in world.actors if not actor.ended]
        if not alive:
            break
        runnable = [
            actor
            for actor in world.actors[running:] + world.actors[:running]
            if not actor.ended
        ]
        actor = runnable[switches.get(at, 0) % len(runnable)]
        actor = world.waits_for(actor) or actor
        running = world.actors.index(actor)
        actor.advance()
        at += 1
        wrong = world.wrong()
        if wrong:
            found.append(
                f"step {at}: {wrong} after {actor.name} at {actor.at}, switches {switches}"
            )
            break
    for actor in world.actors:
        actor.kill()
    world.current = None
    if not found:
        world.says, world.says_next = world.says_next or world.says, None
        reconcile(world.hands, CONFIG)
        must = world.must()
        if must is None:
            must = world.says == PRIMARY
        if world.announced() != must:
            found.append(f"one pass later still wrong, switches {switches}")
    return at, found


def search(
    make: Callable[[], World], case: Case, stop_at_first: bool = False
) -> tuple[int, list[str]]:
    """Every schedule with at most `PREEMPTIONS` switches; the number of schedules, and what was
    wrong."""
    length, found = run(make(), case, {})
    schedules = 1
    away = (1, 2) if case.patroni is life or len(case.others) > 1 else (1,)
    for count in range(1, PREEMPTIONS + 1):
        for points in itertools.combinations(range(length), count):
            for places in itertools.product(away, repeat=count):
                found += run(make(), case, dict(zip(points, places)))[1]
                schedules += 1
                if found and stop_at_first:
                    return schedules, found
    return schedules, found


@pytest.fixture(autouse=True)
def _world_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever asks Patroni, or for this host's hands, gets the world that is being searched."""
    worlds: list[World] = []
    original = World.__init__

    def remember(self: World, lock: bool = True, deaf: Sequence[str] = ()) -> None:
        original(self, lock, deaf)
        worlds[:] = [self]

    monkeypatch.setattr(World, "__init__", remember)
    monkeypatch.setattr(patroni, "ask", lambda *_: worlds[0].ask())
    monkeypatch.setattr(vip, "carried", lambda _: True)
    monkeypatch.setattr(config, "load", lambda _: CONFIG)
    for module in (callback, orders):
        monkeypatch.setattr(module, "host", lambda *_: worlds[0])
    with open(os.devnull, "w") as nowhere:
        monkeypatch.setattr(sys, "stderr", nowhere)
        yield


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_schedule(case: Case) -> None:
    """What is withdrawn stays so, a confirmed leader keeps its route, and one pass makes the
    table right whatever happened."""
    schedules, found = search(World, case)
    print(schedules, "schedules")
    assert found == []
    assert schedules > 50


@pytest.mark.parametrize("case", CROWDS, ids=str)
def test_everybody_at_once(case: Case) -> None:
    """Too many schedules to run them all: drawn by lot."""
    lot = random.Random(str(case))
    length, found = run(World(), case, {})
    for _ in range(SAMPLES):
        points = lot.sample(range(length), 4)
        found += run(World(), case, {at: lot.choice((1, 2, 3)) for at in points})[1]
    assert found == []


@pytest.mark.parametrize(
    ("deaf", "case"),
    [
        ("callback", Case(life, (reconciler,))),
        ("callback", Case(life, (AUTO_TWICE,))),
        ("announcement", Case(promotion, (reconciler,))),
        ("announcement", Case(recovery, (reconciler,))),
        ("operator", Case(REPLICA, (one_pass, AUTO), Order.ANNOUNCE)),
        ("operator", Case(REPLICA, (one_pass, WITHDRAW), Order.ANNOUNCE)),
        ("operator", Case(REPLICA, (one_pass, MAINTENANCE), Order.ANNOUNCE)),
    ],
    ids=str,
)
def test_the_search_finds_what_the_generation_prevents(deaf: str, case: Case) -> None:
    """Without it, who has an older answer, or saw an older order, follows it."""
    _, found = search(lambda: World(deaf=[deaf]), case, stop_at_first=True)
    assert found


@pytest.mark.parametrize("other", [reconciler, AUTO_TWICE, WITHDRAW, ANNOUNCE_AUTO])
def test_the_search_finds_what_the_lock_prevents(other: Work) -> None:
    """Without it, a withdrawal falls between another's look at the generation and its announcement."""
    case = Case(life, (other,))
    _, found = search(lambda: World(lock=False), case, stop_at_first=True)
    assert found
