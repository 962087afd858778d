"""Who runs this process, by the name that people know them by.

For display only: nothing is allowed or refused because of it, as `SUDO_USER` is whatever
the caller's environment says.
"""

from __future__ import annotations

import os


def user() -> str:
    """The user's name, with who became it through sudo: "postgres", "alice (root)"."""
    import pwd  # asked for once the route has been moved

    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    before = os.environ.get("SUDO_USER")
    return f"{before} ({name})" if before and before != name else name
