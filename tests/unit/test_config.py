"""The configuration: every mistake at once, with the path of its key, and never a
traceback."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pgcast_hooks import config
from pgcast_hooks.errors import ConfigError
from pgcast_hooks.model import FenceAttribute, Role

EXAMPLES = Path(__file__).parents[2] / "examples"

GOOD: dict[str, Any] = {
    "clusters": {
        "main": {
            "patroni": "http://127.0.0.1:8008",
            "routes": [{"prefix": "192.0.2.10/32", "role": "primary"}],
        }
    }
}


def changed(*path: Any, value: Any) -> dict[str, Any]:
    """The good document with one value put at a path."""
    document = copy.deepcopy(GOOD)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return document


def problems(document: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        config.parse(document)
    return caught.value.problems


ROUTE = ("clusters", "main", "routes", 0)


def test_defaults() -> None:
    """A document of five lines is enough."""
    parsed = config.parse(GOOD)
    route = parsed.clusters["main"].routes[0]
    assert parsed.state_dir == "/var/lib/pgcast"
    assert parsed.exabgp == (None, 2.0, 1.0)
    assert parsed.callback == (30.0, 0.025)
    assert parsed.clusters["main"].patroni.timeout == 1.0
    assert route.role is Role.PRIMARY
    assert str(route.vip) == "192.0.2.10"
    assert route.next_hop is None
    assert route.fence == (FenceAttribute.MED, 100_000)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            None,
            "must be a mapping with exabgp, callback, reconcile, state_dir, clusters",
        ),
        ({}, "clusters: must name at least one cluster"),
        (
            changed("cluster", value={}),
            "cluster: unknown key; did you mean 'clusters'?",
        ),
        (changed(*ROUTE, "prefix", value="192.0.2.10/24"), "has host bits set"),
        (changed(*ROUTE, "prefix", value=3221225994), "3221225994 is not a prefix"),
        (changed(*ROUTE, "prefix", value="192.0.2.10/32 med 1"), "not a prefix"),
        (changed(*ROUTE, "prefix", value="fe80::1%eth0/128"), "is not a prefix"),
        (changed(*ROUTE, "prefix", value="192.0.2.0/24"), "vip: must name the address"),
        (
            changed(*ROUTE, "vip", value="192.0.2.11"),
            "192.0.2.11 is not in 192.0.2.10/32",
        ),
        (
            changed(*ROUTE, "next_hop", value="self\nshutdown"),
            "next_hop: 'self\\nshutdown'",
        ),
        (changed(*ROUTE, "role", value="primry"), "did you mean 'primary'?"),
        (changed(*ROUTE, "role", value=["primary"]), "role: ['primary'] is not one of"),
        (changed(*ROUTE, "perfix", value=1), "unknown key; did you mean 'prefix'?"),
        (changed(*ROUTE, "fence", value="mad"), "did you mean 'med'?"),
        (changed(*ROUTE, "fence", value={"base": -1}), "fence.base: -1 is not a whole"),
        (changed(*ROUTE, "fence", value={"base": 2**32}), "is not a whole number from"),
        (changed(*ROUTE, "fence", value={"base": True}), "True is not a whole number"),
        (changed(*ROUTE, "fence", value={"base": 10}), "at least 1000"),
        (changed("exabgp", value={"timeout": 11}), "up to 10"),
        (
            changed("callback", value={"deadline": 10**400}),
            "is not a number of seconds",
        ),
        (
            changed("clusters", "main", "patroni", value="http://a:99999"),
            "is not an http",
        ),
        (changed(*ROUTE, "prefix", value="0.0.0.0/0"), "is the default route"),
        (changed(*ROUTE, "next_hop", value="2001:db8::1"), "is not an IPv4 address"),
        (
            changed("reconcile", value={"on_unreachable": "kep"}),
            "on_unreachable: 'kep' is not one of withdraw, keep; did you mean 'keep'?",
        ),
        (changed("clusters", "main", "routes", value=[]), "at least one route"),
        (
            changed("clusters", "main", "patroni", value="ftp://x"),
            "is not an http:// or",
        ),
        (
            changed("clusters", "main", "patroni", value="http://a:port"),
            "is not an http:// or",
        ),
        (
            changed("clusters", "main", "patroni", value="http://u:p@a"),
            "is not an http:// or",
        ),
        (
            changed("clusters", "main", "patroni", value="http://"),
            "is not an http:// or",
        ),
        (
            changed(
                "clusters",
                "main",
                "patroni",
                value={"url": "http://a", "keyfile": "/k"},
            ),
            "patroni.keyfile: needs 'certfile'",
        ),
        (changed("clusters", 12, value=GOOD["clusters"]["main"]), "write it in quotes"),
        (changed("clusters", "a\tb", value=GOOD["clusters"]["main"]), "do not print"),
        (
            changed("state_dir", value="var/lib"),
            "state_dir: 'var/lib' is not an absolute",
        ),
        (changed("exabgp", value={"pipe": "/run/\x1b[2J"}), "is not an absolute path"),
        (
            changed("exabgp", value={"timeout": 0}),
            "exabgp.timeout: '0' is not a number of",
        ),
        (
            changed("exabgp", value={"timeout": "2s"}),
            "exabgp.timeout: '2s' is not a number",
        ),
        (
            changed("callback", value={"deadline": float("nan")}),
            "'nan' is not a number of",
        ),
        (
            changed("callback", value={"deadline": True}),
            "'True' is not a number of seconds",
        ),
    ],
)
def test_a_mistake_is_named_with_its_key(document: Any, expected: str) -> None:
    """Each mistake gives one line that leads to it."""
    assert any(expected in problem for problem in problems(document)), problems(
        document
    )


HTTPS = {"url": "https://127.0.0.1:8008"}
HTTP = {"url": "http://127.0.0.1:8008"}
HIDDEN = "hunter2"


@pytest.mark.parametrize(
    ("patroni", "expected"),
    [
        ([HIDDEN], "patroni: must be a URL, or a mapping with url, timeout, cafile,"),
        (f"http://pgcast:{HIDDEN}@127.0.0.1:8008", "url: *** with an @ is not an http"),
        ({**HTTPS, "verify": "no"}, "verify: 'no' is neither true nor false"),
        ({**HTTPS, "verify": None}, "verify: None is neither true nor false"),
        (
            {**HTTPS, "verify": False, "cafile": "/ca"},
            "verify: false goes with no 'cafile'",
        ),
        ({**HTTPS, "server_name": "pg1/x"}, "server_name: 'pg1/x' is not a name such"),
        ({**HTTPS, "server_name": "a." * 128}, "is not a name such as pg1.example.com"),
        ({**HTTPS, "server_name": None}, "server_name: None is not a name"),
        ({**HTTP, "server_name": "pg1"}, "server_name: goes with an https:// address"),
        ({**HTTPS, "unix_socket": "/s"}, "unix_socket: goes with an http:// address"),
        ({**HTTP, "unix_socket": "s"}, "unix_socket: 's' is not an absolute path"),
        ({**HTTP, "unix_socket": f"/{'ä' * 54}"}, "longer than the 107 bytes"),
        ({**HTTP, "username": "u"}, "username: needs 'password' or 'password_file'"),
        ({**HTTP, "username": 7, "password": HIDDEN}, "username: is not text: write"),
        ({**HTTP, "username": "u:v", "password": HIDDEN}, "username: has a colon"),
        ({**HTTP, "password": HIDDEN}, "patroni.password: needs 'username' beside it"),
        ({**HTTP, "password_file": "/p"}, "password_file: needs 'username' beside it"),
        (
            {**HTTP, "username": "u", "password": HIDDEN, "password_file": "/p"},
            "password_file: goes with no 'password' beside it",
        ),
        ({**HTTP, "username": "u", "password": ""}, "password: is not text: write it"),
        ({**HTTP, "username": "u", "password": 12}, "password: is not text: write it"),
        (
            {**HTTP, "username": "u", "password": f"{HIDDEN}\n"},
            "password: has characters that do not print",
        ),
        ({**HTTP, "headers": f"X-Token: {HIDDEN}"}, "headers: must be a mapping of"),
        ({**HTTP, "headers": None}, "headers: must be a mapping of header names"),
        ({**HTTP, "headers": {"X Token": HIDDEN}}, "'X Token' is not the name of a"),
        ({**HTTP, "headers": {12: HIDDEN}}, "headers: 12 is not the name of a header"),
        ({**HTTP, "headers": {"X-A\n": HIDDEN}}, "'X-A\\n' is not the name of a"),
        ({**HTTP, "headers": {"X-A": f"{HIDDEN}\r\nX-B: 1"}}, "X-A: is not one line"),
        ({**HTTP, "headers": {"X-A": f"{HIDDEN}\n"}}, "X-A: is not one line"),
        ({**HTTP, "headers": {"X-A": f" {HIDDEN}"}}, "X-A: is not one line"),
        (
            {**HTTP, "headers": {"X-A": f"{HIDDEN}é"}},
            "X-A: is not one line of printable",
        ),
        ({**HTTP, "headers": {"X-A": 12}}, "X-A: is not one line of printable ASCII"),
        (
            {**HTTP, "headers": {"X-A": HIDDEN, "x-a": HIDDEN}},
            "headers.x-a: stands there a second time",
        ),
        (
            {
                **HTTP,
                "username": "u",
                "password": HIDDEN,
                "headers": {"authorization": HIDDEN},
            },
            "headers.Authorization: goes with no 'username'",
        ),
    ],
)
def test_a_mistake_in_how_patroni_is_asked(patroni: Any, expected: str) -> None:
    """Each is named with its key, alone, and none quotes a secret."""
    found = problems(changed("clusters", "main", "patroni", value=patroni))
    assert len(found) == 1, found
    assert expected in found[0]
    assert HIDDEN not in found[0]


ASKED = {
    **HTTP,
    "username": "pgcast",
    "password": HIDDEN,
    "headers": {"X-Token": HIDDEN},
    "unix_socket": "/run/patroni.sock",
}


def test_secrets_are_printed_nowhere() -> None:
    """Neither by check-config nor by chance; what check-config prints is a configuration."""
    parsed = config.parse(changed("clusters", "main", "patroni", value=ASKED))
    patroni = parsed.clusters["main"].patroni
    assert patroni.password == HIDDEN
    assert patroni.headers == (("X-Token", HIDDEN),)
    assert HIDDEN not in repr(parsed)
    effective = config.effective(parsed)
    assert HIDDEN not in yaml.safe_dump(effective)
    shown = effective["clusters"]["main"]["patroni"]
    assert shown == {
        **ASKED,
        "timeout": 1.0,
        "verify": True,
        "password": "***",
        "headers": {"X-Token": "***"},
    }
    config.parse(effective)


def test_a_file_that_is_named_must_be_there() -> None:
    """Each by its key; a password is one of them."""
    files = dict.fromkeys(("cafile", "certfile", "keyfile", "password_file"), "/none")
    asked = {**HTTPS, "username": "u", **files}
    parsed = config.parse(changed("clusters", "main", "patroni", value=asked))
    assert config.missing_files(parsed) == [
        f"clusters.main.patroni.{key}: /none cannot be read by this user"
        for key in files
    ]


def test_every_mistake_is_reported_at_once() -> None:
    """Nobody mends a file one mistake per run."""
    document = changed(*ROUTE, "prefix", value="nonsense")
    document["exabgp"] = {"timeout": -1, "pip": "/x"}
    document["clusters"]["main"]["routes"][0]["role"] = "leder"
    found = problems(document)
    assert len(found) == 4
    for where in ("routes[0].prefix", "routes[0].role", "exabgp.timeout", "exabgp.pip"):
        assert any(where in problem for problem in found), found


def test_a_prefix_named_twice_is_refused_across_clusters() -> None:
    """One ExaBGP serves them all: the same prefix twice would be fought over."""
    document = copy.deepcopy(GOOD)
    document["clusters"]["other"] = copy.deepcopy(GOOD["clusters"]["main"])
    assert problems(document) == (
        "clusters.other.routes[0].prefix: 192.0.2.10/32 is already named at"
        " clusters.main.routes[0].prefix",
    )


def test_a_scope_named_twice_is_refused(tmp_path: Path) -> None:
    """YAML would silently take the last one."""
    path = tmp_path / "pgcast.yml"
    text = yaml.safe_dump(GOOD)
    path.write_text(text + text.replace("clusters:\n", "", 1))
    with pytest.raises(ConfigError) as caught:
        config.load(str(path))
    assert "line 7: 'main' stands here a second time" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        b"a: [",
        b"\xff\xfe\x00",
        b"!!python/object:os.system {}",
        b"a: 2026-99-99",
        b"a: !!int ''",
        b"a: !!bool x",
        b"a: !!timestamp x",
        b"[" * 5000,
    ],
)
def test_a_file_that_is_not_yaml(tmp_path: Path, text: bytes) -> None:
    """Whatever stands in the file, the answer is one error that names the file."""
    path = tmp_path / "pgcast.yml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=str(path)):
        config.load(str(path))


def test_a_file_that_is_missing() -> None:
    """The path is in the message."""
    with pytest.raises(
        ConfigError, match=r"/nonexistent/p\.yml: cannot be read: No such"
    ):
        config.load("/nonexistent/p.yml")


def test_the_environment_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option wins over PGCAST_CONFIG, which wins over the default."""
    monkeypatch.delenv("PGCAST_CONFIG", raising=False)
    assert config.path_in_use(None) == "/etc/pgcast/pgcast.yml"
    monkeypatch.setenv("PGCAST_CONFIG", "/a")
    assert config.path_in_use(None) == "/a"
    assert config.path_in_use("/b") == "/b"


def test_the_example_is_good() -> None:
    """What a user copies is accepted, and its prefixes are those that the router's
    example accepts."""
    parsed = config.load(str(EXAMPLES / "pgcast.yml"))
    accepted = (EXAMPLES / "bird.conf").read_text()
    for route in parsed.clusters["main"].routes:
        assert str(route.prefix) in accepted


def test_effective_is_taken_back() -> None:
    """What check-config prints is a configuration, and the same one."""
    document = copy.deepcopy(GOOD)
    document["exabgp"] = {"pipe": "/run/exabgp"}
    document["clusters"]["six"] = {
        "patroni": {
            "url": "https://[::1]:8008",
            "cafile": "/ca",
            "certfile": "/c",
            "keyfile": "/k",
            "server_name": "pg1.example.com",
            "username": "pgcast",
            "password_file": "/p",
        },
        "routes": [
            {
                "prefix": "2001:db8::/64",
                "role": "primary",
                "vip": "2001:db8::1",
                "next_hop": "2001:db8::2",
            },
            {"prefix": "192.0.2.11/32", "role": "primary", "fence": "local-preference"},
            {"prefix": "192.0.2.12/32", "role": "primary", "fence": "none"},
        ],
    }
    parsed = config.parse(document)
    assert config.parse(config.effective(parsed)) == parsed


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(
        [
            "192.0.2.10/32",
            "primary",
            "self",
            "http://127.0.0.1:8008",
            "/run/exabgp",
            "med",
        ]
    )
)
keys = (
    st.sampled_from(
        [
            "exabgp",
            "callback",
            "state_dir",
            "clusters",
            "main",
            "patroni",
            "routes",
            "prefix",
            "role",
            "vip",
            "next_hop",
            "fence",
            "base",
            "url",
        ]
    )
    | st.integers()
    | st.text()
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(keys, inner, max_size=4),
)


@given(documents)
def test_no_document_is_a_bug(document: Any) -> None:
    """Any document is accepted or refused; nothing else is raised."""
    with contextlib.suppress(ConfigError):
        config.parse(document)


@given(st.text(min_size=1))
def test_nothing_reaches_a_command_but_an_address(text: str) -> None:
    """A prefix or next-hop that is accepted is one printable word."""
    for key in ("prefix", "next_hop"):
        try:
            parsed = config.parse(changed(*ROUTE, key, value=text))
        except ConfigError:
            continue
        route = parsed.clusters["main"].routes[0]
        for word in (str(route.prefix), str(route.next_hop)):
            assert word.isprintable()
            assert len(word.split()) == 1
