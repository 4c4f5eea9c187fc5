"""A publication as an object: the corresponding event or object in it, and what it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from nats_fluent.delivery import Delivery
from nats_fluent.envelope import published_to
from nats_fluent.errors import Undecodable
from nats_fluent.objects import Object
from nats_fluent.publication import is_event
from nats_fluent.record import Recorder
from nats_fluent.sections import RecordSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

_WITHOUT_LIMIT = RecordSettings(max_bytes=2**62)


class Event:
    """What happened to one object of the platform.

    Attributes:
        identity: what kind of object: ``enforcer``, ``processingunit``; empty in an error event.
        operation: ``create``, ``update``, ``delete`` or ``error``.
        timestamp: when, as RFC 3339 in UTC; empty when it does not say.
        entity: the object; empty where the event has none.
    """

    __slots__ = ("entity", "identity", "operation", "timestamp")

    def __init__(self, content: Mapping[str, Any]) -> None:
        entity = content.get("entity")
        self.identity: str = content.get("identity") or ""
        self.operation: str = content.get("type") or ""
        self.timestamp: str = content.get("timestamp") or ""
        self.entity = entity if isinstance(entity, Object) else Object({})

    def __repr__(self) -> str:
        return f"<Event {self.operation} {self.identity} {self.timestamp}>"


class _Text:
    """A field of the record that is a text; empty where it is not there."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, publication: Publication, owner: type) -> str:
        found = publication.record.get(self._name)
        return found if isinstance(found, str) else ""


class Publication:
    """One publication, decoded. It is read-only, and what settings redact is redacted in it.

    Attributes:
        record: the record that it becomes, where nothing else is made of it: all of the below, and headers.
        topic: the name of the topic.
        subject: the message's own.
        identity: what it is about: ``enforcer``, ``activity``, ``flowreport``; empty where that is not known.
        operation: what was done to it; empty where it does not say.
        namespace: where it is; empty where it does not say.
        key: what groups publications that must stay in order.
        timestamp: when, as RFC 3339 in UTC: its own time, or that of receipt; empty where neither is known.
        id: of the record; empty outside of a handler.
        content: what was published; of an event the event, its entity decoded in place.
    """

    __slots__ = ("record",)

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = Object(record)

    @classmethod
    def decode(cls, payload: bytes, *, topic: str = "", subject: str = "") -> Publication:
        """Decode what was published; nothing in it is redacted.

        Args:
            payload: the bytes of the NATS message.
            topic: the name of the topic, which says what a bare object is; by default the subject.
            subject: the message's own; by default what the publication says it was published to.

        Raises:
            Undecodable: the bytes are no publication; `stage` says what was being read, `reason` what was found.
        """
        subject = subject or published_to(payload) or topic
        recorder = Recorder(_WITHOUT_LIMIT, "", levels=None)
        made = recorder.record(Delivery(topic or subject, subject, payload), 0)
        if made.error:
            stage, _, reason = made.error.partition(": ")
            raise Undecodable(stage, reason)
        record = msgspec.msgpack.decode(made.packed)
        record["id"] = ""
        if not made.time_ns:
            record["timestamp"] = ""
        return cls(record)

    topic = _Text()
    subject = _Text()
    identity = _Text()
    operation = _Text()
    namespace = _Text()
    key = _Text()
    timestamp = _Text()
    id = _Text()

    @property
    def content(self) -> Any:  # noqa: ANN401 - an Object, or what a format of another kind has there
        """What was published: an `Object`."""
        return self.record.get("content")

    def event(self) -> Event | None:
        """Return the event, or None for an object that was sent without one."""
        content = self.content
        return Event(content) if isinstance(content, Object) and is_event(content) else None

    def object(self) -> Object:
        """Return the event's entity, or the object that was sent without an event; empty where there is none."""
        event = self.event()
        if event is not None:
            return event.entity
        return self.content if isinstance(self.content, Object) else Object({})

    def __repr__(self) -> str:
        what = " ".join(filter(None, (self.topic, self.operation, self.identity, self.key)))
        return f"<Publication {what}>"
