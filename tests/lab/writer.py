"""The client that never rests: a new connection and one write through the VIP, again and again.

A program of its own because it runs in the client's network and must keep its pace whatever the
test does. Each attempt is one JSON line on stdout, written when the attempt has ended; attempts
do not wait for each other. Needs nothing but psycopg.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from typing import Any

import psycopg

INSERT = "INSERT INTO writes (attempt) VALUES (%s) RETURNING timeline(), member()"


async def attempt(number: int, dsn: str, timeout: float) -> None:
    """One attempt, from the connection to the acknowledgement."""
    record: dict[str, Any] = {"number": number, "start": time.time(), "ok": False}
    try:
        row = await asyncio.wait_for(write(number, dsn), timeout)
        record.update(end=time.time(), ok=True, timeline=row[0], member=row[1])
    except asyncio.TimeoutError:
        record.update(end=time.time(), error=f"no answer in {timeout} s")
    except (psycopg.Error, OSError) as error:
        record.update(end=time.time(), error=" ".join(str(error).split()))
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


async def write(number: int, dsn: str) -> Any:
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    try:
        cursor = await connection.execute(INSERT, (number,), prepare=False)
        return await cursor.fetchone()
    finally:
        await connection.close()


async def keep_writing(dsn: str, interval: float, timeout: float, most: int) -> None:
    """Start an attempt every `interval` seconds, while fewer than `most` are under way."""
    under_way: set[asyncio.Task[None]] = set()
    number = 0
    due = time.monotonic()
    while True:
        if len(under_way) < most:
            number += 1
            task = asyncio.ensure_future(attempt(number, dsn, timeout))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        due = max(due + interval, time.monotonic())
        await asyncio.sleep(due - time.monotonic())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dsn")
    parser.add_argument("--interval", type=float, default=0.02, help="seconds")
    parser.add_argument(
        "--timeout", type=float, default=1.0, help="seconds an attempt may take"
    )
    parser.add_argument(
        "--most", type=int, default=60, help="attempts under way at once"
    )
    args = parser.parse_args()
    # It warns of every query that is given up.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    asyncio.run(keep_writing(args.dsn, args.interval, args.timeout, args.most))


if __name__ == "__main__":
    main()
