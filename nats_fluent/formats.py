"""What a payload is, where it is no publication of the Go libraries: JSON, msgpack, text, a CloudEvent, or any bytes.

A format reads a payload to `Decoded`. As elsewhere, there is a fast reader, which refuses what it cannot make plain
(see `nats_fluent.plain`), and a careful one that decides; where the fast one has an answer, so has the other, the same.

A format of one's own is a function `Decode`. What it gives is made plain here, and whatever it raises makes the payload
undecodable, so that it need care for neither.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import msgpack
import msgspec

from nats_fluent import cloudevents, compiled, plain
from nats_fluent.decoded import Decoded
from nats_fluent.envelope import JSON, MSGPACK, fast_envelope
from nats_fluent.errors import Undecodable
from nats_fluent.walk import Walker

if TYPE_CHECKING:
    from nats_fluent.compiled import Fields, Names
    from nats_fluent.places import Headers

Decode = Callable[[bytes, "Headers", str], Decoded]
"""Takes the payload, the headers and the subject of a message, and returns what it says; raises `Undecodable`."""

_STAGE = "payload"
_NS = 1_000_000_000
_UNITS = ((10**11, _NS), (10**14, 10**6), (10**17, 10**3), (10**20, 1))
"""Below which number a time is in seconds, milliseconds, microseconds, nanoseconds, and how many of the last these are:
each unit up to the year 5138, from March 1973 on as the next one has to be at least so large."""
_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)
_MAP = frozenset([*range(0x80, 0x90), 0xDE, 0xDF])
"""The bytes that begin a map in msgpack."""

_one_value = msgspec.msgpack.Decoder(msgspec.Raw).decode
"""Passes over one value, and refuses more behind it."""


class Format(Protocol):
    """How payloads are read."""

    def fast(self, payload: bytes, headers: Headers, subject: str) -> Decoded:
        """Read what is usual; NotFast for all else."""

    def careful(self, payload: bytes, headers: Headers, subject: str) -> Decoded:
        """Read anything that is of the format; Undecodable for all else."""


class Json:
    """One JSON text, of any value.

    Args:
        names: of the content's fields, those that are looked for; None where it is to be looked into further.
        watched: what `publication.watch` made of keys whose values are to be looked at.
    """

    def __init__(self, names: Names | None = None, watched: bytes = b"") -> None:
        self._names = names
        self._watched = watched

    def fast(self, payload: bytes, _headers: Headers, _subject: str) -> Decoded:
        """Read what msgspec takes; an object, where possible, without a look at its values."""
        spliced = _spliced_json(payload, self._names, self._watched)
        if spliced is not None:
            packed, found = spliced
            return Decoded(found, packed=packed)
        return Decoded(plain.fast_json(payload))

    def careful(self, payload: bytes, _headers: Headers, _subject: str) -> Decoded:
        """Read what is not UTF-8 or very deep, too."""
        value, replaced = _json(payload)
        return Decoded(value, replaced=replaced)


class Msgpack:
    """One msgpack value.

    Args:
        names: as of `Json`.
        watched: see there.
    """

    def __init__(self, names: Names | None = None, watched: bytes = b"") -> None:
        self._names = names
        self._watched = watched

    def fast(self, payload: bytes, _headers: Headers, _subject: str) -> Decoded:
        """Read what ormsgpack takes; a map, where possible, without a look at its values."""
        names, splice = self._names, compiled.splice
        if names is not None and splice is not None and len(payload) <= plain.MAX_VALUES:
            spliced = splice(payload, names, self._watched)
            if spliced is not None:
                packed, found = spliced
                return Decoded(found, packed=packed)
        return Decoded(_fast_msgpack(payload))

    def careful(self, payload: bytes, _headers: Headers, _subject: str) -> Decoded:
        """Read byte by byte."""
        return _msgpack(payload)


class Text:
    """Text, whatever it says."""

    def fast(self, payload: bytes, _headers: Headers, _subject: str) -> Decoded:
        """Read UTF-8."""
        try:
            return Decoded(payload.decode())
        except UnicodeDecodeError:
            raise plain.NotFast from None

    def careful(self, payload: bytes, _headers: Headers, _subject: str) -> Decoded:
        """Read UTF-8, with U+FFFD for each byte that is not."""
        replaced = [0]
        text = plain.whole_text(payload.decode("utf-8", "surrogateescape"), replaced)
        return Decoded(text, replaced=replaced[0])


class Raw:
    """Bytes, as base64."""

    def fast(self, payload: bytes, _headers: Headers, _subject: str) -> Decoded:
        """Encode them."""
        return Decoded(plain.base64(payload))

    careful = fast


class CloudEvents:
    """CloudEvents, structured or binary (`nats_fluent.cloudevents`).

    Args:
        names: as of `Json`.
        watched: see there.
    """

    def __init__(self, names: Names | None = None, watched: bytes = b"") -> None:
        self._names = None if names is None else names + cloudevents.USED
        self._watched = watched

    def fast(self, payload: bytes, headers: Headers, _subject: str) -> Decoded:
        """Read what msgspec takes; a structured event as `Json` does."""
        if cloudevents.is_structured(headers):
            spliced = _spliced_json(payload, self._names, self._watched)
            if spliced is not None:
                return _spliced_event(*spliced)
        return cloudevents.decode(payload, headers, _fast_json)

    def careful(self, payload: bytes, headers: Headers, _subject: str) -> Decoded:
        """Read what is not UTF-8 or very deep, too."""
        return cloudevents.decode(payload, headers, _json)


class Auto:
    """The first of these that it is: a CloudEvent, JSON, a msgpack map, text in UTF-8, or bytes.

    A publication of the Go libraries comes before all of these; see `seems_publication`.

    Args:
        names: as of `Json`.
        watched: see there.
    """

    def __init__(self, names: Names | None = None, watched: bytes = b"") -> None:
        self._names = None if names is None else names + cloudevents.USED
        self._watched = watched
        self._event = CloudEvents(names, watched)
        self._msgpack = Msgpack(names, watched)

    def fast(self, payload: bytes, headers: Headers, subject: str) -> Decoded:
        """Read what msgspec and ormsgpack take, but no text: whether that is JSON the careful reader says."""
        if headers and cloudevents.claimed(headers):
            return self._event.fast(payload, headers, subject)
        if payload and payload[0] in _MAP:  # no JSON begins so
            return self._msgpack.fast(payload, headers, subject)
        spliced = _spliced_json(payload, self._names, self._watched)
        if spliced is not None:
            packed, found = spliced
            is_event = cloudevents.is_event(found)
            return _spliced_event(packed, found) if is_event else Decoded(found, packed=packed)
        value = plain.fast_json(payload)
        return cloudevents.decoded(value, 0) if cloudevents.is_event(value) else Decoded(value)

    def careful(self, payload: bytes, headers: Headers, _subject: str) -> Decoded:
        """Read anything."""
        if headers and cloudevents.claimed(headers):
            return cloudevents.decode(payload, headers, _json)
        if payload and payload[0] in _MAP:
            try:
                return _msgpack(payload)
            except Undecodable:
                pass
        else:
            try:
                value, replaced = _json(payload)
            except Undecodable:
                pass
            else:
                if cloudevents.is_event(value):
                    return cloudevents.decoded(value, replaced)
                return Decoded(value, replaced=replaced)
        try:
            return Decoded(payload.decode())
        except UnicodeDecodeError:
            return Decoded(plain.base64(payload))


class Own:
    """A format that is not of this package.

    Args:
        name: of the format.
        decode: reads a payload.
    """

    def __init__(self, name: str, decode: Decode) -> None:
        self._name = name
        self._decode = decode

    def fast(self, _payload: bytes, _headers: Headers, _subject: str) -> NoReturn:
        """Leave it to the other one: what is found is not known to be plain."""
        raise plain.NotFast

    def careful(self, payload: bytes, headers: Headers, subject: str) -> Decoded:
        """Read a payload, and make what is found plain: msgpack holds it, and is read as any other."""
        try:
            found = self._decode(payload, headers, subject)
            texts = found.key, found.identity, found.operation, found.namespace
            if not all(isinstance(text, str) for text in texts):
                raise TypeError("a key, identity, operation or namespace that is no str")  # noqa: TRY301 - as theirs
            if not isinstance(found.time_ns, int | None):
                raise TypeError("a time_ns that is no int")  # noqa: TRY301
            packed = msgpack.packb((found.content, *texts), datetime=True, unicode_errors="surrogatepass")
        except Exception as error:  # noqa: BLE001 - it is not ours, and may raise anything
            shown = error.reason if isinstance(error, Undecodable) else f"{type(error).__name__}: {error}"
            stage = error.stage if isinstance(error, Undecodable) else self._name
            raise Undecodable(
                *(str(part).encode("utf-8", "replace").decode() for part in (stage, shown))
            ) from None
        walker = Walker(packed, self._name)
        content, key, identity, operation, namespace = walker.value()
        return Decoded(content, found.time_ns, key, identity, operation, namespace, replaced=walker.replaced)


BUILT_IN: dict[str, Format] = {
    "json": Json(),
    "msgpack": Msgpack(),
    "text": Text(),
    "raw": Raw(),
    "cloudevents": CloudEvents(),
    "auto": Auto(),
}
"""The formats beside ``publication``, which `nats_fluent.publication` reads."""

SPLICED: dict[str, Callable[[Names, bytes], Format]] = {
    "json": Json,
    "msgpack": Msgpack,
    "cloudevents": CloudEvents,
    "auto": Auto,
}
"""Those of them that may do without a look at the values, given what `Json` takes."""


def seems_publication(payload: bytes) -> bool:
    """Whether a payload is an envelope in the form that the Go libraries write since April 2019."""
    if not payload or payload[0] not in _MAP:
        return False
    try:
        return fast_envelope(payload).encoding in (MSGPACK, JSON)
    except plain.NotFast:
        return False


def time_of(found: object) -> int | None:
    """Return the nanoseconds since 1970 that a value says; None where it is no time, or none after 1970.

    Args:
        found: RFC 3339, or a number, also as text: of seconds below 1e11, of milliseconds below 1e14, of microseconds
            below 1e17, of nanoseconds below 1e20.
    """
    if type(found) is str:
        if not _NUMBER.fullmatch(found):
            ns = plain.parse_rfc3339(found)
            return ns if ns is not None and ns > 0 else None
        number: int | Decimal = Decimal(found)
    elif type(found) is int:
        number = found
    elif type(found) is float and math.isfinite(found):
        number = Decimal(repr(found))  # the digits as they were written
    else:
        return None
    if number <= 0:
        return None
    return next((int(number * ns) for limit, ns in _UNITS if number < limit), None)


def _spliced_json(payload: bytes, names: Names | None, watched: bytes) -> tuple[bytes, Fields] | None:
    """Return the plain msgpack of a JSON object, and its fields of these names; None where it is to be looked into."""
    splice_json = compiled.splice_json
    if names is None or splice_json is None or payload[:1] != b"{" or len(payload) > plain.MAX_VALUES:
        return None
    return splice_json(payload, names, watched)


def _spliced_event(packed: bytes, found: Fields) -> Decoded:
    return msgspec.structs.replace(cloudevents.decoded(found, 0), packed=packed)


def _fast_json(payload: bytes) -> tuple[Any, int]:
    return plain.fast_json(payload), 0


def _json(payload: bytes) -> tuple[Any, int]:
    return plain.careful_json(payload, _STAGE, whole=True)


def _fast_msgpack(payload: bytes) -> Any:  # noqa: ANN401 - as of plain.fast_msgpack
    value = plain.fast_msgpack(payload)
    try:
        _one_value(payload)  # which ormsgpack does not care for
    except msgspec.MsgspecError:
        raise plain.NotFast from None
    return value


def _msgpack(payload: bytes) -> Decoded:
    walker = Walker(payload, _STAGE)
    value = walker.value()
    if walker.position < len(payload):
        raise walker.error("more after the value", walker.position)
    return Decoded(value, replaced=walker.replaced)
