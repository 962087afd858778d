"""Paragraphs laid out for a screen or a file: margin, wrapping, colour, what has changed.

Knows nothing of what they say.
"""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import IO, NamedTuple

import click

from pgcast_hooks.cli.words import printable
from pgcast_hooks.status.picture import Level

LABEL = 12
WIDTH = 100
NARROWEST = 40
MARKS = {Level.GOOD: "", Level.UNKNOWN: "??", Level.WRONG: "!!"}
COLOURS = {Level.GOOD: "green", Level.UNKNOWN: "yellow", Level.WRONG: "red"}


class Paragraph(NamedTuple):
    """One thing that is said. Its `subject` is the same in every drawing."""

    subject: str
    text: str
    level: Level | None = None  # None: nothing to be judged
    indent: int = 0
    hang: int = 0  # further columns that its second line and those after it are set in
    title: bool = False


def labelled(
    subject: str, label: str, text: str, level: Level | None = None, indent: int = 2
) -> Paragraph:
    """A paragraph whose text stands beside its label."""
    text = f"{label:<{LABEL}} {text}"
    return Paragraph(subject, text, level, indent=indent, hang=LABEL + 1)


def table(
    subject: str, rows: Sequence[tuple[str, ...]], levels: Sequence[Level] = ()
) -> Iterator[Paragraph]:
    """Rows in columns, the first row their names; the last column may be long, and is
    wrapped."""
    widths = [max(map(len, column)) for column in zip(*rows)][:-1]
    for index, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        level = levels[index - 1] if levels and index else None
        name = f"{subject} {row[0]}" if index else f"{subject}: columns"
        text = "  ".join([*cells, row[-1]])
        yield Paragraph(name, text, level, indent=2, hang=2)


def width(stream: IO[str]) -> int:
    """Columns to draw in."""
    if not stream.isatty():
        return WIDTH
    return max(NARROWEST, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def commanded(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that understands commands such as "home"."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def coloured(stream: IO[str]) -> bool:
    """Whether to use colours: see https://no-color.org."""
    return commanded(stream) and not os.environ.get("NO_COLOR")


def lay_out(
    paragraphs: Iterable[Paragraph],
    columns: int,
    colour: bool,
    changed: Set[str] | None = None,
) -> list[str]:
    """The lines. With `changed`, the subjects that are not what they were, a column of the
    margin is theirs."""
    lines = []
    for paragraph in paragraphs:
        mark = "" if paragraph.level is None else MARKS[paragraph.level]
        margin = f"{mark:<3}"
        new = changed is not None and paragraph.subject in changed
        if changed is not None:
            margin = f"{mark:<2}{'*' if new else ' '} "
        lines += [
            _coloured(line, paragraph, new) if colour else line
            for line in _wrapped(paragraph, margin, columns)
        ]
    return lines


def _wrapped(paragraph: Paragraph, margin: str, columns: int) -> list[str]:
    text = printable(paragraph.text)
    if not text:
        return [""]
    indent = paragraph.indent + paragraph.hang
    if len(margin) + indent > columns // 2:
        indent = paragraph.indent
    lines = textwrap.wrap(
        text,
        columns,
        initial_indent=margin + " " * paragraph.indent,
        subsequent_indent=" " * (len(margin) + indent),
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    return [line.rstrip() for line in lines]


def _coloured(line: str, paragraph: Paragraph, new: bool) -> str:
    if not line:
        return line
    level = paragraph.level
    return click.style(
        line,
        fg=None if level is None else COLOURS[level],
        bold=paragraph.title or level is Level.WRONG or None,
        reverse=new or None,
    )
