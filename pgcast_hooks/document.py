"""A YAML document and what is wrong with it; knows nothing of what it configures.

`read` gives a file's document and the keys that stand twice in it, where YAML's last one
would silently win. `Reader` takes values out of a document, notes every mistake with the
path of its key, and goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

import yaml

MAX_SECONDS = 3600.0


def read(path: str) -> tuple[Any, list[str]]:
    """The document of a file, and a line for each key that stands twice.

    Raises OSError, and ValueError where the file is not YAML.
    """
    with open(path, "rb") as file:
        try:
            loader = _Loader(file)
            try:
                return loader.get_single_data(), loader.duplicates
            finally:
                loader.dispose()
        except OSError:
            raise
        except (
            Exception
        ) as error:  # of any kind: a tag's constructor raises what it likes
            raise ValueError(f"is not YAML: {' '.join(str(error).split())}") from error


class Reader:
    """Takes values out of a document, notes what is wrong with them and goes on."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)

    def wrong(self, where: str, what: str) -> None:
        self.problems.append(f"{where}: {what}" if where else what)

    def mapping(self, value: Any, where: str, keys: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.wrong(
                where,
                f"must be a mapping with {', '.join(keys)}"
                + ("" if value is None else f", not {value!r}"),
            )
            return {}
        for key in value:
            if key not in keys:
                self.wrong(
                    f"{where}.{key}" if where else str(key),
                    f"unknown key{_did_you_mean(key, keys)}",
                )
        return value

    def word(self, value: Any, where: str, words: Sequence[str]) -> str | None:
        if isinstance(value, str) and value in words:
            return value
        self.wrong(
            where,
            f"{value!r} is not one of {', '.join(words)}{_did_you_mean(value, words)}",
        )
        return None

    def seconds(
        self,
        section: Mapping[str, Any],
        key: str,
        where: str,
        default: float,
        most: float = MAX_SECONDS,
    ) -> float:
        value = section.get(key, default)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 < value <= most:
            self.wrong(
                f"{where}.{key}",
                f"{str(value)[:40]!r} is not a number of seconds above 0 and up to {most:g}",
            )
            return default
        return float(value)

    def path(
        self, section: Mapping[str, Any], key: str, where: str, default: str | None
    ) -> str | None:
        value = section.get(key, default)
        if value is None and key not in section:
            return None
        if (
            not isinstance(value, str)
            or not value.startswith("/")
            or not value.isprintable()
        ):
            self.wrong(
                f"{where}.{key}" if where else key, f"{value!r} is not an absolute path"
            )
            return default
        return value

    def parsed(
        self, value: Any, where: str, parse: Callable[[str], Any], noun: str
    ) -> Any:
        """An address or a prefix; only text counts, because ipaddress takes any number
        for an address."""
        if isinstance(value, str) and "%" not in value:
            try:
                return parse(value)
            except ValueError as error:
                self.wrong(where, f"{value!r} is not a {noun}: {error}")
        else:
            self.wrong(where, f"{value!r} is not a {noun}")
        return None


def _did_you_mean(value: Any, words: Sequence[str]) -> str:
    import difflib  # only for mistakes: a withdrawal does not pay for it

    close = difflib.get_close_matches(str(value), words, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that notices a key that stands twice, where YAML's last one would
    silently win."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.duplicates: list[str] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if key.value in seen if isinstance(key.value, str) else False:
                self.duplicates.append(
                    f"line {key.start_mark.line + 1}: {key.value!r} stands here a second time"
                )
            elif isinstance(key.value, str):
                seen.add(key.value)
        return super().construct_mapping(node, deep)
