"""Who runs this process, in words that a colleague can ask for."""

from __future__ import annotations

import os
import pwd


def who() -> str:
    """`alice (root)` behind sudo, else the name of the user."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid {uid}"
    person = os.environ.get("SUDO_USER") or ""
    return f"{person} ({name})" if person and person != name else name
