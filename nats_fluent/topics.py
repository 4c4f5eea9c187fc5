"""The topics: what to subscribe to, the name that its records carry, and what else holds for them.

In TOML a topic is text or a table; in the environment and in a flag, text with commas between, or a JSON array of
tables. What a topic has besides its subject is found by its name, so all subjects of one name have the same.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nats_fluent.addresses import bare_subject, check_once, check_subject, items_of, overlap
from nats_fluent.options import Kind, nearest, quote, text_of, word_of
from nats_fluent.places import checked, keys_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


PLACES = ("time", "key", "identity", "operation", "namespace")
"""What a topic may say the place of, each a key of its table."""

PUBLICATION = "publication"
"""The format of the Go libraries, which says by itself what a record needs."""

_FORMAT = re.compile(r"[a-z][a-z0-9_-]*", re.ASCII)


class Match(msgspec.Struct, frozen=True, omit_defaults=True):
    """What publications to match: those that have, of each key that is given here, one of its values.

    Attributes:
        identity: of an event's entity, or of a bare object.
        operation: in lower case.
        namespace: this one, or one below it; only the root has a slash at its end.
    """

    identity: tuple[str, ...] = ()
    operation: tuple[str, ...] = ()
    namespace: tuple[str, ...] = ()

    def holds(self, identity: str, operation: str, namespace: str) -> bool:
        """Whether a publication that is about this matches; what is not known is empty, and matches no value."""
        return (
            (not self.identity or identity in self.identity)
            and (not self.operation or operation.lower() in self.operation)
            and (not self.namespace or any(within(namespace, each) for each in self.namespace))
        )


def within(namespace: str, parent: str) -> bool:
    """Whether a namespace is that one, or below it."""
    parent = parent.rstrip("/")
    return namespace.rstrip("/") == parent != "" or namespace.startswith(f"{parent}/")


class Topic(msgspec.Struct, frozen=True, omit_defaults=True):
    """One subscription: the NATS subject to subscribe to, and the name that its records carry.

    Attributes:
        subject: with its wildcards.
        topic: the name.
        include: what a publication must match; None for anything.
        exclude: what it must not match; None for nothing.
        redact: paths to redact beside those of the settings; none at all is nothing to redact, None what they say.
        format: what its payloads are; empty for what the settings say of all.
        time: where the time of a record comes from, and
        key: its key, and
        identity: what it is about, and
        operation: what was done to it, and
        namespace: where that is: each the text of a `places.Place`, or empty for what the format has.
    """

    subject: str
    topic: str
    include: Match | None = None
    exclude: Match | None = None
    redact: tuple[str, ...] | None = None
    format: str = ""
    time: str = ""
    key: str = ""
    identity: str = ""
    operation: str = ""
    namespace: str = ""

    @property
    def plain(self) -> bool:
        """Whether it has a subject and a name, and nothing else."""
        return self == Topic(self.subject, self.topic)

    @property
    def places(self) -> dict[str, str]:
        """The text of each place that it names, by what is there."""
        return {name: text for name in PLACES if (text := getattr(self, name))}

    def __str__(self) -> str:
        if not self.plain:
            return msgspec.json.encode(self).decode()
        return self.subject if self.topic == bare_subject(self.subject) else f"{self.subject}={self.topic}"


class Key(NamedTuple):
    """One key of a table: how its value is read, and what it is where it is not given."""

    parse: Callable[[object], Any]
    default: Any = None


def _texts(raw: object) -> tuple[str, ...]:
    found = tuple(text_of(item) for item in items_of(raw))
    if "" in found:
        raise ValueError(f"{quote(raw)} has an empty text; leave it out")
    return found


def _lower(raw: object) -> tuple[str, ...]:
    return tuple(text.lower() for text in _texts(raw))


def _namespaces(raw: object) -> tuple[str, ...]:
    for text in (found := _texts(raw)):
        if not text.startswith("/"):
            raise ValueError(f"{quote(text)} is not a namespace; write it as in /a/b")
    return tuple(text.rstrip("/") or "/" for text in found)


_MATCH_KEYS = {"identity": Key(_texts, ()), "operation": Key(_lower, ()), "namespace": Key(_namespaces, ())}


def _match(raw: object) -> Match:
    if not isinstance(raw, dict) or not raw:
        raise ValueError(f"{quote(raw)} is not a table of {_and(_MATCH_KEYS)}")
    return Match(**_table(raw, _MATCH_KEYS, "include and exclude"))


def _paths(raw: object) -> tuple[str, ...]:
    found = _texts(raw) if raw not in ("", []) else ()
    for path in found:
        keys = keys_of(path, "entity.metadata or **.password")
        if "," in path:
            raise ValueError(f"{quote(path)} has a comma, which no path may have")
        if keys[-1] == "**" or "**.**" in path:
            raise ValueError(f"{quote(path)} has ** without a key behind it; write a key, or * for any")
        if any("*" in key and key not in ("*", "**") for key in keys):
            raise ValueError(
                f"{quote(path)} has a misplaced wildcard; write * for one whole key, ** for any number"
            )
    return found


def _redact(raw: object) -> tuple[str, ...]:
    return () if raw in ("off", False) else _paths(raw)


def _headers(raw: object) -> tuple[str, ...]:
    return tuple(word_of(name) for name in _texts(raw)) if raw not in ("", []) else ()


def _format(raw: object) -> str:
    text = word_of(raw)
    if not _FORMAT.fullmatch(text):
        raise ValueError(f"{quote(raw)} is not the name of a format; write it as in json")
    return text


TOPIC_KEYS = {
    "subject": Key(word_of, ""),
    "topic": Key(word_of, ""),
    "include": Key(_match),
    "exclude": Key(_match),
    "redact": Key(_redact),
    "format": Key(_format, ""),
    **dict.fromkeys(PLACES, Key(checked, "")),
}
"""The keys of a topic as a table; each is an attribute of `Topic`."""


def _table(raw: Mapping[str, object], keys: Mapping[str, Key], of: str) -> dict[str, Any]:
    """Read a table that has some of the keys."""
    for name in raw:
        if name not in keys:
            hint = nearest(name, keys) or f"; write {_and(keys)}"
            raise ValueError(f"{quote(name)} is not a key of {of}{hint}")
    found = {}
    for name, key in keys.items():
        try:
            found[name] = key.parse(raw[name]) if name in raw else key.default
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return found


def _and(names: Mapping[str, object]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}"


def topic_of(raw: object) -> Topic:
    """Read one topic: ``subject``, ``subject=topic``, or a table with some of `TOPIC_KEYS`."""
    if isinstance(raw, dict):
        found = _table(raw, TOPIC_KEYS, "a topic")
    else:
        subject, _, name = word_of(raw).partition("=")
        found = {"subject": subject, "topic": name}
    subject = found["subject"]
    check_subject(raw, subject)
    found["topic"] = found["topic"] or bare_subject(subject)
    if not found["topic"]:
        raise ValueError(f"{quote(raw)} has only wildcards, so its topic needs a name; write {subject}=name")
    topic = Topic(**found)
    if topic.format == PUBLICATION and topic.places:
        raise ValueError(f"{next(iter(topic.places))}: {SAYS_ITSELF}")
    return topic


SAYS_ITSELF = "a publication says this by itself; leave it out, or give another format"


def topic_name(topics: Iterable[Topic], subject: str) -> str:
    """Return the name of the first topic that takes the subject; empty where none does."""
    return next((topic.topic for topic in topics if overlap(topic.subject, subject)), "")


def _topics(raw: object) -> tuple[Topic, ...]:
    if isinstance(raw, str) and raw.lstrip().startswith("["):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{quote(raw)} is not an array of JSON; {error}") from None
    found = tuple(topic_of(item) for item in items_of(raw))
    check_once([topic.subject for topic in found])
    named: dict[str, Topic] = {}
    for topic in found:
        first = named.setdefault(topic.topic, topic)
        if msgspec.structs.replace(topic, subject=first.subject) != first:
            raise ValueError(
                f"{first.subject} and {topic.subject} are both of the topic {topic.topic} and differ in other keys; "
                "give both the same, or each a topic of its own"
            )
    return found


def _show(topics: tuple[Topic, ...]) -> str:
    if all(topic.plain for topic in topics):
        return ",".join(map(str, topics))
    return msgspec.json.encode(topics).decode()


PATHS = Kind("PATH,...", _paths, ",".join)
HEADERS = Kind("NAME,...", _headers, ",".join)
FORMAT = Kind("FORMAT", _format)
TOPICS = Kind("SUBJECT[=TOPIC],...", _topics, _show)
