"""Functions of a user's that make records of publications: how they are marked, found and called.

A handler is called where the record of a publication is ready: after the topic's filters, and after redaction. So
neither a record of its making, nor what it raises, nor what it prints, can hold what was redacted.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgpack
import msgspec

from nats_fluent import plain
from nats_fluent.errors import SettingsError
from nats_fluent.objects import plain_of
from nats_fluent.published import Publication
from nats_fluent.record import FILTERED, Transformed, tag_part

if TYPE_CHECKING:
    from nats_fluent.delivery import Delivery
    from nats_fluent.record import Record as Made
    from nats_fluent.record import Recorder

MOST_RECORDS = 1_000
"""Records that one publication may become. All of them are in memory at once."""

MOST_ERROR = 300
"""Characters of what a handler raised that go into the record."""

_MARK = "__nats_fluent_on__"
_ANY = ""

Function = TypeVar("Function", bound=Callable[[Publication], object])


class Record(dict[str, Any]):
    """The fields of a record, with a tag of its own.

    Args:
        fields: as a handler may return them as a dict.
        tag: the Fluent tag; what does not fit in one becomes ``_``, and it is cut after 128 characters.
    """

    def __init__(self, fields: Mapping[str, Any], *, tag: str) -> None:
        if not isinstance(tag, str) or not tag:
            raise TypeError("Record: the tag is a string that is not empty")
        super().__init__(fields)
        self.tag = tag


class _On:
    """Marks a function as the handler of some publications.

    ``@on("enforcer", operation="update")``: of these. ``@on("enforcer", "processingunit")``: whatever is done to them.
    ``@on(operation="delete")``: whatever it is done to. ``@on.default``, the same as ``@on()``: of all the rest. Of
    several that fit, the first in this order is called: the one for identity and operation, the one for the identity,
    the one for the operation, the default.
    """

    def __call__(
        self, *identities: str, operation: str | Iterable[str] = ()
    ) -> Callable[[Function], Function]:
        """Return the decorator.

        Args:
            identities: any of these; without one, whatever it is about.
            operation: one, or any of several; without one, whatever was done.

        Raises:
            TypeError: one of them is not a text, or the function cannot be a handler.
        """
        operations = (operation,) if isinstance(operation, str) else tuple(operation)
        for name in (*identities, *operations):
            if not isinstance(name, str) or not name:
                raise TypeError(
                    'write @on("identity", operation="update"), or @on.default, above the function'
                )
        wanted = [
            (identity, each.lower()) for identity in identities or (_ANY,) for each in operations or (_ANY,)
        ]

        def decorate(function: Function) -> Function:
            _check(function)
            vars(function).setdefault(_MARK, []).extend(wanted)
            return function

        return decorate

    def default(self, function: Function) -> Function:
        """Mark a function as the handler of what has no other."""
        return self()(function)


on = _On()


def _check(function: Callable[..., object]) -> None:
    """Refuse what cannot be a handler, where that can be seen before it is called."""
    if not inspect.isfunction(function):
        raise TypeError(f"@on: {function!r} is not a function")
    name = function.__name__
    if inspect.iscoroutinefunction(function):
        raise TypeError(
            f"@on: {name} is async; a handler is called between two reads of the network, write def"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"@on: {name} has a yield; return a list of the records")
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise TypeError(f"@on: {name} cannot be called with a publication alone: {error}") from None


class Handler(NamedTuple):
    """A function and what it is called where people read."""

    name: str
    function: Callable[[Publication], object]


class Handlers:
    """The handlers of all files and packages."""

    def __init__(self) -> None:
        self._by: dict[tuple[str, str], Handler] = {}

    def add(self, function: object, source: str) -> bool:
        """Take a function; return whether it is marked as a handler.

        Args:
            function: any object.
            source: where it is from, for messages.

        Raises:
            SettingsError: there is another one for the same publications.
        """
        # Whatever else a module has may say that it has any attribute.
        if not isinstance(function, FunctionType) or _MARK not in vars(function):
            return False
        handler = Handler(f"{source}:{function.__name__}", function)
        for about in vars(function)[_MARK]:
            other = self._by.setdefault(about, handler)
            if other.function is not function:
                raise SettingsError(
                    f"transforms: {handler.name} and {other.name} are both for {_named(about)}; leave one out."
                )
        return True

    def find(self, identity: str, operation: str) -> Handler | None:
        """Return the handler of what is said to be about this; None where there is none."""
        by, operation = self._by, operation.lower()
        return (
            by.get((identity, operation))
            or by.get((identity, _ANY))
            or by.get((_ANY, operation))
            or by.get((_ANY, _ANY))
        )

    def __len__(self) -> int:
        return len({handler.function for handler in self._by.values()})

    def __str__(self) -> str:
        return ", ".join(f"{_named(about)}: {handler.name}" for about, handler in self._by.items())


def _named(about: tuple[str, str]) -> str:
    return " ".join(filter(None, reversed(about))) or "all the rest"


class Transforming:
    """A recorder whose records are those that handlers make, where there is one.

    What cannot be decoded goes to no handler.

    Args:
        recorder: makes the records of which handlers make others.
        handlers: the handlers.
        levels: how deep the value of a field may be, what is deeper going out as its JSON text; None for any depth.
    """

    def __init__(self, recorder: Recorder, handlers: Handlers, *, levels: int | None) -> None:
        self._recorder = recorder
        self._find = handlers.find
        self._levels = levels

    def record(self, delivery: Delivery, now_ns: int) -> Made:
        """Make the record of a delivery, or those that its handler makes of it; arguments as of `Recorder.record`."""
        made = self._recorder.record(delivery, now_ns)
        if made.error or made.filtered:
            return made
        handler = self._find(made.identity, made.operation)
        if handler is None:
            return made
        whole: dict[str, Any] = msgspec.msgpack.decode(made.packed)
        try:
            returned = handler.function(Publication(whole))
            records = self._records(made, whole, returned)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the record is not lost
            return self._untouched(made, whole, handler.name, error)
        if not records:
            return msgspec.structs.replace(FILTERED, ack_asked=made.ack_asked)
        first, *more = records
        if more:
            return msgspec.structs.replace(first, transformed=Transformed(tuple(more)))
        return first

    def _records(self, made: Made, whole: dict[str, Any], returned: object) -> list[Made]:
        if returned is None:
            return []
        if isinstance(returned, Mapping):
            return [self._one(made, whole, returned, "")]
        if not isinstance(returned, list | tuple):
            if inspect.iscoroutine(returned):
                returned.close()
            raise TypeError(f"returned {_type(returned)}; a handler returns a dict, a list of dicts, or None")
        if len(returned) > MOST_RECORDS:
            raise ValueError(f"returned {len(returned)} records; it may be {MOST_RECORDS}")
        return [self._one(made, whole, each, f"-{at}") for at, each in enumerate(returned)]

    def _one(self, made: Made, whole: dict[str, Any], returned: object, suffix: str) -> Made:
        """Make the record of what a handler returned, over the fields that every record has."""
        if not isinstance(returned, Mapping):
            raise TypeError(f"returned a list with {_type(returned)}; a record is a dict")
        if "id" in returned:
            raise ValueError("returned a field id, which this program gives; call yours by another name")
        own: dict[str, Any] = plain_of(returned)
        fields = {name: value for name, value in whole.items() if name != "content"}
        fields["id"] += suffix
        levels = self._levels
        fields |= {
            name: value if levels is None else plain.flatten(value, levels) for name, value in own.items()
        }
        if not isinstance(fields["key"], str) or not fields["key"]:
            raise ValueError("returned a key that is not a text; it is what keeps publications in order")
        time_ns: int | None = made.time_ns
        if "timestamp" in own:
            text = own["timestamp"]
            time_ns = plain.parse_rfc3339(text) if isinstance(text, str) else None
            if time_ns is None or time_ns < 0:
                raise ValueError("returned a timestamp that is not RFC 3339, or before 1970")
        packed = msgpack.packb(fields)
        if size := self._recorder.oversize(packed):
            raise ValueError(f"returned a record of {size}, over the limit (record.max_bytes)")
        tag = tag_part(returned.tag) if isinstance(returned, Record) else made.tag
        return msgspec.structs.replace(made, tag=tag, time_ns=time_ns, packed=packed)

    def _untouched(self, made: Made, whole: dict[str, Any], name: str, error: BaseException) -> Made:
        """Return the record as if there were no handler, with what went wrong noted in it where there is room."""
        reason = _reason(error)
        content = {"content": whole.pop("content")} if "content" in whole else {}
        packed = msgpack.packb({**whole, "transform_error": reason, **content})
        if self._recorder.oversize(packed):
            packed = made.packed
        return msgspec.structs.replace(made, packed=packed, transformed=Transformed((), name, reason))


def _type(value: object) -> str:
    return f"an object of type {type(value).__name__}"


def _reason(error: BaseException) -> str:
    """Return type, message and line of what a handler raised, short and as Unicode."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - of a class of the user's
        text = "?"
    text = f"{type(error).__name__}: {text[:MOST_ERROR]}".encode("utf-8", "replace").decode()
    # The first frame is this module's.
    frames = traceback.extract_tb(error.__traceback__)[1:]
    inner = [frame for frame in frames if frame.filename != __file__]
    if not inner:
        return text
    # Of the frames of the handler's own file the innermost.
    last = [frame for frame in inner if frame.filename == inner[0].filename][-1]
    return f"{text} ({last.filename.rpartition('/')[2]}:{last.lineno})"
