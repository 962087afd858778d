"""Files of a host, changed while it runs.

It exists so that a test says what is wrong in a file, and leaves the file as it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .host import Host


def write(host: Host, path: str, text: str) -> None:
    """Make this the file's text; its owner and mode stay."""
    host.run(["sh", "-c", f"cat > {path}"], stdin=text)


@contextlib.contextmanager
def edited(host: Host, path: str, old: str, new: str) -> Iterator[None]:
    """A file with something else in it."""
    text = host.run(["cat", path]).stdout
    assert old in text
    write(host, path, text.replace(old, new))
    try:
        yield
    finally:
        write(host, path, text)
