"""Delivery -> record: what the publication says, under the names that outputs use, encoded for a chunk."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

import msgpack
import msgspec
import ormsgpack

from nats_fluent import compiled, plain, publication
from nats_fluent.envelope import ACK_ASKED, asks_for_ack, careful_envelope, fast_envelope
from nats_fluent.errors import Undecodable, kind_and_place
from nats_fluent.filters import NAMESPACE, OBJECT_IDENTITIES, OPERATION, Filters, first

if TYPE_CHECKING:
    from nats_fluent import sections
    from nats_fluent.delivery import Delivery
    from nats_fluent.publication import Content
    from nats_fluent.redact import Redaction

FORWARD_LEVELS = plain.FAST_DEPTH
"""How deep content may be on its way to a log shipper. Fluent Bit 5.1.1 reads 64 levels of msgpack, of which the
record takes 2, in Forward mode 4. What is deeper it acknowledges, and then drops it with all that stands behind it in
the chunk."""

HEAD_BYTES = 65_536
"""How much of a payload goes out when its record is over the limit: enough to see what it was."""

MOST_JSON = 6
"""Bytes of JSON for one byte of msgpack, at most: a control character as ``\\u0001``, or ``false`` and a comma."""

MAX_HEADERS = 1_000
"""Headers of one message. NATS limits their bytes only, and a name and a value take 2 of them."""

TAG_PART = 128
"""Characters of a field's value in a tag."""

_OBJECT_KEY = ("targetID", "processingUnitID", "sourceID", "enforcerID", "namespace", "ID")
"""The first of these that a bare object has is what it is about, and groups what must stay in order."""
_OBJECT_TIME = ("date", "timestamp")
ASKED = publication.asked(
    ("ID", *NAMESPACE), tuple(dict.fromkeys([*_OBJECT_KEY, *NAMESPACE, *OPERATION, *_OBJECT_TIME]))
)
"""The fields of an event's entity, and of a bare object, that a record is made of besides its content."""
_CONTENT = ormsgpack.packb("content")
_MAP_OF = tuple(bytes([0x80 + fields]) for fields in range(16))
"""The first byte of a map of so many fields."""
_HEADS = 1024
"""Heads that are kept."""
_LONGEST_HEAD = 1024
"""Characters of what such a head is about; publishers choose these, and could fill the memory with long ones."""
_NS = 1_000_000_000
_NOT_IN_TAG = re.compile(r"[^A-Za-z0-9_.:@$-]")
_ROOM = 4_096
"""Bytes of an undecodable record besides its payload and subject, and more than enough."""


class Transformed(msgspec.Struct, frozen=True, gc=False):
    """What became of a publication besides its first record.

    Attributes:
        more: further records of it, in their order.
        handler: which handler failed; empty where none did.
        error: why.
    """

    more: tuple[Record, ...] = ()
    handler: str = ""
    error: str = ""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record, ready for a chunk.

    Attributes:
        tag: the Fluent tag.
        time_ns: the event time in nanoseconds since 1970: the publication's own, or that of receipt.
        packed: the record as a msgpack map of plain values.
        ack_asked: whether the publisher waits for `ack` on the reply subject.
        error: why it holds bytes instead of content; empty for a decoded publication.
        replaced: bytes that were not UTF-8 and are U+FFFD in it.
        identity: what the publication is about, and
        operation: what was done to it; empty where it does not say.
        filtered: whether there is no record, as the topic's filters, or a handler, want none.
        transformed: what else a handler made of the publication, or how it failed.
    """

    tag: str
    time_ns: int
    packed: bytes
    ack_asked: bool = False
    error: str = ""
    replaced: int = 0
    identity: str = ""
    operation: str = ""
    filtered: bool = False
    transformed: Transformed | None = None


class Maker(Protocol):
    """What makes records."""

    def record(self, delivery: Delivery, now_ns: int) -> Record:
        """Make the record of a delivery; arguments as of `Recorder.record`."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """What the records of one topic, subject, identity and operation begin with, and their tag.

    Attributes:
        tag: of these records.
        fields: the first of each.
        packed: the same as msgpack.
        identity: of the publications, and
        operation: of the same.
    """

    tag: str
    fields: dict[str, str]
    packed: bytes
    identity: str
    operation: str


FILTERED = Record("", 0, b"", filtered=True)
_FILTERED_AND_ASKED = Record("", 0, b"", ack_asked=True, filtered=True)


def tag_part(value: str) -> str:
    """Return what a publisher chose, fit for a tag: short, and without what means something in a path or a pattern."""
    return _NOT_IN_TAG.sub("_", value[:TAG_PART])


def undecodable_tag(template: str) -> str:
    """Return the tag of what cannot be decoded: what the template begins with, then ``undecodable``."""
    prefix, field, _ = template.partition("{")
    return f"{prefix}undecodable" if field else f"{template}.undecodable"


class Recorder:
    """Makes records, and gives each an id that no other record of this or another process has.

    What cannot be decoded is never filtered; of an event it is the head that decides, so one whose entity alone
    cannot be decoded may be.

    Args:
        settings: tag template and limits.
        run_id: what tells this process from all others, part of every id.
        levels: how deep content may be, what is deeper going out as its JSON text; None for as deep as it is.
        filters: which publications become no record.
        redaction: what of them does not go out; None for all does.
    """

    def __init__(
        self,
        settings: sections.RecordSettings,
        run_id: str,
        *,
        levels: int | None,
        filters: Filters | None = None,
        redaction: Redaction | None = None,
    ) -> None:
        self._levels = levels
        self._filters = filters or None
        self._redaction = redaction
        self._template = settings.tag
        self._undecodable_tag = undecodable_tag(settings.tag)
        self._max_bytes = settings.max_bytes
        self._surely_small = settings.max_bytes // MOST_JSON
        # Of a publication that is larger, as JSON of the Go libraries or as msgpack, no record is within the limit.
        self._surely_large = settings.max_bytes * MOST_JSON
        self._prefix = f"{run_id}-"
        self._count = 0
        self._heads: dict[tuple[str, str, str, str], Head] = {}

    def record(self, delivery: Delivery, now_ns: int) -> Record:
        """Decode a delivery and encode its record; one that cannot be decoded becomes a record of its bytes.

        Args:
            delivery: what a source handed over.
            now_ns: the time of receipt, for what has no time of its own.
        """
        payload = delivery.payload
        filters = self._filters
        redact = None if self._redaction is None else self._redaction.of(delivery.topic)
        redacted = False
        self._count += 1
        if len(payload) > self._surely_large:
            reason = (
                f"the payload takes {len(payload)} bytes, over the limit of {self._surely_large} "
                f"({MOST_JSON} times record.max_bytes)"
            )
            asked = asks_for_ack(payload)
            shown = HEAD_BYTES if redact is None else 0  # there is no telling what is in it
            return self._undecodable(delivery, reason, now_ns, ack_asked=asked, shown=shown)
        ack_asked = False
        replaced = 0
        try:
            try:
                if filters is not None:
                    envelope = fast_envelope(payload)
                    ack_asked = envelope.response_mode == ACK_ASKED
                    if filters.reject(delivery.topic, envelope):
                        return _FILTERED_AND_ASKED if ack_asked else FILTERED
                watched = b"" if redact is None else redact.watched
                content = None if watched is None else publication.spliced(payload, ASKED, watched)
                if content is not None:
                    ack_asked = content.ack_asked
                else:
                    envelope = fast_envelope(payload)
                    ack_asked = envelope.response_mode == ACK_ASKED
                    content = publication.fast_content(envelope)
                    if redact is not None:
                        redacted = redact(content, fast=True)
                head, time_ns, fields = self._fields(delivery, content, now_ns)
                packed = pack(head, fields, content)
            except plain.NotFast:
                envelope = careful_envelope(payload)
                ack_asked = envelope.response_mode == ACK_ASKED
                content = publication.careful_content(envelope)
                if filters is not None and filters.reject_content(delivery.topic, content):
                    return _FILTERED_AND_ASKED if ack_asked else FILTERED
                if redact is not None:
                    redacted = redact(content)
                head, time_ns, fields = self._fields(delivery, content, now_ns)
                value = content.value
                fields["content"] = value if self._levels is None else plain.flatten(value, self._levels)
                replaced = content.replaced
                packed = msgpack.packb(head.fields | fields)
        except Exception as error:  # noqa: BLE001 - see `_failed`
            return self._failed(delivery, error, now_ns, ack_asked=ack_asked)
        if len(packed) > self._surely_small and (size := self.oversize(packed)):
            reason = f"the record takes {size}, over the limit of {self._max_bytes} (record.max_bytes)"
            shown = 0 if redacted else HEAD_BYTES
            return self._undecodable(delivery, reason, now_ns, ack_asked=ack_asked, shown=shown)
        return Record(head.tag, time_ns, packed, ack_asked, "", replaced, head.identity, head.operation)

    def oversize(self, packed: bytes) -> str:
        """Return how large the record is, when that is over the limit, as msgpack or as the JSON of the outputs."""
        if len(packed) > self._max_bytes:
            return f"{len(packed)} bytes"
        # Fluent Bit writes DEL, too, as six bytes.
        size = len(msgspec.json.encode(msgspec.msgpack.decode(packed))) + packed.count(b"\x7f") * (
            MOST_JSON - 1
        )
        return f"{size} bytes as JSON" if size > self._max_bytes else ""

    def _fields(self, delivery: Delivery, content: Content, now_ns: int) -> tuple[Head, int, dict[str, Any]]:
        """Return what the record begins with, its time, and its other fields but for the content."""
        topic, about = delivery.topic, content.about
        if content.event:
            identity, operation = content.identity, content.operation
            timestamp, time_ns = content.timestamp, content.time_ns
            key = about.get("ID")
            namespace = about.get("namespace")
        else:
            identity = OBJECT_IDENTITIES.get(topic, "")
            operation = first(about, OPERATION)
            timestamp = first(about, _OBJECT_TIME)
            time_ns = plain.parse_rfc3339(timestamp) if timestamp else None
            key = first(about, _OBJECT_KEY)
            namespace = first(about, NAMESPACE)
        if not key or type(key) is not str:
            key = first(about, NAMESPACE)
        if time_ns is None or time_ns < 0:
            # Before 1970 is a time that nobody set (Go's zero time is in year 1), and Forward has no bytes for it.
            time_ns = now_ns
            timestamp = plain.rfc3339(*divmod(now_ns, _NS))
        name = identity or topic
        fields: dict[str, Any] = {
            "namespace": namespace,
            "key": f"{name}/{key}" if key else name,
            "timestamp": timestamp,
            "id": self._id(delivery),
        }
        if not namespace or type(namespace) is not str:
            del fields["namespace"]
        if delivery.headers is not None:
            headers = fields["headers"] = parse_headers(delivery.headers)
            if self._redaction is not None:
                self._redaction.headers(topic, headers)
        if delivery.stream:
            fields |= place_in_stream(delivery)
        about_it = (topic, delivery.subject, identity, operation)
        return self._heads.get(about_it) or self._head(about_it), time_ns, fields

    def _head(self, about: tuple[str, str, str, str]) -> Head:
        topic, subject, identity, operation = about
        fields = {"topic": topic, "subject": subject}
        if identity:
            fields["identity"] = identity
        if operation:
            fields["operation"] = operation
        tag = self._template.format(
            topic=topic,
            subject=tag_part(subject),
            identity=tag_part(identity) or "unknown",
            operation=tag_part(operation) or "none",
        )
        head = Head(tag, fields, msgpack.packb(fields), identity, operation)
        if sum(map(len, about)) <= _LONGEST_HEAD:
            if len(self._heads) >= _HEADS:
                self._heads.clear()
            self._heads[about] = head
        return head

    def _id(self, delivery: Delivery) -> str:
        """Return what no other record has: by its place in the stream, so that it stays when NATS sends it again."""
        if delivery.stream:
            return f"{delivery.stream}-{delivery.sequence}"
        return f"{self._prefix}{self._count}"

    def _failed(self, delivery: Delivery, error: Exception, now_ns: int, *, ack_asked: bool) -> Record:
        """Return the record of what is undecodable, or what this program failed at.

        A bug here would end the program, and a stream would send the message again to the next process, and so on.
        """
        known = isinstance(error, Undecodable)
        reason = str(error) if known else f"this program failed: {kind_and_place(error)}"
        omit = self._redaction is not None and self._redaction.omits(delivery.topic)
        return self._undecodable(delivery, reason, now_ns, ack_asked=ack_asked, shown=0 if omit else None)

    def _undecodable(
        self, delivery: Delivery, error: str, now_ns: int, *, ack_asked: bool, shown: int | None = None
    ) -> Record:
        payload = delivery.payload
        room = max(self._max_bytes - _ROOM - len(delivery.subject.encode()), 0) // 4 * 3
        seen = payload[: room if shown is None else min(shown, room)]
        fields: dict[str, Any] = {
            "topic": delivery.topic,
            "subject": delivery.subject,
            "key": delivery.topic,
            "timestamp": plain.rfc3339(*divmod(now_ns, _NS)),
            "id": self._id(delivery),
            "error": error,
            "size": len(payload),
            "payload": plain.base64(seen),
        }
        if len(seen) < len(payload):
            fields["truncated"] = True
        if delivery.stream:
            fields |= place_in_stream(delivery)
        return Record(self._undecodable_tag, now_ns, msgpack.packb(fields), ack_asked, error)


def pack(head: Head, fields: dict[str, Any], content: Content) -> bytes:
    """Encode the record of a head, these fields and the content, which stands last."""
    if not content.packed:
        return plain.fast_pack({**head.fields, **fields, "content": content.value})
    joined = compiled.record and compiled.record(head.packed, fields, content.packed)
    return joined or b"".join(
        (
            _MAP_OF[len(head.fields) + len(fields) + 1],
            head.packed[1:],
            ormsgpack.packb(fields)[1:],
            _CONTENT,
            content.packed,
        )
    )


def place_in_stream(delivery: Delivery) -> dict[str, Any]:
    """Return the fields that say where in a stream a message is."""
    return {
        "stream": delivery.stream,
        "sequence": delivery.sequence,
        "deliveries": delivery.deliveries,
    }


def parse_headers(block: bytes) -> dict[str, str | list[str]]:
    r"""Read a NATS header block: ``NATS/1.0\r\n``, then a line ``Name: value`` each.

    A name that occurs several times has the list of its values. What is not UTF-8 becomes U+FFFD; a line without
    a colon is left out.

    Raises:
        Undecodable: there are more than MAX_HEADERS.
    """
    if block.count(b"\r\n") > MAX_HEADERS + 2:  # the first line, and the empty one that ends them
        raise Undecodable("headers", f"more than {MAX_HEADERS} lines")
    headers: dict[str, str | list[str]] = {}
    for line in block.split(b"\r\n")[1:]:
        raw_name, colon, raw_value = line.partition(b":")
        name = raw_name.strip().decode("utf-8", "replace")
        if not colon or not name:
            continue
        value = raw_value.strip().decode("utf-8", "replace")
        before = headers.get(name)
        match before:
            case None:
                headers[name] = value
            case str():
                headers[name] = [before, value]
            case _:
                before.append(value)
    return headers
