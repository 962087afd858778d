"""Why Patroni could not be asked: in the system's words, the same each time."""

from __future__ import annotations

import pytest

from pgcast_hooks import patroni
from pgcast_hooks.errors import PatroniUnreachable
from pgcast_hooks.model import PatroniEndpoint


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
