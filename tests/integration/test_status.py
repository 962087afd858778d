"""`pgcast status` as a process: its whole output and exit code, with every source in turn missing."""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest

from pgcast_hooks.model import LastPass, Order, Override
from pgcast_hooks.override import Overrides
from pgcast_hooks.state import State
from tests.integration.bird import Bird
from tests.integration.exabgp import PIPE, Exabgp
from tests.integration.patroni import (
    PRIMARY,
    REPLICA,
    FakePatroni,
    body,
    cluster,
    hang,
    says,
)
from tests.integration.pgcast import Pgcast
from tests.integration.terminal import Terminal
from tests.integration.waiting import until

ANNOUNCED = {"192.0.2.10/32": 99_993}
README = Path(__file__).parents[2] / "README.md"
TAIL = """
   BGP neighbors
     address   session      hold time  AS     for
     10.9.0.2  established  ~        65000  ~

   host HOST
     ExaBGP       VERSION on /run/exabgp/exabgp.in
     reconciler   no loop runs, no pass is known
     maintenance  off
     state        STATE
"""


@pytest.fixture(autouse=True)
def members(patroni: FakePatroni) -> None:
    """Patroni knows of two members."""
    patroni.will_say([says(200, cluster())], "/cluster")


def still(text: str, pgcast: Pgcast) -> str:
    """Output without what differs from run to run, and each paragraph on one line."""
    for found, name in (
        (r"\n {10,}", " "),
        (str(pgcast.state), "STATE"),
        (os.uname().nodename, "HOST"),
        (r"127\.0\.0\.1:\d+", "PATRONI"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( \([^)]* ago\))?", "WHEN"),
        (r"\d+(\.\d+)? (s|min|h|d|ms)\b( \d+ (s|min|h)\b)?", "~"),
        (r"(?<=ExaBGP       )\d\S+", "VERSION"),
        ("next-hop self", "next-hop 10.9.0.1"),
    ):
        text = re.sub(found, name, text)
    return text


def status(pgcast: Pgcast, *arguments: str, uid: int = 0) -> tuple[int, str]:
    """Exit code and output; nothing is on stderr, and no line is too long."""
    process = pgcast.start("cli", "status", *arguments, uid=uid)
    out, err = process.communicate(timeout=60)
    assert err == ""
    assert max(map(len, out.splitlines())) <= 100
    return process.returncode, still(out, pgcast)


def route(verdict: str, *lines: str, level: str = "", patroni: str = "") -> str:
    """The part of the output that is about the route and its cluster."""
    told = patroni or (
        "     Patroni      pg1: primary, running, timeline 7; answered now\n"
        "     members      leader pg1, of 2; the furthest behind by 16 kB"
    )
    return "\n".join(
        [
            f"{level:<3}192.0.2.10/32  main primary  {verdict}",
            "",
            "   cluster main",
            told,
            "     192.0.2.10/32",
            *lines,
            "",
        ]
    )


WANTED = "       wanted       announced (MED 99993): primary on timeline 7"
STANDS = "       stands       to 10.9.0.2 (MED 99993), next-hop 10.9.0.1"
CHANGED = (
    "       changed      WHEN callback, on_start primary main: announce route 192.0.2.10/32"
    " next-hop 10.9.0.1 med 99993"
)
NOWHERE = "       stands       in Adj-RIB-Out for no neighbor"
GOOD = "   HOST: all is as it must be\n\n"
AS_IT_MUST_BE = "ANNOUNCED to 10.9.0.2 (MED 99993)  as it must be"


def test_all_is_well(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """One look, on each version of ExaBGP."""
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    assert status(pgcast) == (
        0,
        GOOD + route(AS_IT_MUST_BE, WANTED, STANDS, CHANGED) + TAIL,
    )


def test_a_look_leaves_no_trace(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """No generation is raised, the grace is not lengthened, nothing is repaired."""
    assert status(pgcast)[0] == 75
    assert bird.table() == {}
    assert list(pgcast.state.iterdir()) == []
    pgcast.announce()
    kept = {
        path.name: path.read_text()
        for path in pgcast.state.iterdir()
        if path.name != "unread-marks"
    }
    assert kept.keys() >= {"generation", "known-primary-main"}
    assert status(pgcast)[0] == 0
    for name, text in kept.items():
        assert (pgcast.state / name).read_text() == text


@pytest.mark.any_version
def test_what_differs(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Missing, with the wrong fence, standing unearned; 75 each."""
    wrong = "!! HOST: 1 not as it must be\n\n"
    verdict = "WITHDRAWN  MUST BE ANNOUNCED (MED 99993)"
    nowhere = NOWHERE.replace("  ", "!!", 1)
    assert status(pgcast) == (
        75,
        wrong + route(verdict, WANTED, nowhere, level="!!") + TAIL,
    )
    exabgp.write("announce route 192.0.2.10/32 next-hop self med 5")
    bird.wait_table({"192.0.2.10/32": 5})
    verdict = "ANNOUNCED to 10.9.0.2 (MED 5)  MUST BE ANNOUNCED (MED 99993)"
    stands = STANDS.replace("  ", "!!", 1).replace("99993", "5")
    assert status(pgcast) == (
        75,
        wrong + route(verdict, WANTED, stands, level="!!") + TAIL,
    )
    patroni.will_say([REPLICA])
    patroni.will_say([says(200, body(role="replica"))], "/patroni")
    code, out = status(pgcast)
    assert code == 75
    assert "ANNOUNCED to 10.9.0.2 (MED 5)  MUST BE WITHDRAWN\n" in out


@pytest.mark.any_version
def test_a_replica(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """It announces nothing, as it must be; --cluster shows who leads, and how far it is behind."""
    local = {"version": "4.1.5", "scope": "main", "name": "pg2"}
    said = body(role="replica", patroni=local, replication_state="streaming")
    patroni.will_say([says(503, said)])
    patroni.will_say([says(200, {**said, "pause": True})], "/patroni")
    patroni.will_say([says(200, cluster(pause=True))], "/cluster")
    told = (
        "     Patroni      pg2: replica, running, timeline 7, streaming, lag 16 kB,"
        " PAUSED: it fails over by itself no more; answered now\n"
        "     members      leader pg1, of 2; the furthest behind by 16 kB; PAUSED\n"
    )
    table = (
        "     name  role     state      TL  lag    host, tags\n"
        "     pg1   leader   running    7   -      10.0.0.11\n"
        "     pg2   replica  streaming  7   16 kB  10.0.0.12, nofailover: true"
    )
    wanted = "       wanted       withdrawn: Patroni says role replica, state running (HTTP 503)"
    assert status(pgcast, "--cluster") == (
        0,
        GOOD
        + route("WITHDRAWN  as it must be", wanted, NOWHERE, patroni=told + table)
        + TAIL,
    )


@pytest.mark.any_version
def test_a_hung_patroni(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """The rest is shown; what stands is left for the grace, which the look does not lengthen."""
    pgcast.document["reconcile"] = {"unreachable_grace": 600}
    pgcast.announce()
    for path in ("", "/cluster"):
        patroni.will_say([hang], path)
    silent = (
        "??   no answer    Patroni at http://PATRONI/primary did not answer within ~;"
        " last known ~ ago"
    )
    wanted = (
        "       wanted       left as it stands for ~ at most: Patroni gives no answer,"
        " unreachable_grace is ~"
    )
    verdict = "ANNOUNCED to 10.9.0.2 (MED 99993)  left as it stands for ~ at most"
    unknown = "?? HOST: 2 not known\n\n"
    expected = route(verdict, wanted, STANDS, CHANGED, level="??", patroni=silent)
    assert status(pgcast) == (69, unknown + expected + TAIL)
    pgcast.document["reconcile"] = {"unreachable_grace": 0.01}
    code, out = status(pgcast)
    assert code == 75
    assert "ANNOUNCED to 10.9.0.2 (MED 99993)  MUST BE WITHDRAWN\n" in out
    pgcast.document["reconcile"]["on_unreachable"] = "keep"
    code, out = status(pgcast)
    assert code == 69
    assert "left as it stands: Patroni gives no answer, on_unreachable is keep" in out


@pytest.mark.any_version
def test_a_patroni_that_refuses(
    exabgp: Exabgp, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Nothing stands, and nothing must: but a source is missing."""
    patroni.close()
    silent = (
        "??   no answer    Patroni at http://PATRONI/primary cannot be asked: Connection refused;"
        " never known since the host's boot"
    )
    wanted = (
        "       wanted       withdrawn: Patroni gives no answer, unreachable_grace is ~"
    )
    expected = route("WITHDRAWN  as it must be", wanted, NOWHERE, patroni=silent)
    assert status(pgcast) == (69, "?? HOST: 1 not known\n\n" + expected + TAIL)


@pytest.mark.any_version
@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (hang, "/cluster did not answer within ~"),
        (says(404), "/cluster gave no answer to understand (HTTP 404)"),
        (says(raw=b"<html>"), "/cluster gave no answer to understand (HTTP 200)"),
    ],
)
def test_a_store_that_hangs(
    exabgp: Exabgp, patroni: FakePatroni, pgcast: Pgcast, reply: object, said: str
) -> None:
    """Patroni answers for itself, but not for the cluster, which it has to look up."""
    pgcast.announce()
    patroni.will_say([reply], "/cluster")  # type: ignore[list-item]
    told = (
        "     Patroni      pg1: primary, running, timeline 7; answered now\n"
        f"??   no answer    Patroni at http://PATRONI{said}"
    )
    expected = route(AS_IT_MUST_BE, WANTED, STANDS, CHANGED, patroni=told)
    assert status(pgcast) == (69, "?? HOST: 1 not known\n\n" + expected + TAIL)


@pytest.mark.any_version
def test_an_answer_that_lies(
    exabgp: Exabgp, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Fields of any type, and words that would command the terminal."""
    member = {"name": ["pg1"], "role": 7, "timeline": "7", "lag": "unknown", "tags": 1}
    patroni.will_say([says(200, cluster(member, {"name": "a\033[2Jb"}))], "/cluster")
    patroni.will_say([says(200, body(role="\033[2J", timeline=[]))], "/patroni")
    code, out = status(pgcast, "--cluster")
    assert code == 75
    assert "\033" not in out
    assert "Patroni      pg1: ?[2J, running; answered now" in out
    assert "members      NO LEADER, of 2" in out
    assert "a?[2Jb   unknown  unknown  -   -    -" in out
    assert "unknown  unknown  unknown  -   -    -" in out


@pytest.mark.any_version
def test_a_vip_that_is_missing_is_wrong(exabgp: Exabgp, pgcast: Pgcast) -> None:
    """The leader does not announce, and has its reason: nobody serves."""
    pgcast.routes[0]["prefix"] = "192.0.2.99/32"
    code, out = status(pgcast)
    assert code == 75
    assert (
        "!! 192.0.2.99/32  main primary  WITHDRAWN: primary on timeline 7, but 192.0.2.99"
        " is on no interface of this host\n"
    ) in out


@pytest.mark.any_version
def test_a_foreign_route(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """It is told, and is nobody's fault."""
    pgcast.announce()
    exabgp.write("announce route 198.51.100.0/24 next-hop 10.9.0.1")
    bird.wait_table({**ANNOUNCED, "198.51.100.0/24": None})
    code, out = status(pgcast)
    told = "     not ours     198.51.100.0/24: announced, but not configured; pgcast leaves that alone\n"
    assert (code, out) == (
        0,
        GOOD + route(AS_IT_MUST_BE, WANTED, STANDS, CHANGED) + TAIL + told,
    )


REASON = ("--reason", "new disk")


@pytest.mark.any_version
@pytest.mark.parametrize(
    ("command", "what", "why"),
    [
        (("withdraw", "main", "--for", "1h", *REASON), "withdraw", "an order"),
        (
            ("maintenance", "on", "--for", "1h", *REASON),
            "the whole host",
            "maintenance of the host",
        ),
    ],
)
def test_an_override(
    exabgp: Exabgp,
    bird: Bird,
    pgcast: Pgcast,
    command: tuple[str, ...],
    what: str,
    why: str,
) -> None:
    """Who set it, when, why, and how long is left; it decides what must be."""
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    assert pgcast.run(*command)[0] == 0
    bird.wait_table({})
    told = f"{what}: new disk; set by root at WHEN; ~ left"
    typed = shlex.join(["pgcast", *command])
    changed = f"WHEN operator by root, {typed}: withdraw route 192.0.2.10/32"
    expected = route(
        "WITHDRAWN  as ordered, ~ left",
        f"       wanted       withdrawn: {why} says so",
        "       Patroni      primary on timeline 7",
        f"       override     {told}",
        NOWHERE,
        f"       changed      {changed}",
    )
    whole_host = command[0] == "maintenance"
    tail = TAIL.replace("maintenance  off", f"maintenance  {told}")
    expected += tail if whole_host else TAIL
    assert status(pgcast) == (0, GOOD + expected)
    exabgp.write("announce route 192.0.2.10/32 next-hop self med 99993")
    bird.wait_table(ANNOUNCED)
    code, out = status(pgcast)
    assert code == 75
    assert "ANNOUNCED to 10.9.0.2 (MED 99993)  MUST BE WITHDRAWN\n" in out


ANNOUNCE = ("announce", "main", "--for", "1h", "--reason", "Patroni is wrong", "--yes")
REPLICA_SAYS = "Patroni says role replica, state running (HTTP 503)"


@pytest.mark.any_version
def test_an_override_that_announces(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Against Patroni's word it is the last resort, and no other MED is as it must be."""
    patroni.will_say([REPLICA])
    assert pgcast.run(*ANNOUNCE)[0] == 0
    bird.wait_table({"192.0.2.10/32": 100_000})
    expected = route(
        "ANNOUNCED to 10.9.0.2 (MED 100000)  as ordered, ~ left",
        "       wanted       announced (MED 100000): an order says so",
        f"       Patroni      {REPLICA_SAYS}",
        "       override     announce: Patroni is wrong; set by root at WHEN; ~ left",
        STANDS.replace("99993", "100000"),
        f"       changed      WHEN operator by root, {shlex.join(['pgcast', *ANNOUNCE])}:"
        " announce route 192.0.2.10/32 next-hop 10.9.0.1 med 100000",
        patroni=(
            "     Patroni      pg1: replica, running, timeline 7; answered now\n"
            "     members      leader pg1, of 2; the furthest behind by 16 kB"
        ),
    )
    assert status(pgcast) == (0, GOOD + expected + TAIL)
    exabgp.write("announce route 192.0.2.10/32 next-hop self med 5")
    bird.wait_table({"192.0.2.10/32": 5})
    code, out = status(pgcast)
    assert code == 75
    verdict = "ANNOUNCED to 10.9.0.2 (MED 5)  MUST BE ANNOUNCED (MED 100000)\n"
    assert verdict in out


@pytest.mark.any_version
def test_an_override_that_nobody_can_follow(
    exabgp: Exabgp, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """An operator who orders an announcement, and gets none, is told why."""
    patroni.will_say([REPLICA])
    pgcast.routes[0]["prefix"] = "192.0.2.99/32"
    pgcast.run(*ANNOUNCE)
    code, out = status(pgcast)
    assert code == 75
    assert (
        "!! 192.0.2.99/32  main primary  WITHDRAWN: order to announce by root: Patroni is"
        f" wrong; {REPLICA_SAYS}, but 192.0.2.99 is on no interface of this host\n"
    ) in out


@pytest.fixture
def short_path(pgcast: Pgcast) -> Iterator[None]:
    """A state directory whose files' names are not too long for a line."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        pgcast.state = Path(directory)
        pgcast.document["state_dir"] = directory
        yield


@pytest.mark.any_version
def test_an_override_that_is_damaged(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast, short_path: None
) -> None:
    """What it said is not known: what stands may stand, and Patroni may still withdraw."""
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    (pgcast.state / "override-192.0.2.10_32").write_text("{")
    damaged = "override STATE/override-192.0.2.10_32 is damaged"
    held = f"{damaged}: nothing is announced anew until 'pgcast auto'"
    expected = route(
        "ANNOUNCED to 10.9.0.2 (MED 99993)  left as it stands",
        f"       wanted       left as it stands: {held}",
        "       Patroni      primary on timeline 7",
        f"       override     {held}",
        STANDS,
        CHANGED,
        level="??",
    )
    tail = TAIL.replace("     state        STATE", f"??   state        {damaged}")
    assert status(pgcast) == (69, "?? HOST: 2 not known\n\n" + expected + tail)
    code, out, _ = pgcast.run("status", "--json")
    override = json.loads(out)["clusters"][0]["routes"][0]["override"]
    assert (code, override["order"], override["since"]) == (69, "hold", None)
    patroni.will_say([REPLICA])
    assert pgcast.run("reconcile")[0] == 0
    bird.wait_table({})
    code, out = status(pgcast)
    assert code == 69
    assert "   192.0.2.10/32  main primary  WITHDRAWN  as it must be\n" in out


@pytest.mark.any_version
def test_the_last_change_and_the_last_pass(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """With the cause of the one, and the trouble of the other; a refusal changes nothing."""
    pgcast.announce()
    pgcast.document["callback"]["deadline"] = 0.2
    patroni.will_say([REPLICA])
    assert pgcast.callback("on_role_change", "primary", "main")[0] == 75
    bird.wait_table({})
    events = pgcast.run("history", "--json")[1].splitlines()
    results = [json.loads(event)["result"] for event in events]
    assert results == ["changed", "changed", "refused"]
    patroni.will_say([PRIMARY])
    state = State(str(pgcast.state))
    state.note_pass(LastPass(0.0, 12.0, 2, (), None))
    wrong = "!! HOST: 1 not as it must be\n\n"
    verdict = "WITHDRAWN  MUST BE ANNOUNCED (MED 99993)"
    nowhere = NOWHERE.replace("  ", "!!", 1)
    changed = (
        "       changed      WHEN callback, on_role_change primary main:"
        " withdraw route 192.0.2.10/32"
    )
    tail = TAIL.replace("no loop runs, no pass is known", "no loop runs; LAST")
    assert status(pgcast) == (
        75,
        wrong
        + route(verdict, WANTED, nowhere, changed, level="!!")
        + tail.replace("LAST", "the last ~ ago, ~, 2 changed"),
    )
    assert pgcast.run("reconcile")[0] == 0
    bird.wait_table(ANNOUNCED)
    changed = CHANGED.replace(
        "callback, on_start primary main", "reconcile, pgcast reconcile"
    )
    assert status(pgcast) == (
        0,
        GOOD
        + route(AS_IT_MUST_BE, WANTED, STANDS, changed)
        + tail.replace("LAST", "the last ~ ago, ~, 1 changed"),
    )
    state.note_pass(LastPass(0.0, 12.0, 0, ("main: Patroni gave no answer",), None))
    code, out = status(pgcast)
    assert code == 69
    assert "nothing to change; main: Patroni gave no answer\n" in out
    state.note_pass(LastPass(0.0, 12.0, 0, (), 2.0))
    code, out = status(pgcast)
    assert code == 75
    assert (
        "!!   reconciler   the loop is GONE, a pass every ~; the last ~ ago, ~, nothing to"
        " change; what no callback tells is NOT REPAIRED\n"
    ) in out


@pytest.mark.any_version
def test_the_loop_that_runs(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """Its process is named, and looking at its lock takes it from nobody."""
    loop = pgcast.start("cli", "reconcile", "--interval", "0.2")
    try:
        bird.wait_table(ANNOUNCED)
        code, out = status(pgcast)
        assert code == 0
        assert f"reconciler   process {loop.pid}" in out
    finally:
        loop.kill()
        loop.communicate()
    watch = pgcast.start("cli", "status", "--watch=0.1")
    try:
        for _ in range(5):
            assert pgcast.run("reconcile") == (0, "", "")
    finally:
        watch.kill()
        watch.communicate()


@pytest.mark.any_version
def test_a_state_directory_that_cannot_be_read(
    exabgp: Exabgp, patroni: FakePatroni, pgcast: Pgcast, tmp_path: Path
) -> None:
    """Of somebody else: what Patroni and ExaBGP say is shown all the same."""
    pgcast.announce()
    pgcast.state.chmod(0o700)
    for directory in [tmp_path, *tmp_path.parents][:3]:
        directory.chmod(0o755)
    for end in ("in", "out"):
        os.chmod(f"{PIPE}.{end}", 0o666)
    code, out = status(pgcast, uid=65534)
    assert code == 69
    assert "ANNOUNCED to 10.9.0.2 (MED 99993)" in out
    assert "pg1: primary, running, timeline 7; answered now" in out
    assert STANDS in out
    lines = [line for line in out.splitlines() if line.startswith("??   state  ")]
    assert any(re.search(r"STATE/.*Permission denied", line) for line in lines), out


@pytest.mark.any_version
def test_a_missing_state_directory(exabgp: Exabgp, pgcast: Pgcast) -> None:
    """The last known answer, the overrides and the history are unknown."""
    pgcast.state.rmdir()
    code, out = status(pgcast)
    assert code == 75
    assert (
        "??   state        state file STATE/unread-marks cannot be used: No such" in out
    )


@pytest.mark.any_version
def test_of_two_clusters_one_hangs(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Twenty of them, in fact, for 2 s each: it takes not much more than that."""
    pgcast.announce()
    with FakePatroni() as hung:
        hung.will_say([hang])
        for number in range(20):
            other = copy.deepcopy(pgcast.document["clusters"]["main"])
            other["patroni"] = {"url": hung.url, "timeout": 2}
            other["routes"][0]["prefix"] = f"198.51.100.{number}/32"
            pgcast.document["clusters"][f"hung{number}"] = other
        start = time.monotonic()
        code, out = status(pgcast)
        assert time.monotonic() - start < 15  # one after the other would take 120 s
    assert code == 69
    assert out.count("/primary did not answer within ~") == 20
    assert f"   192.0.2.10/32     main primary    {AS_IT_MUST_BE}\n" in out


@pytest.mark.any_version
def test_filters(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """What is not asked for is neither shown nor counted."""
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    pgcast.routes.append({"prefix": "192.0.2.11/32", "role": "primary"})
    other = copy.deepcopy(pgcast.document["clusters"]["main"])
    other["patroni"] = "http://127.0.0.1:1"
    other["routes"] = [{"prefix": "192.0.2.20/32", "role": "primary"}]
    pgcast.document["clusters"]["billing"] = other
    assert status(pgcast)[0] == 75
    assert status(pgcast, "main")[0] == 75
    assert status(pgcast, "billing")[0] == 69
    code, out = status(pgcast, "main", "192.0.2.10/32")
    assert (code, out) == (
        0,
        GOOD + route(AS_IT_MUST_BE, WANTED, STANDS, CHANGED) + TAIL,
    )
    assert pgcast.run("status", "mian")[0] == 78
    assert pgcast.run("status", "main", "192.0.2.20/32")[0] == 2


@pytest.mark.any_version
def test_json_is_what_the_readme_says(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Each key, at each place, and the type of its value."""
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    exabgp.write("announce route 198.51.100.0/24 next-hop 10.9.0.1")
    bird.wait_table({**ANNOUNCED, "198.51.100.0/24": None})
    State(str(pgcast.state)).note_pass(LastPass(0.0, 12.0, 0, (), None))
    code, out, _ = pgcast.run("status", "--json")
    assert code == 0
    found = json.loads(out)
    section = README.read_text().partition("**`pgcast status --json`, version")[2]
    (told,) = re.findall(r"```json\n(.*?)```", section, re.S)[:1]
    assert shape(found) == shape(json.loads(told))
    assert found["clusters"][0]["routes"][0]["adj_rib_out"][0]["med"] == 99_993


def shape(value: object) -> object:
    """A document's keys, with the kinds of its values; a list is as its first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return "number" if type(value) in (int, float) else type(value).__name__


@pytest.mark.any_version
def test_json_with_nothing_known(patroni: FakePatroni, pgcast: Pgcast) -> None:
    """The same keys; null for what is not known, which is not an empty list."""
    patroni.close()
    (PIPE.parent / "gone").mkdir(exist_ok=True)
    pgcast.document["exabgp"] = {"pipe": f"{PIPE.parent}/gone/exabgp", "timeout": 0.1}
    code, out, err = pgcast.run("status", "--json")
    assert (code, err) == (69, "")
    found = json.loads(out)
    assert found["level"] == "unknown"
    assert found["neighbors"] is None
    assert found["foreign"] is None
    assert found["exabgp"]["error"].startswith("ExaBGP is not reading")
    (seen,) = found["clusters"]
    assert seen["members"] is None
    assert seen["patroni"]["member"] is None
    assert "Connection refused" in seen["patroni"]["errors"][0]
    (only,) = seen["routes"]
    assert (only["announced"], only["adj_rib_out"]) == (None, None)
    assert only["wanted"]["must"] == "withdrawn"


@pytest.mark.any_version
@pytest.mark.parametrize(
    ("environment", "colours"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals(
    exabgp: Exabgp, pgcast: Pgcast, environment: dict[str, str], colours: bool
) -> None:
    """And where nobody has said no."""
    pgcast.announce()
    code, out, _ = pgcast.run("status")
    assert (code, "\033" in out) == (0, False)
    with on_a_terminal(pgcast, environment) as (terminal, _):
        out = terminal.wait_end()
    assert ("\033" in out) is colours
    plain = re.sub(r"\033\[[0-9;]*m", "", out).replace("\r\n", "\n")
    assert (
        still(plain, pgcast)
        == GOOD + route(AS_IT_MUST_BE, WANTED, STANDS, CHANGED) + TAIL
    )


@pytest.mark.any_version
def test_watch_on_a_terminal(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Redrawn from the top, what has changed is marked, and Ctrl-C ends it with 0."""
    pgcast.announce()
    with on_a_terminal(pgcast, {"TERM": "xterm"}, "--watch", "main") as (
        terminal,
        process,
    ):
        terminal.wait("as it must be")
        text = terminal.wait("\033[H", "host ", "\033[J")
        assert "*" not in text  # time alone changes nothing
        exabgp.write("withdraw route 192.0.2.10/32")
        text = terminal.wait("MUST BE ANNOUNCED", "\033[J")
        drawing = text[text.rindex("\033[H") :]
        assert re.search(r"!!\* 192\.0\.2\.10/32", drawing)
        assert drawing.count("*") < 6  # the title, the verdict, what stands
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


@pytest.mark.any_version
def test_watch_marks_what_is_gone(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """A line that is no more has no place for a mark: the title gets it."""
    patroni.will_say([REPLICA])
    overrides = Overrides(str(pgcast.state))
    prefix = ip_network("192.0.2.10/32")
    overrides.set(prefix, Override(Order.WITHDRAW, "disk", "alice"))
    with on_a_terminal(pgcast, {"TERM": "xterm"}, "--watch", "main") as (terminal, _):
        terminal.wait("by alice", "\033[J")
        overrides.end(prefix)
        text = terminal.wait("  * ", "\033[J")
        drawing = text[text.rindex("\033[H") :]
        assert "alice" not in drawing
        assert re.search(r"  \* \d\d:\d\d:\d\d  \S+: all is as it must be", drawing)


@pytest.mark.any_version
def test_watch_into_a_pipe(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Successive screens without a single escape code; documents, a line each."""
    pgcast.announce()
    process = pgcast.start("cli", "status", "--watch", "0.2")
    assert process.stdout
    screens = 0
    while screens < 3:
        screens += "host " in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, "")
    assert "\033" not in out
    process = pgcast.start("cli", "status", "--json", "--watch")
    assert process.stdout
    assert [json.loads(process.stdout.readline())["level"] for _ in "12"] == [
        "good"
    ] * 2
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    process.communicate()


@pytest.mark.any_version
def test_watch_outlives_its_sources(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Ctrl-C in the middle of a look at a Patroni that hangs ends it at once."""
    pgcast.document["clusters"]["main"]["patroni"]["timeout"] = 600
    patroni.will_say([hang])
    process = pgcast.start("cli", "status", "--watch", "0.2")
    until(lambda: patroni.paths, "a question")
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    process.communicate()


@contextmanager
def on_a_terminal(
    pgcast: Pgcast, environment: dict[str, str], *arguments: str
) -> Iterator[tuple[Terminal, subprocess.Popen[str]]]:
    """`pgcast status` where somebody looks at it."""
    terminal = Terminal()
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment = {**kept, **environment}
    process = pgcast.start(
        "cli", "status", *arguments, stdout=terminal.slave, env=environment
    )
    terminal.given()
    try:
        yield terminal, process
    finally:
        process.kill()
        process.communicate()
        terminal.close()
