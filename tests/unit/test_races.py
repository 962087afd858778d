"""Callbacks, before_stop, reconciler, an operator's orders and Patroni's kill, in every order that a search reaches.

The code is the real one, from `callback.run` and `reconcile.reconcile` down to the speaker.
Only what it does to the world outside is taken over: each question to Patroni, each look at or
change of the generation or an override, the lock, each write to and read from the pipe is a step, and a
scheduler decides who makes the next one. The search runs every schedule with at most
`PREEMPTIONS` switches away from somebody who could have gone on, as most races need only one or
two.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Callable

import pytest

from pgcast_hooks import callback, config, patroni, vip
from pgcast_hooks.apply import apply
from pgcast_hooks.confirm import look
from pgcast_hooks.errors import PgcastError, PipeBusy
from pgcast_hooks.model import Callback, Order, Override, Prefix, RestAnswer
from pgcast_hooks.reconcile import reconcile
from tests.unit.test_exabgp import Exabgp

PREEMPTIONS = 2
SAMPLES = 500
SLOW = ("reader", "receive")
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


class Killed(BaseException):
    """SIGKILL: nothing of the process runs any more, and the kernel frees its lock."""


class Actor:
    """A process: runs from one step to the next when the scheduler lets it."""

    def __init__(self, world: World, name: str, work: Callable[[], object]) -> None:
        self.world = world
        self.name = name
        self.ended = False
        self.killed = False
        self.at = "start"
        self._work = work
        self._go = threading.Semaphore(0)
        self._paused = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._go.acquire()
        try:
            with contextlib.suppress(PgcastError, Killed):
                if not self.killed:
                    self._work()
        finally:
            self.ended = True
            self._paused.release()

    def advance(self) -> None:
        """Let it run to its next step, or to its end."""
        self.world.current = self
        self._go.release()
        self._paused.acquire()

    def step(self, at: str) -> None:
        """Called by the process itself: whatever comes next may be a long time off."""
        self.at = at
        self._paused.release()
        self._go.acquire()
        self.world.current = self
        if self.killed:
            raise Killed

    def kill(self) -> None:
        """End it where it stands."""
        if not self.ended:
            current = self.world.current
            self.killed = True
            self.advance()
            self.world.current = current


class World:
    """Patroni, ExaBGP and the state directory of one host; what is not exclusive is a mutant."""

    def __init__(self, generation: bool = True, lock: bool = True) -> None:
        self.state = self
        self.pipe = self
        self.overrides = self
        self.account = self
        self.path = "exabgp.in"
        self.trouble: str | None = None
        self.exabgp = Exabgp()
        self.current: Actor | None = None
        self.actors: list[Actor] = []
        self.stopped = False  # before_stop has said that the route is withdrawn
        self.order: Override | None = None
        self.obeyed = True  # whoever gave or ended an order was told that it is done
        self._says: tuple[str, str] = ("replica", "running")
        self._generations = itertools.count(1)
        self._generation = "0"
        self._counts = generation
        self._locks = lock
        self._holder: Actor | None = None
        self._callback: Actor | None = None

    # What Patroni does

    def patroni(self) -> None:
        """A promotion, and later a stop: the truth first, its callbacks after it."""
        self._says = ("primary", "running")
        self._run_callback("on_role_change", "primary")
        self._step("promoted")
        self._says = ("primary", "stopping")
        callback.run(Callback("before_stop", "-", "main"), CONFIG)
        self.stopped = True
        self._step("stopped")
        self._says = ("replica", "running")
        self._run_callback("on_stop", "demoted")
        self._step("demoted")
        self._run_callback("on_role_change", "replica")

    def _run_callback(self, action: str, role: str) -> None:
        """Kill the one that still runs, and start the next; wait for none."""
        if self._callback:
            self._callback.kill()
            self._free(self._callback)
        told = Callback(action, role, "main")
        self._callback = self.start(
            f"{action} {role}", partial(callback.run, told, CONFIG)
        )

    def ask(self, *_: object) -> RestAnswer:
        self._step("ask")
        role, state = self._says
        body = {
            "role": role,
            "state": state,
            "timeline": 7,
            "patroni": {"scope": "main"},
        }
        answer = RestAnswer(200 if role == "primary" else 503, body)
        self._step("answered")
        return answer

    # The state directory

    def generation(self) -> str:
        self._step("generation")
        return self._generation if self._counts else ""

    def raise_generation(self) -> None:
        self._step("raise generation")
        self._generation = str(next(self._generations))

    def note_known(self, *_: object) -> None: ...

    def since_known(self, *_: object) -> float:
        return 0.0

    def standing(self, *_: object) -> Override | None:
        self._step("override")
        return self.order

    def give(self, order: Order | None) -> None:
        """An operator lets an order stand, or ends it; not yet carried out."""
        self.obeyed = False
        self._step("give order")
        self.order = Override(order, "a test", "alice") if order else None
        self.raise_generation()

    paths: Mapping[Prefix, str] = {}

    def troubles(self) -> list[str]:
        return []

    def tidy(self, _: object) -> None: ...

    def files(self) -> tuple[()]:
        return ()

    # The account, which nobody waits for

    cause = "reconcile"

    def begun(self, *_: object) -> list[str]:
        return []

    def begin(self) -> None: ...

    def acted(self, *_: object) -> None: ...

    def failed(self, *_: object) -> None: ...

    def refused(self, *_: object) -> None: ...

    def last_pass(self) -> None: ...

    def note_pass(self, *_: object) -> None: ...

    # The pipe

    @contextlib.contextmanager
    def locked(self) -> Iterator[World]:
        self._step("lock")
        me = self.current
        while self._locks and self._holder:
            # Only ExaBGP takes longer than others wait for the lock, no step of ours does.
            if self._holder.at in SLOW:
                raise PipeBusy(self.path, 1.0)
            self._step("lock")
        self._holder = me
        try:
            yield self
        finally:
            self._free(me)

    def _free(self, actor: Actor | None) -> None:
        if self._holder is actor:
            self._holder = None

    def shout(self, line: str, waited: float) -> None:
        self._step("shout")
        self.exabgp.send([line], 0)

    def send(self, lines: Sequence[str], marks: int, check: Callable[[], None]) -> None:
        self._step("reader")  # for as long as nobody reads the pipe
        check()
        self._step("send")
        self.exabgp.send(lines, marks)
        self._step("receive")

    def receive(self, wait: float | None = None) -> str | None:
        return self.exabgp.receive(wait)

    def unread_marks(self) -> int:
        return 0

    def settled(self) -> None: ...

    def waited(self) -> float:
        return 0.0

    # The scheduler

    def start(self, name: str, work: Callable[[], object]) -> Actor:
        actor = Actor(self, name, work)
        self.actors.append(actor)
        return actor

    def _step(self, at: str) -> None:
        if self.current:  # None: the last pass, with which nobody interferes
            self.current.step(at)

    def waits_for(self, actor: Actor) -> Actor | None:
        """Who must go on before this one can: the holder of the lock, if it will free it."""
        holder = self._holder if self._locks and actor.at == "lock" else None
        return holder if holder and holder.at not in SLOW else None

    def announced(self) -> bool:
        return bool(self.exabgp.rib)

    def must(self) -> bool | None:
        """Whether the route must stand, once all is quiet; None where either may be."""
        if self.order:
            return self.order.order is Order.ANNOUNCE
        return False if self.stopped else None

    def wrong(self) -> bool:
        """The route stands although before_stop, or an operator, was told that it is withdrawn."""
        return self.obeyed and self.must() is False and self.announced()


def reconciler(world: World) -> None:
    """Two passes of the loop."""
    for _ in range(2):
        with contextlib.suppress(PgcastError):
            reconcile(world, CONFIG)  # type: ignore[arg-type]


CLUSTER = CONFIG.clusters["main"]


def auto(world: World) -> None:
    """Somebody types `pgcast auto main` where there is no order, and again."""
    for _ in range(2):
        world.raise_generation()
        with contextlib.suppress(PgcastError):
            look(world, CLUSTER, CLUSTER.routes)  # type: ignore[arg-type]


def withdraw(world: World) -> None:
    """Somebody types `pgcast withdraw main`."""
    world.give(Order.WITHDRAW)
    with contextlib.suppress(PgcastError):
        apply(world, {CLUSTER.routes[0].prefix: None}, {})  # type: ignore[arg-type]
        world.obeyed = True


def announce_and_auto(world: World) -> None:
    """Somebody types `pgcast announce main --for 1h`, then `pgcast auto main`."""
    for order in (Order.ANNOUNCE, None):
        world.give(order)
        with contextlib.suppress(PgcastError):
            look(world, CLUSTER, CLUSTER.routes)  # type: ignore[arg-type]
            world.obeyed = True


def announce(world: World) -> None:
    """Somebody types `pgcast announce main --for 1h`."""
    world.give(Order.ANNOUNCE)
    with contextlib.suppress(PgcastError):
        look(world, CLUSTER, CLUSTER.routes)  # type: ignore[arg-type]


OTHERS = (reconciler, auto, withdraw, announce_and_auto)


def run(
    world: World, others: Sequence[Callable[[World], None]], switches: dict[int, int]
) -> tuple[int, list[str]]:
    """One schedule: at step `n` go on with the actor `switches[n]` places after the one that runs.

    Returns the number of steps, and what was wrong.
    """
    world.start("patroni", world.patroni)
    for other in others:
        world.start(other.__name__, partial(other, world))
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
        if world.wrong():
            found.append(
                f"step {at}: announced after {actor.name} at {actor.at}, switches {switches}"
            )
            break
    for actor in world.actors:
        actor.kill()
    world.current = None
    if not found:
        reconcile(world, CONFIG)  # type: ignore[arg-type]
        if world.must() is not None and world.announced() != world.must():
            found.append(f"one pass later still wrong, switches {switches}")
    return at, found


def search(
    make: Callable[[], World],
    other: Callable[[World], None],
    stop_at_first: bool,
    switches: int = PREEMPTIONS,
) -> tuple[int, list[str]]:
    """Every schedule with at most so many `switches`; the number of schedules, and what was wrong."""
    length, found = run(make(), [other], {})
    schedules = 1
    for count in range(1, switches + 1):
        for points in itertools.combinations(range(length), count):
            for places in itertools.product((1, 2), repeat=count):
                found += run(make(), [other], dict(zip(points, places)))[1]
                schedules += 1
                if found and stop_at_first:
                    return schedules, found
    return schedules, found


@pytest.fixture(autouse=True)
def _world_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks Patroni, or for this host's hands, gets the world that is being searched."""
    worlds: list[World] = []
    original = World.__init__

    def remember(self: World, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        worlds[:] = [self]

    monkeypatch.setattr(World, "__init__", remember)
    monkeypatch.setattr(patroni, "ask", lambda *_: worlds[0].ask())
    monkeypatch.setattr(vip, "carried", lambda _: True)
    monkeypatch.setattr(callback, "host", lambda *_: worlds[0])


@pytest.mark.parametrize("other", OTHERS)
def test_no_order_brings_a_withdrawn_route_back(other: Callable[[World], None]) -> None:
    """Not one of a thousand schedules, and one pass makes the table right whatever happened."""
    schedules, found = search(World, other, stop_at_first=False)
    print(schedules, "schedules")
    assert found == []
    assert schedules > 500


def test_an_order_to_announce_is_followed_one_pass_later() -> None:
    """Whatever came between; while it stands, the route is never wrong to be there."""
    schedules, found = search(World, announce, stop_at_first=False, switches=1)
    assert found == []
    assert schedules > 50


@pytest.mark.parametrize("order", [withdraw, announce_and_auto])
def test_no_order_with_everybody_at_once(order: Callable[[World], None]) -> None:
    """Reconciler, operator, callbacks and Patroni's kill: drawn by lot, as there are too many."""
    lot = random.Random(order.__name__)
    others = [reconciler, order]
    length, found = run(World(), others, {})
    for _ in range(SAMPLES):
        points = lot.sample(range(length), 4)
        found += run(World(), others, {at: lot.choice((1, 2, 3)) for at in points})[1]
    assert found == []


@pytest.mark.parametrize("other", OTHERS)
def test_the_search_finds_what_the_generation_prevents(
    other: Callable[[World], None],
) -> None:
    """Without it, an answer that Patroni gave before it stopped is followed after."""
    _, found = search(lambda: World(generation=False), other, stop_at_first=True)
    assert found


@pytest.mark.parametrize("other", OTHERS)
def test_the_search_finds_what_the_lock_prevents(
    other: Callable[[World], None],
) -> None:
    """Without it, a withdrawal falls between another's look at the generation and its announcement."""
    _, found = search(lambda: World(lock=False), other, stop_at_first=True)
    assert found
