"""What a publication says, to be read and not written: by attribute, by item, and as a mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from math import isfinite, isnan
from typing import Any, NoReturn

from nats_fluent import plain
from nats_fluent.options import nearest

MOST_LEVELS = 200
"""Containers in containers that a program may make. CPython 3.11 takes two of its 1,000 frames for each."""

_SHOWN = 20
"""Names of fields in the message for one that is not there."""


class NoField(AttributeError):  # noqa: N818 - what is said, not what kind of error
    """There is no such field; the message names the nearest one."""

    def __init__(self, name: str, known: Mapping[str, Any]) -> None:
        super().__init__(name)
        self._known = known

    def __str__(self) -> str:
        # Only when it is asked for: `getattr(object, name, None)` is common, and the nearest name takes long.
        name = self.args[0]
        if hint := nearest(name, self._known):
            return f"there is no field {name!r}{hint}"
        fields = ", ".join(list(self._known)[:_SHOWN]) + (", ..." if len(self._known) > _SHOWN else "")
        return f"there is no field {name!r}; there is {fields or 'none'}"


class Object(Mapping[str, Any]):
    """A map of a publication: ``it.name`` and ``it["name"]`` are the same.

    It cannot be changed: what it shows may still go out as it is. Lists are copies, maps in it are objects like this
    one. ``dict(it)`` is a dict of its own, for a start of another. A field whose name is not an identifier, begins
    with ``_``, or is that of a method of mappings (``get``, ``keys``, ``items``, ``values``) is found by item only.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_fields", fields)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - any plain value
        return view(self._fields[name])

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any plain value
        # `copy` and `pickle` ask for names of theirs before there are fields.
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return view(self._fields[name])
        except KeyError:
            raise NoField(name, self._fields) from None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot set {name!r}: what was published is read-only")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete {name!r}: what was published is read-only")

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        fields: Mapping[str, Any] = self._fields
        return fields == (other._fields if isinstance(other, Object) else other)

    __hash__ = None  # type: ignore[assignment] # as of a dict

    def __repr__(self) -> str:
        return f"Object({self._fields!r})"

    def __reduce__(self) -> tuple[type[Object], tuple[Mapping[str, Any]]]:
        return Object, (self._fields,)


def view(value: Any) -> Any:  # noqa: ANN401 - any plain value
    """Return the value in a form in which what it comes from cannot be changed."""
    if isinstance(value, dict):
        return Object(value)
    return [view(item) for item in value] if isinstance(value, list) else value


def plain_of(value: Any, levels: int = MOST_LEVELS) -> Any:  # noqa: ANN401, C901, PLR0911 - a branch for each type
    """Return what a program made as a plain value (see `nats_fluent.plain`).

    Bytes, times with a zone, and floats that are not finite become text, as in what was published.

    Args:
        value: any object.
        levels: containers in containers that may be.

    Raises:
        TypeError: there is a type that has no such form.
        ValueError: there is a value that has none.
    """
    match value:
        case None | bool() | str():
            return value
        case int():
            if not plain.INT_MIN <= value <= plain.INT_MAX:
                raise ValueError(f"an integer beyond 64 bits: {str(value)[:40]}")
            return value
        case float():
            return (
                value
                if isfinite(value)
                else "NaN"
                if isnan(value)
                else "Infinity"
                if value > 0
                else "-Infinity"
            )
        case bytes() | bytearray():
            return plain.base64(bytes(value))
        case datetime():
            return _time(value)
        case Object():
            return value._fields
        case Mapping() | list() | tuple():
            if not levels:
                raise ValueError(f"nested deeper than {MOST_LEVELS} levels")
            if not isinstance(value, Mapping):
                return [plain_of(item, levels - 1) for item in value]
            for key in value:
                if not isinstance(key, str):
                    raise TypeError(f"a key of type {type(key).__name__}, where a string is expected")
            return {key: plain_of(item, levels - 1) for key, item in value.items()}
    raise TypeError(f"a value of type {type(value).__name__}, for which a record has no form")


def _time(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError(f"a time without a zone: {value.isoformat()}")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
