"""The compiled part (``_splice.c`` and those beside it, ``_frames.c``); each function is None where it was not built.

It has an answer for what is common only, and None for all else: then Python decides. Where it has one, Python has the
same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

Names = tuple["str | tuple[str, Names]", ...]
"""Names of a map's fields, up to MOST_NAMES, each of up to LONGEST_NAME bytes of UTF-8. A pair of a name and names is
of the fields of the map which that field holds, up to MOST_MAPS maps in all, the outermost one included."""

Fields = dict[str, "str | int | float | Fields"]
"""Those fields of a map that are named, and hold a string or a number, or a map of which fields are named."""

MOST_NAMES = 32
LONGEST_NAME = 63
MOST_MAPS = 8

Splice = Callable[[bytes, Names, bytes], tuple[bytes, Fields] | None]
"""Takes the msgpack of a map, names, and what `Watch` made; returns its plain msgpack, and some of its fields, or None
where values are to be looked at: because of what they are, of a watched key, or as one is no map whose fields are
named."""

SplicePublication = Callable[
    [bytes, tuple[Names, Names, Names], bytes],
    tuple[bool, bytes, Fields, str | None, str | None, str | None, int | None] | None,
]
"""Takes a publication, names for the entity of an event in msgpack, any other object in msgpack, and JSON, and what
`Watch` made; returns whether its publisher waits for an answer, the plain msgpack of its content, and some fields; then
of an event in msgpack identity, type, time as text, and the same in nanoseconds since 1970."""

Record = Callable[[bytes, dict[str, Any], bytes], bytes | None]
"""Takes the msgpack of a map of up to 15 fields, more fields, and the msgpack of the content; returns the msgpack of a
map of all of them, or None where a field is no text and no integer that is not negative, or they are more than 15."""

Watch = Callable[[tuple[str, ...]], bytes]
"""Takes keys of up to 255 bytes of UTF-8 each, and returns what the others take, to look out for them."""

TimeNs = Callable[[str], int | None]
"""Takes a time as RFC 3339, and returns the nanoseconds since 1970; for UTC, and the years 1970 to 2261."""

Frames = Callable[[bytes, int, dict[int, Any], list[Any]], int]
"""Takes what was read from NATS, an index, marks by subscription id, and a list to put messages into; returns the index
up to which it read."""

_frames: Any = import_module("nats_fluent._frames") if find_spec("nats_fluent._frames") else None
frames: Frames | None = _frames and _frames.frames

_compiled: Any = import_module("nats_fluent._splice") if find_spec("nats_fluent._splice") else None
splice: Splice | None = _compiled and _compiled.splice
splice_json: Splice | None = _compiled and _compiled.splice_json
splice_publication: SplicePublication | None = _compiled and _compiled.splice_publication
record: Record | None = _compiled and _compiled.record
watch: Watch | None = _compiled and _compiled.watch
time_ns: TimeNs | None = _compiled and _compiled.time_ns


def names_of(paths: Iterable[tuple[str, ...]]) -> Names | None:
    """Return the names of the fields at some paths; None where these are more than can be asked for.

    Args:
        paths: keys, each but the last of a map within the one before; one that is a number may be the place in a list,
            which cannot be asked for.
    """
    tree: dict[str, Any] = {}
    maps = [tree]
    for path in paths:
        if any(key.isdecimal() for key in path[1:]) or any(len(key.encode()) > LONGEST_NAME for key in path):
            return None
        inside = tree
        for key in path[:-1]:
            if not inside.get(key):
                maps.append(inside.setdefault(key, {}))
            inside = inside[key]
        inside.setdefault(path[-1], {})
    if len(maps) > MOST_MAPS or any(len(each) > MOST_NAMES for each in maps):
        return None
    return _names(tree)


def _names(tree: dict[str, Any]) -> Names:
    return tuple((key, _names(inside)) if inside else key for key, inside in tree.items())
