"""Rows as a table of text, each column as wide as its widest cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def table(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> list[str]:
    """A line for the columns' names and one for each row."""
    cells = [[column.upper().replace("_", "-") for column in columns]]
    cells += [[cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip()
        for line in cells
    ]


def cell(value: Any) -> str:
    """Yes, no, a dash for nothing, or the value's own text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
