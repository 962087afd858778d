"""Patroni's callbacks as processes, seen from the router."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler

import pytest

from tests.integration.bird import Bird
from tests.integration.exabgp import Exabgp
from tests.integration.patroni import (
    PATRONI_3,
    PRIMARY,
    REPLICA,
    FakePatroni,
    Late,
    Reply,
    body,
    says,
)
from tests.integration.pgcast import Pgcast, kill_after
from tests.integration.waiting import until

ANNOUNCED = {"192.0.2.10/32": 99_993}


@pytest.mark.parametrize("answer", [body(), PATRONI_3])
def test_an_earned_route_is_announced_with_its_fence(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast, answer: object
) -> None:
    """on_role_change primary (master before Patroni 4), confirmed by Patroni."""
    patroni.will_say([says(200, answer)])
    role = answer["role"]  # type: ignore[index]
    code, said = pgcast.callback("on_role_change", role, "main")
    assert code == 0
    assert said.endswith(
        ": 192.0.2.10/32 is announced to 10.9.0.2 with MED 99993: primary on timeline 7"
    )
    bird.wait_table(ANNOUNCED)
    assert patroni.paths == ["/primary"] * 2  # before, and once more after


@pytest.mark.parametrize(
    ("action", "role"),
    [
        ("on_stop", "primary"),
        ("before_stop", "-"),
        ("on_role_change", "replica"),
        ("on_role_change", "demoted"),
        ("on_start", "word-of-tomorrow"),
    ],
)
def test_a_withdrawal_asks_nobody(
    exabgp: Exabgp,
    bird: Bird,
    patroni: FakePatroni,
    pgcast: Pgcast,
    action: str,
    role: str,
) -> None:
    """REST may already be closed: the route goes at once."""
    assert pgcast.callback("on_start", "primary", "main")[0] == 0
    bird.wait_table(ANNOUNCED)
    patroni.paths.clear()
    code, said = pgcast.callback(action, role, "main")
    assert (code, said.partition(": ")[2]) == (0, "withdrew 192.0.2.10/32")
    bird.wait_table({})
    assert patroni.paths == []


def hang(handler: BaseHTTPRequestHandler) -> None:
    handler.server.fake.over.wait(30)  # type: ignore[attr-defined]


def drip(handler: BaseHTTPRequestHandler) -> None:
    """One byte of a header at a time: no single read is ever late."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(100):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        if handler.server.fake.over.wait(0.05):  # type: ignore[attr-defined]
            return


NOT_CONFIRMED: dict[str, tuple[Reply, str]] = {
    "503": (REPLICA, "Patroni says role replica, state running (HTTP 503)"),
    "503 as primary": (
        says(503),
        "Patroni says role primary, state running (HTTP 503)",
    ),
    "200 in recovery": (
        says(200, body(role="replica")),
        "role replica, state running (HTTP 200)",
    ),
    "200 stopping": (
        says(200, body(state="stopping")),
        "role primary, state stopping (HTTP 200)",
    ),
    "200 no timeline": (says(200, body(timeline=None)), "but no timeline"),
    "200 of another scope": (
        says(200, body(patroni={"scope": "x"})),
        "answers for scope 'x', not",
    ),
    "401": (says(401), "Patroni gave no answer to trust (HTTP 401)"),
    "redirected": (says(302), "Patroni gave no answer to trust (HTTP 302)"),
    "no JSON": (says(200, raw=b"<html>"), "Patroni gave no answer to trust (HTTP 200)"),
    "a flood": (
        says(200, raw=b" " * (3 << 20)),
        "an answer of more than 1048576 bytes",
    ),
    "hangs": (hang, "did not answer within 0.4 s"),
    "drips": (drip, "did not answer within 0.4 s"),
}


@pytest.mark.any_version
@pytest.mark.parametrize("name", NOT_CONFIRMED)
def test_what_patroni_does_not_confirm_is_never_announced(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast, name: str
) -> None:
    """It ends by its deadline, with one line that says why."""
    reply, reason = NOT_CONFIRMED[name]
    patroni.will_say([reply])
    start = time.monotonic()
    process = pgcast.start("callback", "on_start", "primary", "main")
    while process.poll() is None:
        assert bird.table() == {}
    _, said = process.communicate()
    assert process.returncode == 75
    assert "192.0.2.10/32 is not announced: after" in said
    assert reason in said
    assert said.count("\n") == 1
    assert (
        time.monotonic() - start < 10
    )  # the deadline is 1 s; the rest is for a busy machine
    bird.wait_table({})


@pytest.mark.any_version
def test_a_closed_port_is_never_announced(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """on_start runs before Patroni has opened its port."""
    patroni.close()
    code, said = pgcast.callback("on_start", "primary", "main")
    assert code == 75
    assert "cannot be asked: Connection refused" in said
    assert bird.table() == {}


@pytest.mark.any_version
def test_a_promotion_is_followed_until_recovery_ends(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """on_role_change primary runs while PostgreSQL is still in recovery."""
    recovering = says(200, body(role="replica", timeline=6))
    patroni.will_say([hang, recovering, recovering, says(200, body(timeline=8))])
    pgcast.document["callback"]["deadline"] = 30
    assert pgcast.callback("on_role_change", "primary", "main")[0] == 0
    bird.wait_table({"192.0.2.10/32": 99_992})


@pytest.mark.any_version
def test_a_route_that_stands_unearned_goes_while_the_callback_waits(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Patroni was killed, came back after ttl, and calls on_start primary, which is false."""
    pgcast.callback("on_start", "primary", "main")
    bird.wait_table(ANNOUNCED)
    patroni.will_say([says(503)])
    pgcast.document["callback"]["deadline"] = 60
    process = pgcast.start("callback", "on_start", "primary", "main")
    bird.wait_table({})
    assert process.poll() is None
    process.kill()
    process.communicate()


@pytest.mark.any_version
def test_unknown_keeps_what_stands(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """A REST API that hangs is no reason to withdraw, and none to announce."""
    pgcast.callback("on_start", "primary", "main")
    patroni.will_say([hang])
    assert pgcast.callback("on_start", "primary", "main")[0] == 75
    bird.wait_table(ANNOUNCED)


def test_a_withdrawal_during_the_question_wins(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """before_stop, which does not kill the callback that asks, acts between its question and its answer.

    The answer was true when it was given. Without the generation it would bring the route back while PostgreSQL stops.
    """
    late = Late()
    patroni.will_say([late, says(200, body(state="stopping"))])
    pgcast.document["clusters"]["main"]["patroni"]["timeout"] = 30
    pgcast.document["callback"]["deadline"] = 2
    process = pgcast.start("callback", "on_role_change", "primary", "main")
    assert late.asked.wait(30)
    assert pgcast.callback("before_stop", "-", "main")[0] == 0
    late.answer_now.set()
    while process.poll() is None:
        assert bird.table() == {}
    assert "state stopping" in process.communicate()[1]
    assert process.returncode == 75
    assert bird.table() == {}


@pytest.mark.any_version
def test_a_withdrawal_during_the_question_wins_without_a_state_directory(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Nobody can tell that somebody acted: what was announced is asked about once more."""
    pgcast.state.rmdir()
    late = Late()
    patroni.will_say([late, says(200, body(state="stopping"))])
    pgcast.document["clusters"]["main"]["patroni"]["timeout"] = 30
    process = pgcast.start("callback", "on_role_change", "primary", "main")
    assert late.asked.wait(30)
    assert pgcast.callback("before_stop", "-", "main")[0] == 0
    late.answer_now.set()
    assert "state stopping" in process.communicate(timeout=30)[1]
    assert process.returncode == 75
    bird.wait_table({})


@pytest.mark.any_version
@pytest.mark.parametrize(
    ("reply", "said", "table"),
    [
        (PRIMARY, "is announced to 10.9.0.2", ANNOUNCED),
        (says(200, body(timeline=9)), "with MED 99991", {"192.0.2.10/32": 99_991}),
        (says(503), "is withdrawn: Patroni says role primary", {}),
        (hang, "is left as it stands: Patroni at", ANNOUNCED),
    ],
)
def test_on_reload_looks_once(
    exabgp: Exabgp,
    bird: Bird,
    patroni: FakePatroni,
    pgcast: Pgcast,
    reply: Reply,
    said: str,
    table: Mapping[str, int | None],
) -> None:
    """on_reload comes to every member at any time: it brings in line what one look tells."""
    pgcast.callback("on_start", "primary", "main")
    bird.wait_table(ANNOUNCED)
    patroni.paths.clear()
    patroni.will_say([reply])
    code, line = pgcast.callback("on_reload", "primary", "main")
    assert code == 0
    assert said in line
    bird.wait_table(table)
    assert len(patroni.paths) == 1 + (
        " announced to " in line
    )  # and once more after that


@pytest.mark.any_version
def test_a_vip_that_is_on_no_interface_is_not_announced(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """Traffic would be dropped; ip_nonlocal_bind, which fools a bind, makes no difference."""
    pgcast.routes[0]["prefix"] = "192.0.2.99/32"
    for nonlocal_bind in ("0", "1"):
        with open("/proc/sys/net/ipv4/ip_nonlocal_bind", "w") as setting:
            setting.write(nonlocal_bind)
        code, said = pgcast.callback("on_start", "primary", "main")
        assert code == 75
        assert "but 192.0.2.99 is on no interface of this host" in said
        assert bird.table() == {}


def test_a_scope_that_is_not_configured(pgcast: Pgcast) -> None:
    """The error says which scopes are."""
    code, said = pgcast.callback("on_start", "primary", "mian")
    assert code == 78
    assert said.endswith(
        "scope 'mian' is not configured: under 'clusters' there is main"
    )


@pytest.mark.parametrize("arguments", [[], ["on_start"], ["a", "b", "c", "d"]])
def test_wrong_arguments(pgcast: Pgcast, arguments: list[str]) -> None:
    """One line with the usage."""
    code, said = pgcast.callback(*arguments)
    assert code == 2
    assert "usage: pgcast-callback [--config FILE] ACTION ROLE SCOPE" in said


def test_a_configuration_that_is_wrong(pgcast: Pgcast) -> None:
    """One line with every mistake, however many."""
    pgcast.document["stat_dir"] = 1
    pgcast.routes[0]["rol"] = 1
    code, said = pgcast.callback("on_stop", "primary", "main")
    assert code == 78
    assert "did you mean 'state_dir'?" in said
    assert "did you mean 'role'?" in said


def test_two_address_families_and_local_preference(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """An IPv6 route over an IPv4 session needs its next-hop named; both go in one exchange."""
    pgcast.routes.append(
        {
            "prefix": "2001:db8::10/128",
            "role": "primary",
            "next_hop": "2001:db8::10",
            "fence": {"attribute": "med", "base": 2000},
        }
    )
    assert pgcast.callback("on_start", "primary", "main")[0] == 0
    bird.wait_table({**ANNOUNCED, "2001:db8::10/128": 1993})
    assert pgcast.callback("on_stop", "primary", "main")[0] == 0
    bird.wait_table({})


def test_only_configured_prefixes_are_touched(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """What somebody else announces through the same ExaBGP stays."""
    exabgp.write("announce route 192.0.2.11/32 next-hop self med 5")
    bird.wait_table({"192.0.2.11/32": 5})
    pgcast.callback("on_start", "primary", "main")
    bird.wait_table({"192.0.2.11/32": 5, **ANNOUNCED})
    pgcast.callback("on_stop", "primary", "main")
    bird.wait_table({"192.0.2.11/32": 5})


@pytest.mark.any_version
@pytest.mark.parametrize("damage", ["missing", "a file", "read-only"])
def test_without_a_state_directory_the_route_still_moves(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast, damage: str
) -> None:
    """It is said, and costs time, but neither an announcement nor a withdrawal fails."""
    if damage == "read-only":
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", pgcast.state], check=True
        )
    else:
        pgcast.state.rmdir()
        if damage == "a file":
            pgcast.state.touch()
    try:
        for action, table in (("on_start", ANNOUNCED), ("on_stop", {})):
            code, said = pgcast.callback(action, "primary", "main")
            assert code == 0
            assert f"; state file {pgcast.state}/" in said
            bird.wait_table(table)
    finally:
        if damage == "read-only":
            subprocess.run(["umount", pgcast.state], check=True)


def test_kill_9_at_any_moment_is_put_right_by_the_next_callback(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Callbacks that announce are killed all along their life; the one behind them always has the last word."""
    pgcast.document["callback"]["deadline"] = 30
    start = time.monotonic()
    assert pgcast.callback("on_start", "primary", "main")[0] == 0
    whole = time.monotonic() - start
    announced = 0
    for step in range(16):
        process = pgcast.start("callback", "on_start", "primary", "main")
        # the moment of the kill is the point of this test, not a condition to wait for
        kill_after(process, whole * step / 12)
        announced += process.returncode == 0
        action, table = (("on_stop", {}), ("on_start", ANNOUNCED))[step % 2]
        code, said = pgcast.callback(action, "primary", "main")
        assert code == 0, said
        bird.wait_table(table)
    assert announced < 16


@pytest.mark.any_version
def test_patroni_kills_the_callback_that_still_waits(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """on_role_change primary is waiting for recovery to end when on_stop is due."""
    patroni.will_say([says(200, body(role="replica"))])
    pgcast.document["callback"]["deadline"] = 60
    process = pgcast.start("callback", "on_role_change", "primary", "main")
    until(lambda: len(patroni.paths) > 2, "some questions")
    process.kill()
    process.communicate()
    assert pgcast.callback("on_stop", "primary", "main")[0] == 0
    patroni.will_say([PRIMARY])
    bird.wait_table({})


def test_help(pgcast: Pgcast) -> None:
    """Asked for, it is data and no error."""
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "from pgcast_hooks.callback import main; main(['--help'])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.startswith(
        "usage: pgcast-callback [--config FILE] ACTION ROLE SCOPE"
    )
    assert result.stderr == ""
