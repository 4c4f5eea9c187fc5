"""The facts of several workers as those of one program.

What is counted is added up, over the workers and over those of them that died: a total never goes back. Of what is now,
bytes and records are added up, an age is the longest, and a connection is there when each worker has its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from nats_fluent.facts import Facts, IdentityFacts, NatsFacts, ShipperFacts, Times, TopicFacts, WatchdogFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nats_fluent.facts import SpoolFacts, StreamFacts

Part = TypeVar("Part", bound=msgspec.Struct)

MOST_SUBJECTS = 20
"""Subjects of which it is said how much of them was dropped."""

_ADDED = {
    "": ("decoded", "extra", "returned", "replaced_bytes"),
    "nats": ("reconnects", "cut_off", "answers", "answers_failed"),
    "stream": ("redelivered",),
    "shipper": (
        "connections",
        "failures",
        "chunks_sent",
        "chunks_sent_again",
        "chunks_acknowledged",
        "records_acknowledged",
        "bytes_sent",
    ),
    "spool": ("recovered", "lost"),
}
"""What is counted, by part: it is kept of a worker that died."""

_HELD = {
    "": ("buffer_bytes", "buffer_limit", "buffer_records"),
    "stream": ("unsettled",),
    "shipper": ("pending_chunks", "pending_records"),
    "spool": ("bytes", "max_bytes", "chunks", "records"),
}
"""What there is, by part: it is not kept."""


def merged(now: Sequence[Facts], gone: Iterable[Facts] = ()) -> Facts:
    """Return the facts of all.

    Args:
        now: of each worker that runs.
        gone: of those that do not, and of what ran in the place of those that do.
    """
    all_of = [*now, *map(counted, gone)]
    phases = {each.phase for each in now}
    return Facts(
        version=_first(each.version for each in all_of),
        time=max((each.time for each in all_of), default=0.0),
        uptime=max((each.uptime for each in all_of), default=0.0),
        phase="stopping"
        if "stopping" in phases
        else "starting"
        if "starting" in phases or not now
        else "running",
        topics=_topics(all_of),
        identities=_identities(all_of),
        transform_errors=_transform_errors(all_of),
        dropped_subjects=_most_dropped(all_of),
        nats=_nats([each.nats for each in now], [each.nats for each in all_of]),
        stream=_stream([each.stream for each in all_of if each.stream is not None]),
        shipper=_shipper([each.shipper for each in now], [each.shipper for each in all_of]),
        spool=_spool([each.spool for each in all_of if each.spool is not None]),
        watchdog=_watchdog([each.watchdog for each in now]),
        **_sums("", all_of),
    )


def counted(facts: Facts) -> Facts:
    """Return what is kept of a worker that died: what it counted, and nothing of what it had."""
    stream, spool = facts.stream, facts.spool
    kept = {name: getattr(facts, name) for name in _ADDED[""]}
    return Facts(
        version=facts.version,
        time=facts.time,
        uptime=facts.uptime,
        topics=facts.topics,
        identities=facts.identities,
        transform_errors=facts.transform_errors,
        dropped_subjects=facts.dropped_subjects,
        nats=NatsFacts(**_kept("nats", facts.nats)),
        stream=stream
        and type(stream)(stream=stream.stream, durable=stream.durable, **_kept("stream", stream)),
        shipper=ShipperFacts(
            acknowledged_at=facts.shipper.acknowledged_at,
            acknowledgement=facts.shipper.acknowledgement,
            end_to_end=facts.shipper.end_to_end,
            **_kept("shipper", facts.shipper),
        ),
        spool=spool and type(spool)(mode=spool.mode, **_kept("spool", spool)),
        **kept,
    )


def _transform_errors(each: Iterable[Facts]) -> dict[str, int]:
    found: dict[str, int] = {}
    for facts in each:
        for identity, count in facts.transform_errors.items():
            found[identity] = found.get(identity, 0) + count
    return found


def _kept(part: str, facts: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in _ADDED[part]}


def _sums(part: str, each: Sequence[msgspec.Struct]) -> dict[str, Any]:
    names = (*_ADDED[part], *_HELD.get(part, ()))
    return {name: sum(getattr(one, name) for one in each) for name in names}


def _first(words: Iterable[str]) -> str:
    return next(filter(None, words), "")


def _distinct(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(filter(None, words)))


def _longest(seconds: Iterable[float | None]) -> float | None:
    return max((each for each in seconds if each is not None), default=None)


def _topics(each: Sequence[Facts]) -> dict[str, TopicFacts]:
    found: dict[str, TopicFacts] = {}
    for facts in each:
        for name, topic in facts.topics.items():
            found[name] = _added(found[name], topic) if name in found else topic
    return found


def _added(one: Part, other: Part) -> Part:
    names = one.__struct_fields__
    return type(one)(**{name: getattr(one, name) + getattr(other, name) for name in names})


def _identities(each: Sequence[Facts]) -> list[IdentityFacts]:
    counts: dict[tuple[str, str, str], int] = {}
    for facts in each:
        for one in facts.identities:
            kind = one.topic, one.identity, one.operation
            counts[kind] = counts.get(kind, 0) + one.count
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [
        IdentityFacts(topic=topic, identity=identity, operation=operation, count=count)
        for (topic, identity, operation), count in ordered
    ]


def _most_dropped(each: Sequence[Facts]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for facts in each:
        for subject, count in facts.dropped_subjects.items():
            counts[subject] = counts.get(subject, 0) + count
    return dict(sorted(counts.items(), key=lambda item: -item[1])[:MOST_SUBJECTS])


def _nats(now: Sequence[NatsFacts], all_of: Sequence[NatsFacts]) -> NatsFacts:
    return NatsFacts(
        connected=bool(now) and all(each.connected for each in now),
        subscribed=bool(now) and all(each.subscribed for each in now),
        denied=list(dict.fromkeys(subject for each in now for subject in each.denied)),
        server=_distinct(each.server for each in now),
        reason=_distinct(each.reason for each in now if not each.connected),
        silent=max((each.silent for each in now), default=0.0),
        **_sums("nats", all_of),
    )


def _stream(each: Sequence[StreamFacts]) -> StreamFacts | None:
    if not each:
        return None
    first = each[0]
    # It is one consumer: each worker knows its lag as of a message or a look of its own.
    pending = max(one.pending for one in each)
    return type(first)(stream=first.stream, durable=first.durable, pending=pending, **_sums("stream", each))


def _shipper(now: Sequence[ShipperFacts], all_of: Sequence[ShipperFacts]) -> ShipperFacts:
    return ShipperFacts(
        connected=bool(now) and all(each.connected for each in now),
        server=_distinct(each.server for each in now),
        reason=_distinct(each.reason for each in now if not each.connected),
        stalled=max((each.stalled for each in now), default=0.0),
        oldest=_longest(each.oldest for each in now),
        acknowledged_at=_longest(each.acknowledged_at for each in all_of),
        acknowledgement=_times([each.acknowledgement for each in all_of]),
        end_to_end=_times([each.end_to_end for each in all_of]),
        **_sums("shipper", all_of),
    )


def _times(each: Sequence[Times]) -> Times:
    """Add histograms up; one that nothing was added to may have the last bound alone."""
    bounds = max((one.buckets for one in each), key=len, default=[("+Inf", 0)])
    counts = [dict(one.buckets) for one in each]
    return Times(
        [(bound, sum(one.get(bound, 0) for one in counts)) for bound, _ in bounds],
        sum(one.total for one in each),
    )


def _spool(each: Sequence[SpoolFacts]) -> SpoolFacts | None:
    if not each:
        return None
    return type(each[0])(
        mode=each[0].mode,
        oldest=_longest(one.oldest for one in each),
        trouble=_distinct(one.trouble for one in each),
        **_sums("spool", each),
    )


def _watchdog(now: Sequence[WatchdogFacts]) -> WatchdogFacts:
    still: dict[str, float] = {}
    for each in now:
        for part, seconds in each.still.items():
            still[part] = max(still.get(part, 0.0), seconds)
    return WatchdogFacts(looked_ago=_longest(each.looked_ago for each in now), still=still)
