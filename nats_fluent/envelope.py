"""What is around the content of a publication: a msgpack map written by the Go library bahamut.

Before 15 April 2019 it was a JSON object with its data inline. What is called JSON here is whatever does not say
exactly ``application/msgpack``: so reads Go. The fast reader knows the form that the Go libraries write, the careful
one the others; for what the fast one reads, both give the same.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from nats_fluent import plain
from nats_fluent.errors import Undecodable
from nats_fluent.walk import Walker

MSGPACK = "application/msgpack"
JSON = "application/json"
ACK_ASKED = 1
"""The response mode of a publisher that waits for the three bytes `ack` (bahamut, NATSOptPublishRequireAck)."""

_INT32 = 2**31


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What is around the data.

    Attributes:
        topic: where the publisher sent it; empty when it did not say.
        encoding: of the data: ``application/msgpack``, or anything else for JSON.
        data: the encoded content; None where there is none.
        response_mode: ACK_ASKED, 2 for a publication as reply, else 0.
        value: the content, already decoded, of an envelope that is JSON itself.
        replaced: characters of it that were not Unicode.
    """

    topic: str
    encoding: str
    data: bytes | None
    response_mode: int
    value: Any = None
    replaced: int = 0


class _Envelope(msgspec.Struct, gc=False):
    data: bytes = b""
    encoding: str = ""
    partition: Annotated[int, msgspec.Meta(ge=-_INT32, lt=_INT32)] = 0
    responseMode: int = 0  # noqa: N815 - the name on the wire
    topic: str = ""
    trackingData: dict[str, str] | None = None  # noqa: N815
    trackingName: str = ""  # noqa: N815


_read_envelope = msgspec.msgpack.Decoder(_Envelope).decode


def fast_envelope(payload: bytes) -> Envelope:
    """Read the form that the Go libraries write since April 2019; NotFast for any other."""
    if len(payload) > plain.MAX_VALUES:
        return _large_envelope(payload)
    try:
        read = _read_envelope(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise plain.NotFast from None
    if not read.data:
        raise plain.NotFast
    return Envelope(read.topic, read.encoding, read.data, read.responseMode)


def _large_envelope(payload: bytes) -> Envelope:
    """Read it without what is not wanted: tracking data could be any number of strings."""
    try:
        envelope = careful_envelope(payload)
    except Undecodable:
        raise plain.NotFast from None
    if not envelope.data:
        raise plain.NotFast
    return envelope


def careful_envelope(payload: bytes) -> Envelope:
    """Read any form that Go's codec takes, but for a struct written as an array, which no library writes."""
    if payload[:1] == b"{":
        return _json_envelope(payload)
    walker = Walker(payload, "publication")
    if payload[:1] == b"\xc0":
        return Envelope("", "", None, 0)
    topic = encoding = ""
    data: bytes | None = None
    response_mode = 0
    for _ in range(walker.map_size()):
        key = walker.key()
        at = walker.position
        match key:
            case "data":
                data = walker.raw()
            case "encoding":
                encoding = walker.text()
            case "topic":
                topic = walker.text()
            case "responseMode":
                response_mode = walker.integer()
            case "partition":
                partition = walker.integer()
                if not -_INT32 <= partition < _INT32:
                    raise walker.error(f"partition {partition} is beyond 32 bits", at)
            case "trackingData":
                _tracking_data(walker)
            case "trackingName":
                walker.text()
            case _:
                walker.value()
    return Envelope(topic, encoding, data, response_mode)


def published_to(payload: bytes) -> str:
    """Return the subject that the publication says it was published to; empty when it does not."""
    try:
        return careful_envelope(payload).topic
    except Undecodable:
        return ""


def asks_for_ack(payload: bytes) -> bool:
    """Whether the publisher waits for an answer, without a look at the content, which may be of any size."""
    if payload[:1] == b"{":
        return False  # from before April 2019, when no publisher could ask
    try:
        return careful_envelope(payload).response_mode == ACK_ASKED
    except Undecodable:
        return False


def _tracking_data(walker: Walker) -> None:
    """Hold it to what Go takes: nil, or a map of strings. Nothing of it goes into a record."""
    if walker.nil():
        return
    for _ in range(walker.map_size()):
        walker.key()
        walker.text()


def _json_envelope(payload: bytes) -> Envelope:
    value, replaced = plain.careful_json(payload, "publication")
    data, topic = value.get("data"), value.get("topic")
    if data is None:
        raise Undecodable("publication", "a JSON object without data")
    mode = value.get("responseMode")
    return Envelope(
        topic if isinstance(topic, str) else "",
        JSON,
        None,
        mode if isinstance(mode, int) else 0,
        value=data,
        replaced=replaced,
    )
