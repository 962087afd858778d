"""Waiting for a condition, never for a time."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

T = TypeVar("T")
PAUSE = 0.01


def until(condition: Callable[[], T], what: str, timeout: float = 15.0) -> T:
    """The first true value of `condition`; fails with `what` after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come true within {timeout} s")
        time.sleep(PAUSE)
