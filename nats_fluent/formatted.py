"""Delivery -> record, for a message that is no publication of the Go libraries: the same fields, from other places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from nats_fluent import plain
from nats_fluent.compiled import names_of
from nats_fluent.formats import SPLICED, seems_publication, time_of
from nats_fluent.places import text_of
from nats_fluent.publication import Content
from nats_fluent.record import (
    FILTERED,
    HEAD_BYTES,
    MOST_JSON,
    Record,
    Recorder,
    pack,
    parse_headers,
    place_in_stream,
)

if TYPE_CHECKING:
    from nats_fluent import sections
    from nats_fluent.decoded import Decoded
    from nats_fluent.delivery import Delivery
    from nats_fluent.filters import Filters
    from nats_fluent.formats import Format
    from nats_fluent.places import Headers, Place
    from nats_fluent.redact import Redaction, Redactor

_NS = 1_000_000_000
_ABOUT = ("identity", "operation", "namespace")


class Reading(NamedTuple):
    """How the payloads of a topic become records.

    Attributes:
        name: of the format.
        format: which reads them.
        places: of what does not come from where the format has it, by what is there.
    """

    name: str
    format: Format
    places: dict[str, Place]


class FormatRecorder(Recorder):
    """Makes records of messages of several formats.

    Args:
        settings: as of a `Recorder`, and so are the others that are not named here.
        run_id: see there.
        levels: see there.
        filters: see there.
        redaction: see there.
        readings: by topic, how its payloads are read; None for publications.
        usual: the same for other topics.
    """

    def __init__(
        self,
        settings: sections.RecordSettings,
        run_id: str,
        *,
        levels: int | None,
        readings: dict[str, Reading | None],
        usual: Reading | None = None,
        filters: Filters | None = None,
        redaction: Redaction | None = None,
    ) -> None:
        super().__init__(settings, run_id, levels=levels, filters=filters, redaction=redaction)
        self._readings = {
            topic: reading and self._at_its_best(topic, reading) for topic, reading in readings.items()
        }
        self._usual = usual

    def _at_its_best(self, topic: str, reading: Reading) -> Reading:
        """Return the reading; where it can be, without a look at the values."""
        redactor = self._redaction and self._redaction.of(topic)
        watched = redactor.watched if redactor else b""
        names = names_of(place.keys for place in reading.places.values() if place.of == "content")
        spliced = SPLICED.get(reading.name)
        if spliced is None or names is None or watched is None:
            return reading
        return reading._replace(format=spliced(names, watched))

    def record(self, delivery: Delivery, now_ns: int) -> Record:
        """Decode a delivery in the format of its topic, and encode its record; else as of a `Recorder`."""
        payload = delivery.payload
        reading = self._readings.get(delivery.topic, self._usual)
        if reading is None or (reading.name == "auto" and seems_publication(payload)):
            return super().record(delivery, now_ns)
        redact = None if self._redaction is None else self._redaction.of(delivery.topic)
        self._count += 1
        if len(payload) > self._surely_large:
            reason = (
                f"the payload takes {len(payload)} bytes, over the limit of {self._surely_large} "
                f"({MOST_JSON} times record.max_bytes)"
            )
            shown = HEAD_BYTES if redact is None else 0  # there is no telling what is in it
            return self._undecodable(delivery, reason, now_ns, ack_asked=False, shown=shown)
        try:
            headers = {} if delivery.headers is None else parse_headers(delivery.headers)
            try:
                made, redacted = self._made(delivery, reading, headers, redact, now_ns, fast=True)
            except plain.NotFast:
                made, redacted = self._made(delivery, reading, headers, redact, now_ns, fast=False)
        except Exception as error:  # noqa: BLE001 - see `_failed`
            return self._failed(delivery, error, now_ns, ack_asked=False)
        if len(made.packed) > self._surely_small and (size := self.oversize(made.packed)):
            reason = f"the record takes {size}, over the limit of {self._max_bytes} (record.max_bytes)"
            shown = 0 if redacted else HEAD_BYTES
            return self._undecodable(delivery, reason, now_ns, ack_asked=False, shown=shown)
        return made

    def _made(
        self,
        delivery: Delivery,
        reading: Reading,
        headers: Headers,
        redact: Redactor | None,
        now_ns: int,
        *,
        fast: bool,
    ) -> tuple[Record, bool]:
        """Return the record, and whether something in it was redacted."""
        read = reading.format.fast if fast else reading.format.careful
        decoded = read(delivery.payload, headers, delivery.subject)
        topic, subject, content = delivery.topic, delivery.subject, decoded.content
        if self._filters is not None and self._filters.reject_about(
            topic, *_about(decoded, reading.places, headers, subject)
        ):
            return FILTERED, False
        whole = Content(
            content,
            {},
            event=False,
            identity="",
            operation="",
            timestamp=None,
            time_ns=None,
            packed=decoded.packed,
        )
        redacted = redact is not None and not whole.packed and redact(whole, fast=fast)
        if self._redaction is not None and headers:
            # In a copy: what the format read of them stays what it was.
            headers = dict(headers)
            self._redaction.headers(topic, headers)
        # From here on of what is redacted, so that no secret comes to stand beside the content.
        identity, operation, namespace = _about(decoded, reading.places, headers, subject)
        about_it = (topic, subject, identity, operation)
        head = self._heads.get(about_it) or self._head(about_it)
        time_ns, fields = self._others(delivery, reading, decoded, headers, now_ns)
        if namespace:
            fields = {"namespace": namespace, **fields}
        if fast:
            packed = pack(head, fields, whole)
        else:
            fields["content"] = content if self._levels is None else plain.flatten(content, self._levels)
            packed = msgpack.packb(head.fields | fields)
        return Record(head.tag, time_ns, packed, False, "", decoded.replaced, identity, operation), redacted

    def _others(
        self, delivery: Delivery, reading: Reading, decoded: Decoded, headers: Headers, now_ns: int
    ) -> tuple[int, dict[str, Any]]:
        """Return the time, and the fields between what it is about and the content."""
        subject, content, places = delivery.subject, decoded.content, reading.places
        time_ns = time_of(places["time"].find(content, headers, subject)) if "time" in places else None
        if time_ns is None:
            time_ns = decoded.time_ns
        if time_ns is None or time_ns < 0:
            time_ns = delivery.time_ns or now_ns
        key = text_of(places["key"].find(content, headers, subject)) if "key" in places else ""
        fields: dict[str, Any] = {
            "key": key or decoded.key or subject,
            "timestamp": plain.rfc3339(*divmod(time_ns, _NS)),
            "id": self._id(delivery),
        }
        if delivery.headers is not None:
            fields["headers"] = headers
        if delivery.stream:
            fields |= place_in_stream(delivery)
        return time_ns, fields


def _about(
    decoded: Decoded, places: dict[str, Place], headers: Headers, subject: str
) -> tuple[str, str, str]:
    """Return identity, operation and namespace, each empty where it is not known."""
    own = decoded.identity, decoded.operation, decoded.namespace
    if not places:
        return own
    found = (
        text_of(places[name].find(decoded.content, headers, subject)) if name in places else ""
        for name in _ABOUT
    )
    identity, operation, namespace = (text or own_text for text, own_text in zip(found, own, strict=True))
    return identity, operation, namespace
