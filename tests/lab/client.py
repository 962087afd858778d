"""The client that never rests: a new connection and one statement through a VIP, again and again.

A program of its own because it runs in the client's network and must keep its pace whatever the
test does. Each attempt is one JSON line on stdout, with the row that the statement returned by
the names of its columns, written when the attempt has ended; attempts do not wait for each other.
Needs nothing but psycopg.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import sys
import time
from typing import Any

import psycopg
from psycopg.rows import dict_row


async def attempt(number: int, dsn: str, statement: str, timeout: float) -> None:
    """One attempt, from the connection to the answer."""
    record: dict[str, Any] = {"number": number, "start": time.time(), "ok": False}
    try:
        row = await asyncio.wait_for(ask(number, dsn, statement), timeout)
        record.update(row, end=time.time(), ok=True)
    except asyncio.TimeoutError:
        record.update(end=time.time(), error=f"no answer in {timeout} s")
    except (psycopg.Error, OSError) as error:
        record.update(end=time.time(), error=" ".join(str(error).split()))
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


async def ask(number: int, dsn: str, statement: str) -> dict[str, Any]:
    """The one row that the statement returns; `%(number)s` in it is the attempt's."""
    connection = await psycopg.AsyncConnection.connect(
        dsn, autocommit=True, row_factory=dict_row
    )
    try:
        cursor = await connection.execute(statement, {"number": number}, prepare=False)
        return await cursor.fetchone() or {}
    finally:
        await connection.close()


async def run(args: argparse.Namespace) -> None:
    """Start an attempt every `interval` seconds, while fewer than `most` are under way."""
    under_way: set[asyncio.Task[None]] = set()
    numbers = iter(range(1, args.count + 1) if args.count else itertools.count(1))
    due = time.monotonic()
    number = next(numbers, None)
    while number is not None:
        if len(under_way) < args.most:
            task = asyncio.ensure_future(
                attempt(number, args.dsn, args.statement, args.timeout)
            )
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            number = next(numbers, None)
        due = max(due + args.interval, time.monotonic())
        await asyncio.sleep(due - time.monotonic())
    await asyncio.gather(*under_way)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dsn")
    parser.add_argument("statement")
    parser.add_argument("--interval", type=float, default=0.02, help="seconds")
    parser.add_argument(
        "--timeout", type=float, default=1.0, help="seconds an attempt may take"
    )
    parser.add_argument(
        "--most", type=int, default=60, help="attempts under way at once"
    )
    parser.add_argument(
        "--count", type=int, default=0, help="attempts in all; 0: until it is ended"
    )
    args = parser.parse_args()
    # It warns of every query that is given up.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    asyncio.run(run(args))


if __name__ == "__main__":
    main()
