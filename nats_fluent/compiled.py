"""The compiled part (``_splice.c`` and the files beside it); each of its functions is None where it was not built.

It has an answer for what is common only, and None for all else: then Python decides. Where it has one, Python has the
same.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

Fields = dict[str, str | int | float]
"""Those fields of a map that are named, and hold a string or a number."""

Splice = Callable[[bytes, tuple[str, ...], bytes], tuple[bytes, Fields] | None]
"""Takes the msgpack of a map, names, and what `Watch` made; returns its plain msgpack, and some of its own fields, or
None where values are to be looked at: because of what they are, or of a watched key."""

SpliceEvent = Callable[
    [bytes, tuple[str, ...], bytes], tuple[bytes, Fields, str, str, str | None, int, int] | None
]
"""The same for an event, the names being those of its entity's fields; then identity, type, time as text, and its
seconds since 1970 and nanoseconds."""

SpliceJson = Callable[
    [bytes, tuple[str, ...], bytes, tuple[str, ...] | None],
    tuple[bytes, Fields, Fields | None] | None,
]
"""The same for a JSON object; it takes names of an entity's fields besides, and returns what there is of these in the
object under ``entity``: None where it has none, or no names were given. With names it has no answer where the entity
is no object."""

Watch = Callable[[tuple[str, ...]], bytes]
"""Takes keys of up to 255 bytes of UTF-8 each, and returns what the others take, to look out for them."""

TimeNs = Callable[[str], int | None]
"""Takes a time as RFC 3339, and returns the nanoseconds since 1970; for UTC, and the years 1970 to 2261."""

_compiled: Any = import_module("nats_fluent._splice") if find_spec("nats_fluent._splice") else None
splice: Splice | None = _compiled and _compiled.splice
splice_event: SpliceEvent | None = _compiled and _compiled.splice_event
splice_json: SpliceJson | None = _compiled and _compiled.splice_json
watch: Watch | None = _compiled and _compiled.watch
time_ns: TimeNs | None = _compiled and _compiled.time_ns
