"""Which publications go no further: those that a topic does not include, or that it excludes.

It is decided on what is in the head of a publication, before the rest is decoded: identity and operation of an event,
and of its entity the namespace alone. What has no such head in the form that the Go libraries write is decoded first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from nats_fluent import plain
from nats_fluent.envelope import MSGPACK
from nats_fluent.publication import EVENT_HEAD, read_event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nats_fluent.envelope import Envelope
    from nats_fluent.publication import Content
    from nats_fluent.topics import Match, Topic

OBJECT_IDENTITIES = {
    "activities": "activity",
    "external-auditreports": "auditreport",
    "external-eventlogs": "eventlog",
    "external-fileaccessreports": "fileaccessreport",
    "external-flowreports": "flowreport",
}
"""What a bare object is, by its topic: the object itself does not say."""

NAMESPACE = ("namespace", "processingUnitNamespace", "enforcerNamespace")
"""The first of these that a bare object has is where it is."""

OPERATION = ("operation",)


class _Entity(msgspec.Struct, gc=False):
    """Of an event's entity, what is looked at; the rest is skipped, and not built."""

    namespace: Any = None


class _Head(msgspec.Struct, gc=False):
    """The same of an event in JSON, or of a bare object."""

    entity: msgspec.Raw = msgspec.Raw()
    identity: Any = None
    type: Any = None
    operation: Any = None
    namespace: Any = None
    processingUnitNamespace: Any = None  # noqa: N815 - the name on the wire
    enforcerNamespace: Any = None  # noqa: N815


_msgpack_entity = msgspec.msgpack.Decoder(_Entity).decode
_json_entity = msgspec.json.Decoder(_Entity).decode
_msgpack_head = msgspec.msgpack.Decoder(_Head).decode
_json_head = msgspec.json.Decoder(_Head).decode

_About = tuple[str, str, str]
"""Identity, operation and namespace; each empty where it is not known."""


def first(value: dict[str, Any], names: tuple[str, ...]) -> str:
    """Return the first of these fields that is a string and not empty, or an empty string."""
    for name in names:
        found = value.get(name)
        if found and type(found) is str:
            return found
    return ""


class Filters:
    """What the topics include and exclude; empty, and false, where none does.

    Args:
        topics: those of the settings.
    """

    def __init__(self, topics: Iterable[Topic] = ()) -> None:
        self._by_topic: dict[str, tuple[Match | None, Match | None]] = {
            topic.topic: (topic.include, topic.exclude) for topic in topics if topic.include or topic.exclude
        }

    def __bool__(self) -> bool:
        return bool(self._by_topic)

    def reject(self, topic: str, envelope: Envelope) -> bool:
        """Whether a publication goes no further, by its head.

        Raises:
            NotFast: the head is not of the form that the Go libraries write; `reject_content` decides.
        """
        return topic in self._by_topic and self._reject(topic, _fast_about(topic, envelope))

    def reject_content(self, topic: str, content: Content) -> bool:
        """Whether a publication goes no further, by its content."""
        return topic in self._by_topic and self._reject(topic, _about(topic, content))

    def reject_about(self, topic: str, identity: str, operation: str, namespace: str) -> bool:
        """Whether a message that is about this goes no further."""
        return topic in self._by_topic and self._reject(topic, (identity, operation, namespace))

    def _reject(self, topic: str, about: _About) -> bool:
        include, exclude = self._by_topic[topic]
        return (include is not None and not include.holds(*about)) or (
            exclude is not None and exclude.holds(*about)
        )


def _fast_about(topic: str, envelope: Envelope) -> _About:
    data = envelope.data or b""
    in_msgpack = envelope.encoding == MSGPACK
    try:
        if in_msgpack and data.startswith(EVENT_HEAD):
            event = read_event(data)
            entity = event.entity
            read = _msgpack_entity if event.encoding == MSGPACK else _json_entity
            return event.identity, event.type, _text(read(entity).namespace if entity else None)
        head = _msgpack_head(data) if in_msgpack else _json_head(data)
        if not head.entity:
            found = (head.namespace, head.processingUnitNamespace, head.enforcerNamespace)
            namespace = next(filter(None, map(_text, found)), "")
            return OBJECT_IDENTITIES.get(topic, ""), _text(head.operation), namespace
        if in_msgpack or type(head.identity) is not str or type(head.type) is not str:
            raise plain.NotFast
        return head.identity, head.type, _text(_json_entity(head.entity).namespace)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise plain.NotFast from None


def _text(found: object) -> str:
    if found is None:
        return ""
    if type(found) is not str:
        raise plain.NotFast
    return found


def _about(topic: str, content: Content) -> _About:
    value = content.value
    if not content.event:
        return OBJECT_IDENTITIES.get(topic, ""), first(value, OPERATION), first(value, NAMESPACE)
    entity = value.get("entity")
    namespace = first(entity, NAMESPACE[:1]) if isinstance(entity, dict) else ""
    return content.identity, content.operation, namespace
