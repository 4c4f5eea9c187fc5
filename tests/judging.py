"""The recorded payloads of the real Go libraries, and what Go makes of each."""

from __future__ import annotations

import hashlib
import json
import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORY = Path(__file__).parent / "vectors"


class Vector(NamedTuple):
    """One payload.

    Attributes:
        name: ``stack/class/name``.
        payload: what was published.
        go: what the JSON file says.
    """

    name: str
    payload: bytes
    go: dict[str, Any]

    @property
    def refused(self) -> set[str]:
        """The stages at which Go could not decode it. Rendering is not decoding, and structs are Go's alone."""
        return {
            stage for stage in self.go.get("errors", {}) if stage != "typed" and not stage.endswith("_json")
        }


@cache
def vectors() -> dict[str, Vector]:
    """Every vector by its name; each payload is the one that the JSON file speaks of."""
    found = {}
    for file in sorted(DIRECTORY.glob("*/*/*.json")):
        go = json.loads(file.read_text())
        payload = file.with_suffix(".bin").read_bytes()
        digest = go["payload_sha256"] or hashlib.sha256(b"ack").hexdigest()  # the answers have none
        assert hashlib.sha256(payload).hexdigest() == digest, file
        name = str(file.relative_to(DIRECTORY).with_suffix(""))
        assert name == f"{go['stack']}/{go['class']}/{go['name']}"
        found[name] = Vector(name, payload, go)
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 is 1.0 but not true, and text is equal character by character."""
    return _equal(one, other, lambda a, b: a == b and isinstance(a, bool) is isinstance(b, bool))


def exactly(one: Any, other: Any) -> bool:
    """As `same`, and of the same types: 1 is not 1.0, and 0.0 is not -0.0."""
    return _equal(one, other, lambda a, b: type(a) is type(b) and repr(a) == repr(b))


def _equal(one: Any, other: Any, leaves: Callable[[Any, Any], bool]) -> bool:
    """Compare without recursion: some are 500 levels deep."""
    pairs = [(one, other)]
    while pairs:
        a, b = pairs.pop()
        if isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                return False
            pairs += [(value, b[name]) for name, value in a.items()]
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            pairs += zip(a, b, strict=True)
        elif not leaves(a, b):
            return False
    return True


def not_plain(value: Any) -> list[str]:
    """What this value holds that a record may not."""
    found = []
    values = [value]
    while values:
        match values.pop():
            case dict() as holds:
                values += [*holds, *holds.values()]
                found += [f"the key {key!r}" for key in holds if not isinstance(key, str)]
            case list() as holds:
                values += holds
            case None | bool():
                pass
            case str() as text:
                text.encode()  # refuses what is not Unicode
            case int() as number if -(2**63) <= number < 2**64:
                pass
            case float() as number if math.isfinite(number):
                pass
            case other:
                found.append(repr(other))
    return found
