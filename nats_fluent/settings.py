"""Every setting, declared once; and how flags, the environment and a TOML file become one frozen model.

A flag goes over the environment, that over the file, that over the default. A blank value counts as not
given. The environment names of the program that this one replaces (``KAFKA_EXPORTER_...``) are read where the
own ones are not given.
"""

# No `from __future__ import annotations`: the catalogue reads the annotations when the program runs.
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from nats_fluent import addresses, agreement
from nats_fluent.addresses import TRANSFORMS, overlap
from nats_fluent.errors import SettingsError
from nats_fluent.layering import Layers, build, catalogue
from nats_fluent.options import PREFIX, Say, nearest, whole
from nats_fluent.sections import (
    FORMER,
    BatchSettings,
    FluentSettings,
    HttpSettings,
    JetStreamSettings,
    LogSettings,
    NatsSettings,
    RecordSettings,
    RedactSettings,
    ShutdownSettings,
    SpoolSettings,
)
from nats_fluent.topics import TOPICS, Topic

CONFIG = f"{PREFIX}CONFIG"
REVISION = f"{PREFIX}REVISION"
"""No setting: the revision of the source, which the image brings for ``--version``."""
# The last is a switch of the test suite.
_OTHER_NAMES = (CONFIG, REVISION, f"{PREFIX}REQUIRE")
_KAFKA_BYTES = 1_000_000  # librdkafka's message.max.bytes
_FLUENT_BIT_BYTES = 6_144_000  # Fluent Bit's Buffer_Max_Size; a larger message costs the connection

MOST_WORKERS = 64
"""More than a log shipper and a NATS server beside them can be of use to."""

DEFAULT_TOPICS = (
    "squall-events",
    "activities",
    "external-auditreports",
    "external-fileaccessreports",
    "external-flowreports",
    "external-eventlogs",
)
# Each gives another subject to the topic of that name.
FORMER_TOPICS = {
    f"{FORMER}TOPIC_EVENTS": "squall-events",
    f"{FORMER}TOPIC_ACTIVITIES": "activities",
    f"{FORMER}TOPIC_AUDIT_REPORTS": "external-auditreports",
    f"{FORMER}TOPIC_FLOW_REPORTS": "external-flowreports",
    f"{FORMER}TOPIC_EVENT_LOGS": "external-eventlogs",
}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, checked: durations in seconds, sizes in bytes."""

    nats: NatsSettings = NatsSettings()
    topics: Annotated[
        tuple[Topic, ...],
        Say(TOPICS, "Subjects to subscribe to, each with the topic name that its records carry."),
    ] = tuple(Topic(name, name) for name in DEFAULT_TOPICS)
    workers: Annotated[
        int,
        Say(
            whole(1, MOST_WORKERS),
            "Processes that share the work, of one queue group; memory and spool are divided between them.",
        ),
    ] = 1
    transforms: Annotated[
        tuple[str, ...],
        Say(TRANSFORMS, "Files of Python (.py), or installed entry points, whose handlers make the records."),
    ] = ()
    jetstream: JetStreamSettings = JetStreamSettings()
    fluent: FluentSettings = FluentSettings()
    batch: BatchSettings = BatchSettings()
    spool: SpoolSettings = SpoolSettings()
    record: RecordSettings = RecordSettings()
    redact: RedactSettings = RedactSettings()
    log: LogSettings = LogSettings()
    http: HttpSettings = HttpSettings()
    shutdown: ShutdownSettings = ShutdownSettings()


CATALOGUE = catalogue(Settings)


class Loaded(NamedTuple):
    """What `load` returns.

    Attributes:
        settings: the model.
        warnings: one sentence each.
        origins: for each key of the catalogue (``nats.user``) where its value came from.
    """

    settings: Settings
    warnings: tuple[str, ...]
    origins: dict[str, str]


def _former_topics(environ: Mapping[str, str]) -> dict[str, tuple[str, object]]:
    """Return the topics with the subjects that the original's names give to some of them."""
    given = {name: environ[name].strip() for name in FORMER_TOPICS if environ.get(name, "").strip()}
    if not given:
        return {}
    subjects = {FORMER_TOPICS[name]: subject for name, subject in given.items()}
    topics = [{"subject": subjects.get(topic, topic), "topic": topic} for topic in DEFAULT_TOPICS]
    return {"topics": (f"environment {', '.join(given)}", topics)}


def _warnings(settings: Settings, layers: Layers) -> Iterator[str]:
    former = [*(alias for option in CATALOGUE for alias in option.aliases), *FORMER_TOPICS]
    for name in layers.unknown_names(FORMER, former):
        yield f"environment {name} has no effect; leave it out."
    for key, size, most, why in (
        (
            "record.max_bytes",
            settings.record.max_bytes,
            _KAFKA_BYTES,
            "Fluent Bit's Kafka output drops the chunk",
        ),
        (
            "batch.max_bytes",
            settings.batch.max_bytes,
            _FLUENT_BIT_BYTES,
            "Fluent Bit never takes such a chunk",
        ),
    ):
        if size >= most:
            yield f"{key} ({layers.origins[key]}) is not below {most}; {why}, unless its own limit is raised."
    readable = [key for key in ("nats.password", "nats.token") if layers.values[key] is not None]
    if readable and not settings.nats.tls and not all(map(addresses.loopback, settings.nats.servers)):
        yield (
            f"nats.servers ({layers.origins['nats.servers']}): nothing asks for TLS, so who is on the way to the "
            f"server can read {readable[0]}; write tls:// or wss://."
        )
    for one, other in combinations([topic.subject for topic in settings.topics], 2):
        if overlap(one, other):
            yield f"topics ({layers.origins['topics']}): what matches both {one} and {other} is sent twice."


def load(*, flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None) -> Loaded:
    """Read every setting; nothing is read but the arguments and the files that they name.

    Args:
        flags: by ``Option.param`` (``nats_user``); None or a blank text is one that was not given.
        environ: the environment.
        file: the TOML file; None for the one that NATS_FLUENT_CONFIG names, if any.

    Raises:
        SettingsError: with every problem, a sentence each: where, what was found, what to do.
    """
    if file is None and environ.get(CONFIG, "").strip():
        file = Path(environ[CONFIG].strip())
    layers = Layers(CATALOGUE, flags=flags, environ=environ, file=file, former=_former_topics(environ))
    layers.read()
    names = [*(option.env for option in CATALOGUE), *_OTHER_NAMES]
    for name in layers.unknown_names(PREFIX, names):
        layers.refuse(f"environment {name} is not a setting{nearest(name, names) or '; leave it out'}")
    agreement.check(layers)
    if layers.problems:
        raise SettingsError(*layers.problems)
    settings: Settings = build(Settings, layers.values)
    return Loaded(settings, tuple(_warnings(settings, layers)), layers.origins)
