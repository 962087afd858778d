"""The part of the configuration that says where Patroni's REST API is and how to speak to it:
checked, and every mistake noted with its key's path. Pure, as `pgcast_hooks.config` is.

No mistake quotes what may be a secret: a password, the value of a header, a URL with a user.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from typing import Any

from pgcast_hooks.document import Reader
from pgcast_hooks.settings import REDACTED, Cluster, PatroniEndpoint, Secret

KEYS = (
    *("url", "timeout", "cafile", "certfile", "keyfile", "verify", "server_name"),
    *("username", "password", "password_file", "headers", "unix_socket"),
)
FILES = ("cafile", "certfile", "keyfile", "password_file")
MAX_PORT = 65535
MAX_SOCKET = 107  # bytes of a path that the kernel can connect to, unix(7)
URL = re.compile(
    r"https?://(\[[0-9a-fA-F:.]+\]|[^\s/?#@:\[\]]+)(:(?P<port>\d{1,5}))?(/[^\s?#]*)?"
)
NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")  # of RFC 9110, section 5.5, what is ASCII


def endpoint(reader: Reader, value: Any, where: str) -> PatroniEndpoint:
    """How to ask one Patroni; every mistake is noted with the reader."""
    section = {"url": value} if isinstance(value, str) else value
    if not isinstance(section, dict) and section is not None:
        reader.wrong(where, f"must be a URL, or a mapping with {', '.join(KEYS)}")
        section = {"url": "http://127.0.0.1"}  # named by no second mistake
    section = reader.mapping(section, where, KEYS)
    password = _credential(reader, section, "password", where)
    found = PatroniEndpoint(
        url=_url(reader, section.get("url"), f"{where}.url"),
        timeout=reader.seconds(section, "timeout", where, 1.0),
        cafile=reader.path(section, "cafile", where, None),
        certfile=reader.path(section, "certfile", where, None),
        keyfile=reader.path(section, "keyfile", where, None),
        verify=_verify(reader, section.get("verify", True), f"{where}.verify"),
        server_name=_server_name(reader, section, f"{where}.server_name"),
        username=_credential(reader, section, "username", where),
        password=Secret(password) if password else None,
        password_file=reader.path(section, "password_file", where, None),
        headers=_headers(reader, section.get("headers", {}), f"{where}.headers"),
        unix_socket=reader.path(section, "unix_socket", where, None),
    )
    _judge(reader, found, section, where)
    return found


def effective(endpoint: PatroniEndpoint) -> dict[str, Any]:
    """The endpoint as a document; of what may be a secret only that it is there."""
    shown = {
        key: value for key, value in endpoint._asdict().items() if value is not None
    }
    if endpoint.password is not None:
        shown["password"] = REDACTED
    shown["headers"] = {name: REDACTED for name, _ in endpoint.headers}
    return shown


def files(endpoint: PatroniEndpoint) -> dict[str, str]:
    """The files that are read for a question, by their keys."""
    named = {key: getattr(endpoint, key) for key in FILES}
    return {key: path for key, path in named.items() if path}


def secret(clusters: Iterable[Cluster], path: str) -> list[str]:
    """The files that only those who run pgcast should read, of which `path`, the
    configuration, is one where a password or a header stands in it."""
    found = []
    for asked in (cluster.patroni for cluster in clusters):
        if asked.password or asked.headers:
            found.append(path)
        found += [one for one in (asked.password_file, asked.keyfile) if one]
    return found


def _url(reader: Reader, url: Any, where: str) -> str:
    match = URL.fullmatch(url) if isinstance(url, str) and url.isprintable() else None
    if match is None or int(match["port"] or 0) > MAX_PORT:
        said = f"{REDACTED} with an @" if "@" in str(url) else repr(url)
        example = "an http:// or https:// address such as http://127.0.0.1:8008"
        reader.wrong(where, f"{said} is not {example}")
    return str(url).rstrip("/")


def _verify(reader: Reader, value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        reader.wrong(where, f"{value!r} is neither true nor false")
    return value is not False


def _server_name(reader: Reader, section: Mapping[str, Any], where: str) -> str | None:
    if "server_name" not in section:
        return None
    value = section["server_name"]
    if not isinstance(value, str) or not NAME.fullmatch(value):
        reader.wrong(where, f"{value!r} is not a name such as pg1.example.com")
        return None
    return value


def _credential(
    reader: Reader, section: Mapping[str, Any], key: str, where: str
) -> str | None:
    if key not in section:
        return None
    value = section[key]
    if not isinstance(value, str) or not value:
        reader.wrong(f"{where}.{key}", "is not text: write it in quotes")
        return None
    if not value.isprintable():
        reader.wrong(f"{where}.{key}", "has characters that do not print")
    return value


def _headers(reader: Reader, value: Any, where: str) -> tuple[tuple[str, Secret], ...]:
    if not isinstance(value, dict):
        reader.wrong(where, "must be a mapping of header names to their values")
        return ()
    taken: set[str] = set()
    found = []
    for name, text in value.items():
        if not isinstance(name, str) or not TOKEN.fullmatch(name):
            reader.wrong(where, f"{name!r} is not the name of a header")
        elif name.lower() in taken:
            reader.wrong(f"{where}.{name}", "stands there a second time")
        elif not isinstance(text, str) or not VALUE.fullmatch(text):
            reader.wrong(
                f"{where}.{name}",
                "is not one line of printable ASCII, without blanks around it, in quotes",
            )
        else:
            taken.add(name.lower())
            found.append((name, Secret(text)))
    return tuple(found)


def _judge(
    reader: Reader, found: PatroniEndpoint, given: Container[str], where: str
) -> None:
    """What does not go together; `given` are the keys that are there, right or wrong."""
    secure = found.url.startswith("https:")
    passwords = [key for key in ("password", "password_file") if key in given]
    names = {name.lower() for name, _ in found.headers}
    if "keyfile" in given and "certfile" not in given:
        reader.wrong(f"{where}.keyfile", "needs 'certfile' beside it")
    if found.cafile and not found.verify:
        what = "false goes with no 'cafile', which is there to verify with"
        reader.wrong(f"{where}.verify", what)
    if found.server_name and not secure:
        reader.wrong(f"{where}.server_name", "goes with an https:// address only")
    if found.unix_socket and secure:
        what = "goes with an http:// address only: no TLS is spoken over it"
        reader.wrong(f"{where}.unix_socket", what)
    if found.unix_socket and len(found.unix_socket.encode()) > MAX_SOCKET:
        what = f"is longer than the {MAX_SOCKET} bytes that a socket's path can have"
        reader.wrong(f"{where}.unix_socket", what)
    if len(passwords) > 1:
        reader.wrong(f"{where}.password_file", "goes with no 'password' beside it")
    if passwords and "username" not in given:
        reader.wrong(f"{where}.{passwords[0]}", "needs 'username' beside it")
    if "username" in given and not passwords:
        what = "needs 'password' or 'password_file' beside it"
        reader.wrong(f"{where}.username", what)
    if found.username and ":" in found.username:  # RFC 7617, section 2
        reader.wrong(f"{where}.username", "has a colon, at which the password begins")
    if found.username and "authorization" in names:
        what = "goes with no 'username', which makes this header"
        reader.wrong(f"{where}.headers.Authorization", what)
