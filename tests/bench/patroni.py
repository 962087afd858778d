"""A Patroni for many clusters, in a process of its own, and quicker than what asks it.

Plain sockets: the tests' own fake, on http.server, takes longer for a hundred answers than a whole pass does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection

from tests.integration.patroni import body


@contextlib.contextmanager
def patroni(scopes: Sequence[str], timeline: int) -> Iterator[str]:
    """The URL under which /SCOPE/primary says that this member is the primary."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(
        target=_run, args=(scopes, timeline, theirs), daemon=True
    )
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _run(scopes: Sequence[str], timeline: int, told: Connection) -> None:
    asyncio.run(
        _serve({_path(scope): _reply(scope, timeline) for scope in scopes}, told)
    )


async def _serve(replies: dict[bytes, bytes], told: Connection) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.readuntil(b"\r\n\r\n")
        writer.write(replies[question.split(b" ")[1]])
        writer.close()

    server = await asyncio.start_server(reply, "127.0.0.1", 0, backlog=128)
    told.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _path(scope: str) -> bytes:
    return f"/{scope}/primary".encode()


def _reply(scope: str, timeline: int) -> bytes:
    patroni = {"version": "4.1.5", "scope": scope, "name": "pg1"}
    content = json.dumps(body(timeline=timeline, patroni=patroni)).encode()
    head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content
