"""Why Patroni could not be asked: in the system's words, the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgcast_hooks import patroni
from pgcast_hooks.errors import PatroniUnreachable
from pgcast_hooks.settings import PatroniEndpoint, Secret


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_refused_connection(scheme: str) -> None:
    """urllib3 wraps it several times over, with the address of an object."""
    endpoint = PatroniEndpoint(f"{scheme}://127.0.0.1:1", 5.0)
    with pytest.raises(PatroniUnreachable) as raised:
        patroni.ask(endpoint, "primary", 5.0)
    said = f"{scheme}://127.0.0.1:1/primary cannot be asked: Connection refused"
    assert said in str(raised.value)


class _Odd:
    """Whose text is an address."""


@pytest.mark.parametrize("depth", [0, 1, 50])
def test_an_error_without_words_of_the_system(depth: int) -> None:
    """Is told without what differs each time, and is short."""
    error = Exception(f"{_Odd()!r}: went <{_Odd()!r}, 'astray'> {'x' * 999}")
    for _ in range(depth):
        error = Exception(error)
    said = patroni._reason(error)
    assert "0x" not in said
    assert "went" in said
    assert len(said) <= 200


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "does not hold a password, which is one line of text"),
        (b"hunter2\nhunter3\n", "does not hold a password, which is one line of text"),
        (b"h" * 1001, "does not hold a password, which is one line of text"),
        (b"hunter2\xff", "is not UTF-8"),
    ],
)
def test_a_password_file_that_holds_none(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    """Patroni is not asked, and what stands in the file is not told."""
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    url = "http://127.0.0.1:1"
    endpoint = PatroniEndpoint(url, 5.0, username="pgcast", password_file=str(path))
    with pytest.raises(PatroniUnreachable) as raised:
        patroni.ask(endpoint, "primary", 5.0)
    said = f"Patroni at {url}/primary cannot be asked: password_file {path} {why}"
    assert str(raised.value) == said


def test_headers_are_plain_text() -> None:
    """requests 2.28 refuses what is a kind of `str`, and would tell it in full."""
    url = "http://127.0.0.1:8008"
    asked = PatroniEndpoint(url, 1.0, headers=(("X-Token", Secret("hunter2")),))
    headers = patroni._headers(asked, url)
    assert headers == {"X-Token": "hunter2"}
    assert [type(value) for value in headers.values()] == [str]
