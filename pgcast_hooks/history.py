"""What became of the routes of this host, and why: one line of JSON for each event, in
`history` of the state directory and the older `history.1` to `history.4`.

For people, never for decisions: nothing is announced or withdrawn because of what stands
here. So no trouble with the files is ever raised: `trouble` tells of it. `eventline` has the
form of a line.

`history-counts` holds how many events of each kind there were, up to a place in each of the
files. It is written when they are rotated, and what came later is counted from them: an
event costs one write, and none goes uncounted because somebody was killed after it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pgcast_hooks import record
from pgcast_hooks.eventline import decode, encode, now, stamp, told
from pgcast_hooks.journal import LIMIT, Journal
from pgcast_hooks.model import Event, Prefix

NAME = "history"
COUNTS = "history-counts"
COUNTS_RECORD = 8192  # bytes
UNCHANGED_LINE = b'"result":"unchanged"'
REFUSED_LINE = b'"result":"refused"'
TIME_IN_LINE = b'"time":"'
WANT_IN_LINE = b'"want":"'
LATELY = 65_536  # bytes from the end, in which one looks for what was done before
CHANGED_LINE = b'"result":"changed"'  # in JSON, no text of a field can look like these
PREFIX_IN_LINE = b'"prefix":"'


class History:
    """The history of one host. `limit` is the size in bytes at which a file is rotated."""

    def __init__(self, directory: str, limit: int = LIMIT) -> None:
        self._directory = directory
        self._journal = Journal(directory, NAME, limit, self._checkpoint)
        self.path = self._journal.path
        self.trouble: str | None = None
        self.skipped = 0  # lines that the last reading could make nothing of

    def append(self, events: Sequence[Event]) -> None:
        """Add events that happened just now."""
        if not events:
            return
        self.trouble = None
        lines = map(encode, told(events))
        text = "".join(f"{line}\n" for line in lines).encode("ascii")
        try:
            self._journal.append(text)
        except OSError as error:
            self._note(error)

    def read(self) -> Iterator[dict[str, Any]]:
        """Every event, oldest first, as it is stored."""
        self.trouble, self.skipped = None, 0
        for lines in self._files():
            yield from self._events(lines)

    def follow(self) -> Iterator[dict[str, Any] | None]:
        """Every event that there is, and every one to come; None each time that there is
        none for now."""
        self.trouble, self.skipped = None, 0
        for line in self._journal.follow(self._note):
            if line is None:
                yield None
            else:
                yield from self._events([line])

    def last(self, prefix: Prefix) -> dict[str, Any] | None:
        """The last event that changed a prefix."""
        return self.last_all().get(str(prefix))

    def last_all(self) -> dict[str, dict[str, Any]]:
        """The last event that changed each prefix, by the prefix's text."""
        self.skipped = 0
        latest: dict[bytes, bytes] = {}
        for lines in self._files():
            for line in lines:  # most are not worth being decoded
                if CHANGED_LINE in line and line.endswith(b"}"):
                    latest[line.partition(PREFIX_IN_LINE)[2].partition(b'"')[0]] = line
        return {event["prefix"]: event for event in self._events(latest.values())}

    def lately(self) -> dict[str, str]:
        """The commands that the last events in this boot carried out, by the prefix's text.

        As far as the end of the file tells, and without trouble: a prefix of which nothing, or
        a failure, or what was torn, is told last is not in it.
        """
        booted = stamp(now() - time.clock_gettime(time.CLOCK_BOOTTIME))
        found: dict[str, str] = {}
        try:
            file = record.open_plain(self._directory, NAME, os.O_RDONLY)
        except OSError:
            return found
        try:
            start = max(0, os.fstat(file).st_size - LATELY)
            lines = os.pread(file, LATELY, start).split(b"\n")
        except OSError:
            return found
        finally:
            os.close(file)
        for line in lines[start > 0 :]:  # the first may have lost its beginning
            prefix = _text_behind(PREFIX_IN_LINE, line)
            done = CHANGED_LINE in line or UNCHANGED_LINE in line
            if done and _text_behind(TIME_IN_LINE, line) >= booted:
                found[prefix] = _text_behind(WANT_IN_LINE, line)
            elif REFUSED_LINE not in line:
                found.pop(prefix, None)
        return found

    def empty(self) -> bool:
        """Whether nothing was ever appended."""
        return not os.path.lexists(self.path) and not os.path.lexists(f"{self.path}.1")

    def counts(self) -> dict[tuple[str, str], int]:
        """How many events of each cause and result there ever were.

        Where the record of them is damaged: as many as there are still files of. Like
        `last_all` it leaves the trouble of an append to whoever asks for it later.
        """
        return dict(self._count()[0])

    def _count(self) -> tuple[Counter[tuple[str, str]], dict[str, int]]:
        """The counts, and up to which offset of which file."""
        found, counted = self._counted()
        offsets = {}
        for tail in self._journal.tails(self._note):
            try:
                mark = tail.mark()
                for line in tail.lines(counted.get(mark or "", 0)):
                    event = decode(line)
                    if event:
                        found[event["cause"], event["result"]] += 1
                if mark:
                    offsets[mark] = tail.offset
            except OSError as error:
                self._note(error)
            finally:
                tail.close()
        return found, offsets

    def _counted(self) -> tuple[Counter[tuple[str, str]], dict[str, int]]:
        """What was counted until the last rotation."""
        import json

        found: Counter[tuple[str, str]] = Counter()
        try:
            text = record.read_checked(self._directory, COUNTS, COUNTS_RECORD)
            told = json.loads(text or "{}")
            for cause, result, count in told["counts"]:
                found[str(cause), str(result)] += int(count)
            return found, {str(m): int(n) for m, n in told["counted"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return Counter(), {}  # from the files that there are, then

    def _checkpoint(self) -> None:
        """Record the counts, before the oldest file goes. Called under the lock."""
        import json

        found, counted = self._count()
        counts = [[*kind, count] for kind, count in found.items()]
        text = json.dumps({"counts": counts, "counted": counted})
        try:
            record.overwrite_checked(self._directory, COUNTS, text)
        except OSError as error:
            self._note(error)

    def _files(self) -> Iterator[Iterable[bytes]]:
        """The lines of each file, oldest first; what was torn at its end is one too."""
        tails = self._journal.tails(self._note)
        try:
            for tail in tails:
                yield tail.lines()
                yield [tail.rest()]
        except OSError as error:
            self._note(error)
        finally:
            for tail in tails:
                tail.close()

    def _events(self, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        for line in lines:
            if line:
                event = decode(line)
                if event is None:
                    self.skipped += 1
                else:
                    yield event

    def _note(self, error: OSError) -> None:
        path = error.filename or self.path
        self.trouble = f"history file {path} cannot be used: {error.strerror}"


def _text_behind(key: bytes, line: bytes) -> str:
    """A text of a field that holds no quotes."""
    return line.partition(key)[2].partition(b'"')[0].decode("ascii", "replace")
