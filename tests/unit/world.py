"""One host as the search for races sees it: Patroni, ExaBGP and the state directory, each of whose
doings is a step, and processes that take turns at them."""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Callable

from pgcast_hooks.errors import PatroniUnreachable, PgcastError, PipeBusy
from pgcast_hooks.hands import Host
from pgcast_hooks.model import Order, Override, Prefix, RestAnswer
from tests.unit.test_exabgp import Exabgp

SLOW = ("reader", "receive")
REPLICA, PRIMARY = ("replica", "running"), ("primary", "running")
STARTING, STOPPING = ("primary", "starting"), ("primary", "stopping")


class Killed(BaseException):
    """SIGKILL: nothing of the process runs any more, and the kernel frees its lock."""


class Actor:
    """A process: runs from one step to the next when the scheduler lets it."""

    def __init__(self, world: World, name: str, work: Callable[[], object]) -> None:
        self.world = world
        self.name = name
        self.kind = "callback" if name.startswith(("on_", "patroni")) else "operator"
        self.ended = False
        self.killed = False
        self.at = "start"
        self._work = work
        self._bug: Exception | None = None
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
        except Exception as error:
            self._bug = error
        finally:
            self.ended = True
            self._paused.release()

    def advance(self) -> None:
        """Let it run to its next step, or to its end. Raises what is a bug of ours."""
        self.world.current = self
        self._go.release()
        self._paused.acquire()
        if self._bug:
            raise self._bug

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
            self.world.free(self)
            self.world.current = current


class World:
    """Patroni, ExaBGP and the state directory of one host; what is not exclusive is a mutant.

    `lock`: whether it keeps others out. `deaf`: whose changes of the generation nobody sees,
    "callback", "operator" or "announcement", or all. `says`: role and state by Patroni's
    word, None where it does not answer, which it has not for longer than the grace.
    """

    def __init__(self, lock: bool = True, deaf: Sequence[str] = ()) -> None:
        self.state = self
        self.pipe = self
        self.overrides = self
        self.account = self
        self.path = "exabgp.in"
        self.trouble: str | None = None
        self.exabgp = Exabgp()
        self.current: Actor | None = None
        self.actors: list[Actor] = []
        self.says: tuple[str, str] | None = REPLICA
        self.says_next: tuple[str, str] | None = None  # after the next answer
        self.denied = False  # whoever was told no by Patroni has withdrawn the route
        self.orders: dict[Prefix | None, Override] = {}
        self.disobeyed: set[Actor] = set()  # they gave or ended an order, and go on
        self.withdrawing = 0  # how many operators are about to
        self.robbed = False  # of a confirmed leader's route, by whoever had an older no
        self._generations = itertools.count(1)
        self._generation = "0"
        self._deaf = deaf
        self._locks = lock
        self._holder: Actor | None = None

    @property
    def hands(self) -> Host:
        """It is all that a process reaches of its host."""
        return self  # type: ignore[return-value]

    # Patroni

    def ask(self) -> RestAnswer:
        """An answer, which may be old when it arrives."""
        self.step("ask")
        says = self.says
        if self.says_next:
            self.says, self.says_next = self.says_next, None
        self.step("answered")
        if says is None:
            raise PatroniUnreachable("http://127.0.0.1:8008", "does not answer")
        role, state = says
        body = {
            "role": role,
            "state": state,
            "timeline": 7,
            "patroni": {"scope": "main"},
        }
        return RestAnswer(200 if role == "primary" else 503, body)

    # The state directory

    def generation(self) -> str:
        self.step("generation")
        return self._generation

    def raise_generation(self) -> None:
        self.step("raise generation")
        who = self.current.kind if self.current else "callback"
        if self._holder and self._holder is self.current:
            who = "announcement"
        if who not in self._deaf:
            self._generation = str(next(self._generations))

    def note_known(self, *_: object) -> None: ...

    def since_known(self, *_: object) -> float:
        return math.inf

    def of(self, key: Prefix | None) -> Override | None:
        return self.orders.get(key)

    def standing(self, prefix: Prefix) -> Override | None:
        self.step("override")
        return self.orders.get(None) or self.orders.get(prefix)

    def set(self, key: Prefix | None, order: Override) -> None:
        self.step("give order")
        self._disobey()
        self.orders[key] = order

    def end(self, key: Prefix | None) -> Override | None:
        self.step("end order")
        if key in self.orders:
            self._disobey()
        return self.orders.pop(key, None)

    def _disobey(self) -> None:
        if self.current:
            self.disobeyed.add(self.current)

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
        self.step("lock")
        me = self.current
        while self._locks and self._holder:
            # Only ExaBGP takes longer than others wait for the lock, no step of ours does.
            if self._holder.at in SLOW:
                raise PipeBusy(self.path, 1.0)
            self.step("lock")
        self._holder = me
        try:
            yield self
        finally:
            self.free(me)

    def free(self, actor: Actor | None) -> None:
        """What the kernel does with the lock of a process that has ended."""
        if self._holder is actor:
            self._holder = None

    def shout(self, line: str, waited: float) -> None:
        # Who has no lock may write an older no: the next pass repairs it, so none is robbed.
        self.step("shout")
        self.exabgp.send([line], 0)

    def send(self, lines: Sequence[str], marks: int, check: Callable[[], None]) -> None:
        self.step("reader")  # for as long as nobody reads the pipe
        check()
        self.step("send")
        stood = self.announced()
        self.exabgp.send(lines, marks)
        if stood and not self.announced() and self.earned() and not self.disputed():
            self.robbed = True
        self.step("receive")

    def receive(self, wait: float | None = None) -> str | None:
        return self.exabgp.receive(wait)

    def unread_marks(self) -> int:
        return 0

    def settled(self) -> None: ...

    def waited(self) -> float:
        return 0.0

    # The scheduler

    def start(self, name: str, work: Callable[[], object]) -> Actor:
        """A new process, which waits for its turn."""
        actor = Actor(self, name, work)
        self.actors.append(actor)
        return actor

    def step(self, at: str) -> None:
        """Let others take their turn."""
        if self.current:  # None: the last pass, with which nobody interferes
            self.current.step(at)

    def waits_for(self, actor: Actor) -> Actor | None:
        """Who must go on before this one can: the holder of the lock, if it will free it."""
        holder = self._holder if self._locks and actor.at == "lock" else None
        return holder if holder and holder.at not in SLOW else None

    # What is right

    def announced(self) -> bool:
        """Whether the route stands."""
        return bool(self.exabgp.rib)

    def _ordered(self) -> Order | None:
        """The order in force for the route; to hold is to announce nothing anew."""
        orders = sorted(self.orders.items(), key=lambda item: item[0] is not None)
        order = next((order for _, order in orders), None)
        return order.order if order else None

    def earned(self) -> bool:
        """Whether Patroni and the orders give this member the route."""
        return self.says == PRIMARY and self._ordered() in (None, Order.DRAIN)

    def disputed(self) -> bool:
        """Whether an operator is still about to change what is right."""
        return bool(self.disobeyed or self.withdrawing)

    def must(self) -> bool | None:
        """Whether the route must stand, once all is quiet; None where Patroni decides."""
        if self._ordered() in (None, Order.DRAIN):
            return False if self.denied else None
        return self._ordered() is Order.ANNOUNCE

    def wrong(self) -> str | None:
        """The route stands although before_stop, or an operator, was told that it is withdrawn;
        or a confirmed leader has lost it."""
        if self.robbed:
            return "a confirmed leader's route is withdrawn"
        if self.must() is False and self.announced() and not self.disobeyed:
            return "announced"
        return None
