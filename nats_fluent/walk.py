"""The careful msgpack reader: byte by byte, with all the tolerance of Go's codec, and a position in each error.

It exists for what the fast readers refuse: text that is not UTF-8, keys that are not strings, times past the
range of `datetime`, NaN, and anything broken, which it names. It holds its own stack, so that depth costs no
recursion, believes no declared length beyond the bytes that are there, and reads no more than `plain.MAX_VALUES`
values, at 0.5 us each.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from nats_fluent import plain
from nats_fluent.errors import Undecodable

_FLOAT, _DOUBLE = struct.Struct(">f"), struct.Struct(">d")
_STR = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BIN = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_UINT = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_INT = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_EXT = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXEXT = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_ARRAY = {0xDC: 2, 0xDD: 4}
_MAP = {0xDE: 2, 0xDF: 4}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


class Walker:
    """Reads msgpack values one after the other.

    Attributes:
        position: bytes read so far.
    """

    def __init__(self, data: bytes, stage: str) -> None:
        self._data = data
        self._stage = stage
        self._replaced = [0]
        self._left = plain.MAX_VALUES
        self.position = 0

    @property
    def replaced(self) -> int:
        """Bytes that were not UTF-8 so far."""
        return self._replaced[0]

    def value(self) -> Any:  # noqa: ANN401 - any plain value
        """Read one value, with all that it holds, as a plain value.

        Raises:
            Undecodable: it is broken, cut short, or nested deeper than `plain.MAX_DEPTH`.
        """
        stack: list[_Open] = []
        while True:
            at = self.position
            lead = self._byte()
            size = self._container(lead)
            value: Any
            if size is not None:
                if len(stack) >= plain.MAX_DEPTH:
                    raise self.error(f"nested deeper than {plain.MAX_DEPTH} levels", at)
                is_map = lead in _MAP or lead & 0xF0 == 0x80
                items = self._count(size, 2 if is_map else 1, at)
                opened = _Open({} if is_map else [], items)
                if items:
                    stack.append(opened)
                    if is_map:
                        opened.key = self.key()
                    continue
                value = opened.holds
            else:
                value = self._scalar(lead, at)
            while stack:
                top = stack[-1]
                top.put(value)
                if top.left:
                    if isinstance(top.holds, dict):
                        top.key = self.key()
                    break
                value = top.holds
                stack.pop()
            else:
                return value

    def key(self) -> str:
        """Read a map key. Go takes strings, bytes and nil; integers, floats and booleans lose nothing as text.

        Raises:
            Undecodable: a key of another type.
        """
        at = self.position
        lead = self._byte()
        raw = self._raw(lead)
        if raw is not None:
            return self._text(raw)
        if lead == 0xC0:
            return ""
        if self._container(lead) is None and lead not in _EXT and lead not in _FIXEXT:
            found = self._scalar(lead, at)
            return {True: "true", False: "false"}[found] if isinstance(found, bool) else str(found)
        raise self.error(f"a map key of type {_type_name(lead)}", at)

    def map_size(self) -> int:
        """Read the head of a map and return how many pairs it has.

        Raises:
            Undecodable: it is not a map.
        """
        at = self.position
        lead = self._byte()
        size = self._container(lead)
        if size is None or not (lead in _MAP or lead & 0xF0 == 0x80):
            raise self.error(f"{_type_name(lead)} where a map is expected", at)
        return self._count(size, 2, at)

    def nil(self) -> bool:
        """Whether the next value is nil; it is read then."""
        if self._data[self.position : self.position + 1] != b"\xc0":
            return False
        self.position += 1
        return True

    def raw(self) -> bytes | None:
        """Read bytes, as a bin or (from a codec without extensions) as a str; None for nil.

        Raises:
            Undecodable: it is neither.
        """
        at = self.position
        lead = self._byte()
        raw = self._raw(lead)
        if raw is None and lead != 0xC0:
            raise self.error(f"{_type_name(lead)} where bytes are expected", at)
        return raw

    def text(self) -> str:
        """Read a string; bytes are taken for one, and nil for the empty one, as Go does."""
        raw = self.raw()
        return "" if raw is None else self._text(raw)

    def integer(self) -> int:
        """Read an integer; a float without a fraction is taken for one and nil for 0, as Go does."""
        at = self.position
        lead = self._byte()
        found = None if self._container(lead) is not None else self._scalar(lead, at)
        if found is None and lead == 0xC0:
            return 0
        if isinstance(found, float) and found.is_integer():
            return int(found)
        if isinstance(found, bool) or not isinstance(found, int):
            raise self.error(f"{_type_name(lead)} where an integer is expected", at)
        return found

    def time(self) -> tuple[int, int] | None:
        """Read a time: the timestamp extension, or its bytes from a codec without extensions; None for nil.

        Raises:
            Undecodable: it is neither.
        """
        at = self.position
        lead = self._byte()
        if lead == 0xC0:
            return None
        raw = self._raw(lead)
        code = plain.TIMESTAMP
        if raw is None:
            if lead not in _EXT and lead not in _FIXEXT:
                raise self.error(f"{_type_name(lead)} where a time is expected", at)
            code, raw = self._extension(lead)
        if code != plain.TIMESTAMP:
            raise self.error(f"an extension of type {code} where a time is expected", at)
        try:
            return plain.timestamp(raw)
        except ValueError as error:
            raise self.error(str(error), at) from None

    def error(self, found: str, at: int) -> Undecodable:
        """Make the error that says what was found at which byte."""
        return Undecodable(self._stage, f"{found}, at byte {at} of {len(self._data)}")

    def _byte(self) -> int:
        """Read the byte that each value begins with."""
        self._left -= 1
        if self._left < 0:
            raise self.error(f"more than {plain.MAX_VALUES} values", self.position)
        return self._take(1)[0]

    def _take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self._data):
            left = len(self._data) - self.position
            raise self.error(f"cut short: {size} bytes announced, {left} left", self.position)
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def _uint(self, width: int) -> int:
        return int.from_bytes(self._take(width), "big")

    def _count(self, size: int, least: int, at: int) -> int:
        """Hold a declared number of items against the bytes left: each takes `least` at the least."""
        left = len(self._data) - self.position
        if size * least > left:
            raise self.error(f"cut short: {size} items announced, {left} bytes left", at)
        return size

    def _container(self, lead: int) -> int | None:
        """Return the number of items when the lead byte opens a map or an array."""
        if 0x80 <= lead <= 0x9F:
            return lead & 0x0F
        width = _ARRAY.get(lead) or _MAP.get(lead)
        return None if width is None else self._uint(width)

    def _raw(self, lead: int) -> bytes | None:
        if 0xA0 <= lead <= 0xBF:
            return self._take(lead & 0x1F)
        width = _STR.get(lead) or _BIN.get(lead)
        return None if width is None else self._take(self._uint(width))

    def _extension(self, lead: int) -> tuple[int, bytes]:
        size = _FIXEXT.get(lead) or self._uint(_EXT[lead])
        code = int.from_bytes(self._take(1), "big", signed=True)
        return code, self._take(size)

    def _text(self, raw: bytes) -> str:
        return plain.whole_text(raw.decode("utf-8", "surrogateescape"), self._replaced)

    def _scalar(self, lead: int, at: int) -> Any:  # noqa: ANN401, PLR0911 - one return for each family of types
        if lead <= 0x7F:
            return lead
        if lead >= 0xE0:
            return lead - 0x100
        raw = self._raw(lead)
        if raw is not None:
            return plain.base64(raw) if lead in _BIN else self._text(raw)
        if lead in _CONSTANTS:
            return _CONSTANTS[lead]
        if lead in _UINT:
            return self._uint(_UINT[lead])
        if lead in _INT:
            return int.from_bytes(self._take(_INT[lead]), "big", signed=True)
        if lead in (0xCA, 0xCB):
            packed = _FLOAT if lead == 0xCA else _DOUBLE
            return _finite(packed.unpack(self._take(packed.size))[0])
        if lead in _EXT or lead in _FIXEXT:
            try:
                return plain.extension(*self._extension(lead))
            except ValueError as error:
                raise self.error(str(error), at) from None
        raise self.error(f"the reserved byte 0x{lead:02x}", at)


class _Open:
    """A container that is being filled."""

    __slots__ = ("holds", "key", "left")

    def __init__(self, holds: dict[str, Any] | list[Any], left: int) -> None:
        self.holds = holds
        self.left = left
        self.key = ""

    def put(self, value: Any) -> None:  # noqa: ANN401 - any plain value
        if isinstance(self.holds, dict):
            self.holds[self.key] = value
        else:
            self.holds.append(value)
        self.left -= 1


def _finite(number: float) -> float | str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def _type_name(lead: int) -> str:  # noqa: PLR0911 - a table of ranges
    if lead in (0xC0, 0xC2, 0xC3):
        return {0xC0: "nil", 0xC2: "false", 0xC3: "true"}[lead]
    if lead <= 0x7F or lead >= 0xE0 or lead in _UINT or lead in _INT:
        return "an integer"
    if 0xA0 <= lead <= 0xBF or lead in _STR:
        return "a string"
    if lead in _BIN:
        return "bytes"
    if lead in (0xCA, 0xCB):
        return "a float"
    if lead in _EXT or lead in _FIXEXT:
        return "an extension"
    if lead in _MAP or lead & 0xF0 == 0x80:
        return "a map"
    if lead in _ARRAY or lead & 0xF0 == 0x90:
        return "an array"
    return f"the reserved byte 0x{lead:02x}"
