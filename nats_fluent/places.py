"""Where in a message a value is: in its content, in its headers, or in its subject.

A place is text: ``order.id`` is the key ``id`` in the map ``order`` of the content, ``items.0.id`` goes through the
first item of a list, ``header:X-Time`` is a header, and ``subject:2`` the second token of the subject.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from nats_fluent.options import quote, word_of

if TYPE_CHECKING:
    from collections.abc import Mapping

Headers = dict[str, "str | list[str]"]
"""The headers of a message; a name that occurs several times has the list of its values."""

_TOKEN = re.compile(r"[1-9][0-9]?", re.ASCII)
_INDEX = re.compile(r"[0-9]{1,6}", re.ASCII)
_INTEGERS = range(-(2**63), 2**64)


def keys_of(path: str, example: str = "order.id") -> tuple[str, ...]:
    """Return the keys of a path, which stand with dots between.

    Raises:
        ValueError: one of them is empty.
    """
    keys = tuple(path.split("."))
    if "" in keys:
        raise ValueError(f"{quote(path)} has an empty key; write a path as in {example}")
    return keys


class Place(NamedTuple):
    """Where a value is.

    Attributes:
        of: ``content``, ``header`` or ``subject``.
        keys: of the content; or the name of the header, in lower case; or the number of the token, from 1.
    """

    of: str
    keys: tuple[str, ...]

    def find(self, content: Any, headers: Mapping[str, str | list[str]], subject: str) -> Any:  # noqa: ANN401 - any plain value
        """Return what is there; None where nothing is. Of several headers of that name, the first."""
        if self.of == "content":
            return _inside(content, self.keys)
        if self.of == "header":
            for name, value in headers.items():
                if name.lower() == self.keys[0]:
                    return value[0] if isinstance(value, list) else value
            return None
        tokens = subject.split(".")
        at = int(self.keys[0])
        return tokens[at - 1] if at <= len(tokens) else None


def _inside(content: Any, keys: tuple[str, ...]) -> Any:  # noqa: ANN401 - any plain value
    for key in keys:
        if isinstance(content, dict):
            content = content.get(key)
        elif isinstance(content, list) and _INDEX.fullmatch(key) and int(key) < len(content):
            content = content[int(key)]
        else:
            return None
    return content


def place_of(text: str) -> Place:
    """Read a place.

    Raises:
        ValueError: it is none.
    """
    kind, colon, rest = text.partition(":")
    if colon and kind == "header" and rest:
        return Place("header", (rest.lower(),))
    if colon and kind == "subject" and _TOKEN.fullmatch(rest):
        return Place("subject", (rest,))
    if colon and kind in ("header", "subject"):
        raise ValueError(f"{quote(text)} is not a place; write it as in header:X-Time or subject:2")
    if "*" in text:
        raise ValueError(f"{quote(text)} has a wildcard; a place is one value, as in order.id")
    return Place("content", keys_of(text))


def checked(raw: object) -> str:
    """Read the text of a place in the settings; it stays text there, to be shown as it was written."""
    text = word_of(raw)
    place_of(text)
    return text


def text_of(found: object) -> str:
    """Return as text what can be a name: a string, or an integer of 64 bits; empty for all else."""
    if type(found) is str:
        return found
    return str(found) if type(found) is int and found in _INTEGERS else ""
