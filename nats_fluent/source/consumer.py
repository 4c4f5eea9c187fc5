"""The durable consumer that is wanted, and how one that is there differs from it. Without I/O.

Configurations are JSON objects as JetStream's API has them, so that what this program does not know survives an
update. Source: ADR-13, ADR-15 and `ConsumerConfig` of nats-server 2.15.1, whose refusals were tried.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from nats_fluent.addresses import overlap
from nats_fluent.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nats_fluent.sections import JetStreamSettings
    from nats_fluent.topics import Topic

Config = dict[str, Any]

_NS = 1_000_000_000

_UNUSABLE = {
    "deliver_subject": "it pushes messages, and this program pulls them",
    "priority_policy": "it serves its members by priority, and this program has none",
    "priority_groups": "it serves its members by priority, and this program has none",
}
"""Fields that must be empty."""

_SETTINGS = {
    "ack_wait": "NATS_FLUENT_JETSTREAM_ACK_WAIT",
    "max_ack_pending": "NATS_FLUENT_JETSTREAM_MAX_ACK_PENDING",
    "filter_subjects": "NATS_FLUENT_JETSTREAM_FILTER_SUBJECTS",
}


class Limits(NamedTuple):
    """What a consumer allows; 0 where it does not say.

    Attributes:
        ack_wait: seconds for which the server waits to hear of a message.
        max_ack_pending: messages that may be delivered and not acknowledged, over all members.
        max_batch: messages that one pull may ask for.
        max_bytes: bytes that one pull may ask for.
        max_expires: seconds that one pull may take.
    """

    ack_wait: float
    max_ack_pending: int
    max_batch: int = 0
    max_bytes: int = 0
    max_expires: float = 0.0


class Stream(NamedTuple):
    """What is to be known of a stream.

    Attributes:
        subjects: what it takes; none for a mirror.
        retention: ``limits``, ``interest`` or ``workqueue``.
        created: when, as text; another stream of the same name has another time.
        last: the sequence of its newest message.
    """

    subjects: tuple[str, ...]
    retention: str = "limits"
    created: str = ""
    last: int = 0


class Floor:
    """Up to where a stream is acknowledged, as far as is known."""

    def __init__(self) -> None:
        self._stream = ""
        self._sequence = 0

    def note(self, stream: Stream, sequence: int) -> None:
        """Take note of what the consumer said."""
        self._stream, self._sequence = stream.created, sequence

    def raised(self, sequence: int) -> None:
        """Take note of what the consumer said, of the stream that was seen last."""
        self._sequence = max(self._sequence, sequence)

    def of(self, stream: Stream) -> int:
        """Return it for that stream; 0 for one that is not the one that it was noted of, as far as can be told."""
        same = stream.created == self._stream and stream.last >= self._sequence
        return self._sequence if same else 0


class Difference(NamedTuple):
    """A field in which a consumer is not as wanted, each value as text."""

    field: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.field} is {self.found}, wanted {self.wanted}"


def wanted(settings: JetStreamSettings, subjects: Sequence[str]) -> Config:
    """Return the configuration of a new consumer.

    Args:
        settings: the durable's name and its limits.
        subjects: what it delivers.
    """
    config: Config = {
        "durable_name": settings.durable,
        "name": settings.durable,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": round(settings.ack_wait * _NS),
        "max_deliver": -1,
        "max_ack_pending": settings.max_ack_pending,
        "replay_policy": "instant",
    }
    # Several need nats-server 2.10; one is known to all of them.
    if len(subjects) == 1:
        config["filter_subject"] = subjects[0]
    else:
        config["filter_subjects"] = list(subjects)
    return config


def started_after(config: Config, sequence: int, *, retention: str) -> Config:
    """Return the configuration of a consumer that takes the place of one that was deleted.

    Args:
        config: as `wanted` made it.
        sequence: up to where the stream was acknowledged; 0 when that is not known.
        retention: of the stream. A work queue has only what is not acknowledged, and no consumer of it may start
            elsewhere (nats-server's error 10101).
    """
    if not sequence or retention == "workqueue":
        return config
    return config | {"deliver_policy": "by_start_sequence", "opt_start_seq": sequence + 1}


def filters(config: Config) -> list[str]:
    """Return the subjects that a consumer delivers, sorted; empty for all of its stream."""
    one = config.get("filter_subject")
    return sorted(config.get("filter_subjects") or ([one] if one else []))


def limits(config: Config) -> Limits:
    """Return what a consumer allows."""
    waits = [config.get("ack_wait", 0), *(config.get("backoff") or ())]
    return Limits(
        ack_wait=min(waits) / _NS,
        max_ack_pending=config.get("max_ack_pending", 0),
        max_batch=config.get("max_batch", 0),
        max_bytes=config.get("max_bytes", 0),
        max_expires=config.get("max_expires", 0) / _NS,
    )


def differences(want: Config, found: Config, stream_subjects: Sequence[str]) -> list[Difference]:
    """Compare what decides which messages come, how often, and for how long they may be held.

    Where a consumer began (`deliver_policy`) is not compared: it meant something once, and cannot be changed.
    """
    rows = [
        Difference("ack_wait", _seconds(want["ack_wait"]), _seconds(found.get("ack_wait", 0))),
        *(
            Difference(field, str(want.get(field, default)), str(found.get(field, default)))
            for field, default in (("max_ack_pending", 0), ("max_deliver", -1), ("replay_policy", "instant"))
        ),
        Difference("headers_only", "False", str(found.get("headers_only", False))),
        Difference("backoff", "none", ",".join(map(_seconds, found.get("backoff") or ())) or "none"),
        Difference("inactive_threshold", "none", _seconds(found.get("inactive_threshold", 0))),
    ]
    whole = sorted(stream_subjects)
    wants, finds = (
        [] if subjects in (whole, [">"]) else subjects for subjects in (filters(want), filters(found))
    )
    rows.append(Difference("filter_subjects", ",".join(wants) or "all", ",".join(finds) or "all"))
    return [row for row in rows if row.wanted != row.found]


def unusable(found: Config) -> str:
    """Say why a consumer cannot be used at all, whatever is changed; empty when it can."""
    if found.get("ack_policy") != "explicit":
        return f"its ack_policy is {found.get('ack_policy')}, and messages are acknowledged one by one"
    return next((why for field, why in _UNUSABLE.items() if found.get(field)), "")


def refusal(name: str, rows: Sequence[Difference]) -> SourceError:
    """Return the error that shows each difference and says what to do."""
    keep = "".join(
        f" {_SETTINGS[row.field]}={row.found if row.found != 'all' else '>'}"
        for row in rows
        if row.field in _SETTINGS
    )
    shown = "; ".join(map(str, rows))
    # What no setting names, or no setting may be, cannot be taken as it is.
    takeable = all(row.field in _SETTINGS and not row.found.startswith("-") for row in rows)
    as_it_is = f", or set{keep} to take it as it is" if takeable else ""
    return SourceError(
        f"JetStream: the consumer {name} differs: {shown}. "
        f"Set NATS_FLUENT_JETSTREAM_CREATE=reconcile to change it{as_it_is}."
    )


def changed(found: Config, want: Config) -> Config:
    """Return what an update makes of the consumer: its own configuration with the wanted values in it."""
    kept = {
        field: value
        for field, value in found.items()
        if field not in ("filter_subject", "filter_subjects", "headers_only", "backoff", "inactive_threshold")
    }
    where = {
        field: found[field]
        for field in ("deliver_policy", "opt_start_seq", "opt_start_time")
        if field in found
    }
    return kept | want | where


def subjects_for(
    settings: JetStreamSettings, topics: Sequence[Topic], stream_subjects: Sequence[str]
) -> list[str]:
    """Return what the consumer is to deliver: the setting, or what the topics and the stream have in common.

    Args:
        settings: its `filter_subjects` go first.
        topics: what is to be taken.
        stream_subjects: what the stream takes; a mirror or a collection of other streams names none.

    Raises:
        SourceError: they have nothing in common.
    """
    subjects = list(settings.filter_subjects) or [topic.subject for topic in topics]
    common = [
        both for subject in subjects for other in stream_subjects if (both := meet(subject, other))
    ] or ([] if stream_subjects else subjects)
    if not common:
        raise SourceError(
            f"JetStream: the stream {settings.stream} has none of the subjects {','.join(subjects)}; it has "
            f"{','.join(stream_subjects)}. Set NATS_FLUENT_TOPICS or NATS_FLUENT_JETSTREAM_FILTER_SUBJECTS."
        )
    once = dict.fromkeys(common)
    return [one for one in once if not any(one != other and meet(one, other) == one for other in once)]


def meet(one: str, other: str) -> str:
    """Return the subject of the messages that match both; empty when none can."""
    if not overlap(one, other):
        return ""
    lefts, rights = one.split("."), other.split(".")
    found: list[str] = []
    for at, (left, right) in enumerate(zip_longest(lefts, rights)):
        if left == ">":
            return ".".join([*found, *rights[at:]])
        if right == ">":
            return ".".join([*found, *lefts[at:]])
        found.append(right if left == "*" else left)
    return ".".join(found)


def _seconds(ns: int) -> str:
    return f"{ns / _NS:g}s" if ns else "none"
