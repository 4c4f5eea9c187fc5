"""The recorder that the settings ask for, and the formats that other packages have."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import msgspec

from nats_fluent.errors import SettingsError
from nats_fluent.filters import Filters
from nats_fluent.formats import BUILT_IN, Own
from nats_fluent.formatted import FormatRecorder, Reading
from nats_fluent.options import nearest
from nats_fluent.places import place_of
from nats_fluent.record import Recorder
from nats_fluent.redact import Redaction
from nats_fluent.topics import PUBLICATION, Topic

if TYPE_CHECKING:
    from nats_fluent.formats import Format
    from nats_fluent.settings import Settings

GROUP = "nats_fluent.formats"
"""The group of the entry points that are formats of one's own."""


def recorder_of(settings: Settings, run_id: str, *, levels: int | None, filtered: bool = True) -> Recorder:
    """Make the recorder that the settings ask for; without the topics' filters when it is not `filtered`.

    Raises:
        SettingsError: there is no such format, the package that has it cannot be loaded, or the key to redact with
            cannot be read.
    """
    filters = Filters(settings.topics if filtered else ())
    redaction = Redaction(settings.redact, settings.topics) if settings.redact.action != "off" else None
    usual = settings.record.format
    if usual == PUBLICATION and all(topic.format in ("", PUBLICATION) for topic in settings.topics):
        return Recorder(settings.record, run_id, levels=levels, filters=filters, redaction=redaction)
    return FormatRecorder(
        settings.record,
        run_id,
        levels=levels,
        filters=filters,
        redaction=redaction,
        readings={topic.topic: _reading(topic.format or usual, topic) for topic in settings.topics},
        usual=_reading(usual),
    )


def in_format(settings: Settings, name: str | None) -> Settings:
    """Return the settings with one format for all topics; as they are for None."""
    if name is None:
        return settings
    topics = tuple(msgspec.structs.replace(topic, format="") for topic in settings.topics)
    record = msgspec.structs.replace(settings.record, format=name)
    return msgspec.structs.replace(settings, topics=topics, record=record)


def _reading(name: str, topic: Topic | None = None) -> Reading | None:
    """Return how payloads are read; None for publications."""
    if name == PUBLICATION:
        return None
    places = {} if topic is None else {what: place_of(text) for what, text in topic.places.items()}
    return Reading(name, BUILT_IN.get(name) or _own(name), places)


def _own(name: str) -> Format:
    """Load the format of that name from the package that has it."""
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        known = (PUBLICATION, *BUILT_IN, *sorted(found))
        hint = nearest(name, known) or f"; write one of {', '.join(known)}"
        raise SettingsError(f"format: {name!r} is not known{hint}")
    try:
        decode = found[name].load()
    except Exception as error:
        raise SettingsError(
            f"format: {name} ({found[name].value}) cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not callable(decode):
        raise SettingsError(f"format: {name} ({found[name].value}) is no function")
    return Own(name, decode)
