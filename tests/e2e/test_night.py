"""The README's "A night on call" is what the lab says, but for figures, names and moments."""

from __future__ import annotations

import re
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.night import night

README = Path(__file__).parents[2] / "README.md"
VARYING = (
    (r"\n {10,}", " "),  # a line that was broken
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?( \([^)]* ago\))?", "WHEN"),
    (r"\d+(\.\d+)? (s|min|h|d|ms|B|kB|MB)\b( \d+ (s|min|h)\b)?", "~"),
    (r"nothing to change|changed \d+( routes?)?|\d+ changed", "CHANGES"),
    (r"\bpg\d\b", "pgN"),
    (r"\b10\.0\.0\.1\d\b", "ADDRESS"),
    (r"\d+", "N"),
    (r"[ \n]+", " "),
)


def still(text: str) -> str:
    """A transcript without what differs from night to night."""
    for found, name in VARYING:
        text = re.sub(found, name, text)
    return text.strip()


def typed(text: str) -> list[str]:
    """Each command with what it said."""
    return [still(part) for part in re.split(r"(?m)^(?=pg\d\$ )", text) if part.strip()]


def test_the_readme_tells_what_happens(lab: Lab) -> None:
    """Three nights, played once more."""
    section = (
        README.read_text().partition("## A night on call")[2].partition("\n## ")[0]
    )
    told = typed("\n".join(re.findall(r"(?s)```\n(.*?)```", section)))
    played = typed("\n".join(line for scene in night(lab).values() for line in scene))
    assert len(told) == 8
    # The members of a cluster that has just lost one come and go.
    member = r"pgN (replica|leader) \w+ N ([~-]|N) ADDRESS "
    for here, there in zip(told, played):
        assert re.sub(member, "", here) == re.sub(member, "", there)
