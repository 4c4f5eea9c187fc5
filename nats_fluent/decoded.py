"""What a format makes of a payload."""

from __future__ import annotations

from typing import Any

import msgspec


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """A payload that was read.

    Attributes:
        content: the value: of the built-in formats a plain one, of a format of one's own anything that msgpack holds.
        time_ns: its own time in nanoseconds since 1970; None where it has none.
        key: what groups what must stay in order; empty for the subject.
        identity: what it is about, and
        operation: what was done to it, and
        namespace: where that is; each empty where it does not say.
        replaced: bytes that were not UTF-8 and are U+FFFD in it.
        packed: the content as plain msgpack, where it was made without a look at its values; of these the content
            then has those only that were asked for.
    """

    content: Any
    time_ns: int | None = None
    key: str = ""
    identity: str = ""
    operation: str = ""
    namespace: str = ""
    replaced: int = 0
    packed: bytes = b""
