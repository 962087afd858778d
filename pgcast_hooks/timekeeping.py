"""Whether anything keeps this host's clock on the wall right, by the kernel's own word.

A time daemon tells the kernel when it has found out the time (NTP, PTP); until then, and when
it was lost again, the clock is whatever it was at boot. Reads no clock.
"""

from __future__ import annotations

TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
SIZE = 512  # bytes; struct timex has 208


def synchronised() -> bool | None:
    """Whether the kernel calls the clock synchronised; None where it does not say."""
    import ctypes  # costs as much as a fifth of a bare interpreter

    try:
        told = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(SIZE))
    except (OSError, AttributeError):
        return None
    return None if told < 0 else told != TIME_ERROR
