"""What a person finds in the history afterwards: who moved a route, why, and who said no."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from pgcast_hooks.history import History
from pgcast_hooks.model import LastPass
from pgcast_hooks.state import State
from tests.integration.bird import Bird
from tests.integration.exabgp import PIPE, Exabgp, make_pipe
from tests.integration.patroni import REPLICA, FakePatroni, says
from tests.integration.pgcast import Pgcast
from tests.integration.test_reconcile import ANNOUNCED, running
from tests.integration.waiting import until

pytestmark = pytest.mark.any_version
ANNOUNCE = "announce route 192.0.2.10/32 next-hop self med 99993"
WITHDRAW = "withdraw route 192.0.2.10/32"
ORDER = "order to withdraw by root: no reason given"
EARNED = "primary on timeline 7"
DENIED = "Patroni says role replica, state running (HTTP 503)"


def told(pgcast: Pgcast, *keys: str) -> list[tuple[Any, ...]]:
    """Of each event: cause, trigger, want, observation, result; or what is asked for."""
    keys = keys or ("cause", "trigger", "want", "observation", "result")
    history = History(str(pgcast.state))
    found = list(history.read())
    assert (history.trouble, history.skipped) == (None, 0)
    for event in found:
        assert (event["user"], event["scope"]) == ("root", "main")
        assert event["prefix"] == "192.0.2.10/32"
        assert 0 < event["milliseconds"] < 60_000
    return [tuple(event[key] for key in keys) for event in found]


def test_a_switchover(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast, tmp_path: Path
) -> None:
    """On the old leader's host and on the new one's."""
    (tmp_path / "new").mkdir()
    new = Pgcast(tmp_path / "new", patroni.url)
    for arguments in (
        ("before_stop", "-", "main"),
        ("on_stop", "demoted", "main"),
        ("on_role_change", "replica", "main"),
    ):
        assert pgcast.callback(*arguments)[0] == 0
    assert new.callback("on_role_change", "primary", "main")[0] == 0
    bird.wait_table(ANNOUNCED)
    assert told(pgcast) == [
        ("callback", "before_stop - main", WITHDRAW, None, "changed"),
        ("callback", "on_stop demoted main", WITHDRAW, None, "unchanged"),
        ("callback", "on_role_change replica main", WITHDRAW, None, "unchanged"),
    ]
    assert told(new) == [
        ("callback", "on_role_change primary main", ANNOUNCE, EARNED, "changed")
    ]


def test_what_changed_nothing(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """It is told, and neither counted as a change nor shown as the last one; what the
    reconciler had to mend in between makes the next one a change."""
    for _ in range(3):
        assert pgcast.callback("on_reload", "primary", "main")[0] == 0
    results = ["changed", "unchanged", "unchanged"]
    assert told(pgcast, "result") == [(result,) for result in results]
    assert pgcast.run("withdraw", "main", "--reason", "disk")[0] == 0
    assert pgcast.callback("on_reload", "primary", "main")[0] == 0
    out = " ".join(pgcast.run("status")[1].split())
    assert "operator by root, pgcast withdraw main --reason disk: withdraw" in out
    exabgp.write("announce route 192.0.2.10/32 next-hop self")
    bird.wait_table({"192.0.2.10/32": None})
    assert pgcast.run("reconcile")[0] == 0
    assert pgcast.run("withdraw", "main")[0] == 0
    assert pgcast.run("auto", "main")[0] == 0
    results += ["changed", "unchanged", "changed", "unchanged", "changed"]
    assert told(pgcast, "result") == [(result,) for result in results]
    assert History(str(pgcast.state)).counts()["callback", "changed"] == 1


def test_a_refused_announcement(
    exabgp: Exabgp, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Patroni said role replica: what stood, if anything, goes, and the end is a refusal."""
    patroni.will_say([REPLICA])
    assert pgcast.callback("on_start", "primary", "main")[0] == 75
    assert pgcast.run("auto", "main", "192.0.2.10/32")[0] == 0
    callback = ("callback", "on_start primary main")
    operator = ("operator", "pgcast auto main 192.0.2.10/32")
    assert told(pgcast) == [
        (*callback, WITHDRAW, DENIED, "changed"),
        (*callback, None, DENIED, "refused"),
        (*operator, WITHDRAW, DENIED, "unchanged"),
        (*operator, None, DENIED, "refused"),
    ]
    took = [event[0] for event in told(pgcast, "milliseconds")]
    assert took[0] < 1000 < took[1]  # the deadline is 1 s


def test_what_is_not_known_is_a_refusal_too(
    exabgp: Exabgp, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """on_reload looks once, and leaves alone what Patroni does not tell."""
    patroni.will_say([says(401)])
    assert pgcast.callback("on_reload", "primary", "main")[0] == 0
    why = "Patroni gave no answer to trust (HTTP 401)"
    assert told(pgcast) == [
        ("callback", "on_reload primary main", None, why, "refused")
    ]


def test_by_hand(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """What an operator did, and `pgcast history` that shows it."""
    assert pgcast.run("auto", "main")[0] == 0
    assert pgcast.run("withdraw", "main")[0] == 0
    assert told(pgcast) == [
        ("operator", "pgcast auto main", ANNOUNCE, EARNED, "changed"),
        ("operator", "pgcast withdraw main", WITHDRAW, ORDER, "changed"),
    ]
    code, out, err = pgcast.run("history")
    assert (code, err, out.count("\n")) == (0, "", 2)
    assert (
        f"192.0.2.10/32  changed: withdraw; {ORDER} (pgcast withdraw main, root" in out
    )


def test_a_repair(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """What differed, and why it had to be changed; a pass with nothing to do is no event."""
    for _ in range(3):
        assert pgcast.run("reconcile")[0] == 0
    bird.wait_table(ANNOUNCED)
    assert told(pgcast) == [
        ("reconcile", "pgcast reconcile", ANNOUNCE, EARNED, "changed")
    ]
    assert told(pgcast, "have", "error") == [
        ("192.0.2.10/32 is withdrawn, must be announced", None)
    ]
    assert pgcast.run("reconcile", "--dry-run")[0] == 0
    exabgp.write(WITHDRAW)
    bird.wait_table({})
    assert "write" in pgcast.run("reconcile", "--dry-run")[1]
    assert len(told(pgcast)) == 1  # a dry run does nothing, and says nothing


def test_an_exabgp_that_does_not_answer(exabgp: Exabgp, pgcast: Pgcast) -> None:
    """The withdrawal was tried; how it stands is not known."""
    pgcast.document["exabgp"]["timeout"] = 0.3
    with exabgp.stopped():
        assert pgcast.callback("on_stop", "primary", "main")[0] == 69
        assert pgcast.run("reconcile")[0] == 69
        assert pgcast.run("reconcile")[0] == 69  # the same trouble: no event again
    assert told(pgcast) == [
        ("callback", "on_stop primary main", WITHDRAW, None, "failed"),
        ("reconcile", "pgcast reconcile", None, None, "failed"),
    ]
    for (error,) in told(pgcast, "error"):
        assert "did not answer them all within" in error


def test_an_exabgp_that_is_not_there_fails_once(
    patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """However often a callback tries it again until its deadline."""
    make_pipe()
    pgcast.document["exabgp"]["timeout"] = 0.05
    assert pgcast.callback("on_start", "primary", "main")[0] == 69
    assert len(patroni.paths) >= 3
    assert told(pgcast) == [
        ("callback", "on_start primary main", ANNOUNCE, EARNED, "failed")
    ]
    ((error,),) = told(pgcast, "error")
    assert f"ExaBGP is not reading {PIPE}.in" in error


def test_the_loop_tells_of_trouble_when_it_begins(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Not at each pass; and each pass leaves how it went."""
    state = State(str(pgcast.state))
    pgcast.document["reconcile"] = {"unreachable_grace": 600}
    unknown = "Patroni gave no answer to trust (HTTP 401)"

    def passes(trouble: tuple[str, ...], count: int = 5) -> None:
        """Wait for some that met this, and whose events are written."""
        asked = len(patroni.paths)
        until(lambda: len(patroni.paths) > asked + count, "some passes")
        until(lambda: (done := state.last_pass()) and done.trouble == trouble, "one")

    with running(pgcast, "--withdraw-on-exit") as process:
        bird.wait_table(ANNOUNCED)
        passes(())
        for _ in range(2):
            patroni.will_say([says(401)])
            passes((f"main: {unknown}",))
            patroni.will_say([says()])
            passes(())
        done = state.last_pass()
        assert done
        assert (done.changed, done.interval) == (0, 0.2)
        assert 0 <= done.ago < 30
        assert 0 < done.milliseconds < 10_000
        process.terminate()
        assert process.wait(30) == 0
    loop = ("reconcile", "pgcast reconcile --interval 0.2 --withdraw-on-exit")
    assert told(pgcast) == [
        (*loop, ANNOUNCE, EARNED, "changed"),
        (*loop, None, unknown, "refused"),
        (*loop, None, unknown, "refused"),
        (*loop, WITHDRAW, "the reconciler ends", "changed"),
    ]


def test_one_pass_leaves_how_it_went(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """What it changed, and its trouble; a dry run is no pass."""
    state = State(str(pgcast.state))
    assert pgcast.run("reconcile", "--dry-run")[0] == 0
    assert state.last_pass() is None
    assert pgcast.run("reconcile")[0] == 0
    done = state.last_pass()
    assert done
    assert (done.changed, done.trouble, done.interval) == (1, (), None)
    exabgp.stop()
    try:
        pgcast.document["exabgp"]["timeout"] = 0.05
        code, _, err = pgcast.run("reconcile")
        assert code == 69
        done = state.last_pass()
        assert done
        assert done.changed == 0
        assert [f"pgcast: {line}\n" for line in done.trouble] == [err]
    finally:
        exabgp.start()
        bird.wait_established()


def test_a_history_that_cannot_be_written_keeps_no_route(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """It is told in the report, and that is all."""
    (pgcast.state / "history").mkdir()
    trouble = f"history file {pgcast.state}/history cannot be used: Is a directory"
    code, said = pgcast.callback("on_start", "primary", "main")
    assert (code, said.partition("; ")[2]) == (0, trouble)
    bird.wait_table(ANNOUNCED)
    assert pgcast.withdraw() == (0, f"withdrew 192.0.2.10/32; {trouble}")
    bird.wait_table({})
    code, out, err = pgcast.run("reconcile")
    assert (code, out) == (0, "")
    assert err.splitlines()[1:] == [f"pgcast: {trouble}"]


def test_milliseconds_count_from_the_start_of_the_process(
    exabgp: Exabgp, pgcast: Pgcast
) -> None:
    """The interpreter's start included, which is most of a callback."""
    before = time.monotonic()
    assert pgcast.withdraw()[0] == 0
    whole = (time.monotonic() - before) * 1000
    ((took,),) = told(pgcast, "milliseconds")
    assert whole / 5 < took < whole + 20


LONG_PIPE = "/run/" + "nowhere/" * 50 + "exabgp.in"


def test_a_long_trouble_begins_once(pgcast: Pgcast, patroni: FakePatroni) -> None:
    """Longer than what the record of a pass keeps of it, for whom the record is all."""
    pgcast.document["exabgp"] = {"pipe": LONG_PIPE, "timeout": 0.2}
    for _ in range(3):
        assert pgcast.run("reconcile")[0] != 0
    assert told(pgcast, "result") == [("failed",)]


def test_without_a_record_the_loop_remembers(
    pgcast: Pgcast, patroni: FakePatroni
) -> None:
    """What began is one event, though no pass leaves how it went."""
    (pgcast.state / "last-pass").mkdir()
    pgcast.document["exabgp"] = {"pipe": LONG_PIPE, "timeout": 0.2}
    with running(pgcast):
        until(lambda: len(patroni.paths) > 8, "some passes")
    assert told(pgcast, "result") == [("failed",)]


@pytest.mark.parametrize(("ago", "hidden"), [(2.0, False), (50.0, False), (70.0, True)])
def test_a_dead_loop_is_not_hidden(
    pgcast: Pgcast, patroni: FakePatroni, ago: float, hidden: bool
) -> None:
    """By a pass that somebody makes by hand; a timer is told from it after a while."""
    make_pipe()
    pgcast.document["exabgp"]["timeout"] = 0.05
    state = State(str(pgcast.state))
    for _ in range(2):
        state.note_pass(LastPass(ago, 1.0, 0, (), 0.2))
        pgcast.run("reconcile")
        done = state.last_pass()
        assert done
        assert (done.interval is None) == hidden


def test_an_operator_s_pass_is_no_timer_s(pgcast: Pgcast, patroni: FakePatroni) -> None:
    """Where nothing reconciles, the end of a maintenance does not look like it."""
    make_pipe()
    pgcast.document["exabgp"]["timeout"] = 0.05
    assert pgcast.run("maintenance", "off")[0] == 69
    assert State(str(pgcast.state)).last_pass() is None
