"""Every setting, declared once; and how flags, the environment and a TOML file become one frozen model.

A flag goes over the environment, that over the file, that over the default. A blank value counts as not given.
The names of the program that this one replaces (``KAFKA_EXPORTER_...``) are read where its own are not there.
"""

# No `from __future__ import annotations`: the catalogue reads the annotations when the program runs.
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from nats_fluent import options
from nats_fluent.errors import SettingsError
from nats_fluent.options import (
    DURATION,
    PATH,
    PREFIX,
    SECRET,
    SIZE,
    TEXT,
    WORD,
    FluentUrl,
    Say,
    Secret,
    Topic,
)

FORMER = "KAFKA_EXPORTER_"
CONFIG = f"{PREFIX}CONFIG"
# The second is a switch of the test suite.
_OTHER_NAMES = (CONFIG, f"{PREFIX}REQUIRE")
# Kubernetes puts these into each pod's environment for a service named nats-fluent or kafka-exporter.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$")
_KAFKA_MESSAGE_BYTES = 1_000_000  # librdkafka's message.max.bytes
_FLUENT_BIT_BYTES = 6_144_000  # Fluent Bit's Buffer_Max_Size; a larger message costs the connection

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
FORMER_IGNORED = f"{FORMER}PUBSUB_CLUSTER_ID"


def _former(*names: str) -> tuple[str, ...]:
    return tuple(FORMER + name for name in names)


class Nats(msgspec.Struct, frozen=True, kw_only=True):
    """The NATS servers, and how this program signs in."""

    servers: Annotated[
        tuple[str, ...],
        Say(options.SERVERS, "NATS servers, nats:// or tls://.", _former("PUBSUB_ADDRESS")),
    ] = ("nats://127.0.0.1:4222",)
    user: Annotated[str | None, Say(WORD, "User name.", _former("PUBSUB_USER"))] = None
    password: Annotated[Secret | None, Say(SECRET, "Password of the user.", _former("PUBSUB_PASS"))] = None
    ca_file: Annotated[
        Path | None,
        Say(PATH, "CA certificates (PEM) that the servers' must come from; asks for TLS.", _former("CACERT")),
    ] = None
    cert_file: Annotated[
        Path | None, Say(PATH, "Client certificate (PEM); asks for TLS.", _former("CLIENT_CERT"))
    ] = None
    key_file: Annotated[
        Path | None, Say(PATH, "Private key (PEM) of the client certificate.", _former("CLIENT_CERT_KEY"))
    ] = None
    key_password: Annotated[
        Secret | None, Say(SECRET, "Passphrase of the private key.", _former("CLIENT_CERT_KEY_PASS"))
    ] = None
    queue_group: Annotated[
        str, Say(WORD, "Queue group: programs with the same one share the messages between them.")
    ] = "nats-fluent"
    name: Annotated[
        str, Say(TEXT, "Name of the connection, as the servers list it.", _former("PUBSUB_CLIENT_ID"))
    ] = "nats-fluent"
    connect_timeout: Annotated[float, Say(DURATION, "How long one attempt to connect may take.")] = 5.0
    ping_interval: Annotated[
        float, Say(DURATION, "Time between pings; a server that left two unanswered is given up.")
    ] = 15.0
    pending_messages: Annotated[
        int,
        Say(
            options.whole(1, 10_000_000),
            "Messages that may wait in the NATS client; more are lost and counted.",
        ),
    ] = 65_536
    pending_bytes: Annotated[
        int, Say(SIZE, "Payload bytes that may wait in the NATS client; more are lost and counted.")
    ] = 64 << 20

    @property
    def tls(self) -> bool:
        """Whether TLS is asked for: by an address, or by a certificate file, as the original had it."""
        return bool(self.ca_file or self.cert_file) or any(url.startswith("tls:") for url in self.servers)


class Fluent(msgspec.Struct, frozen=True, kw_only=True):
    """The log shipper (Fluent Bit or Fluentd), and how records travel to it."""

    url: Annotated[
        tuple[FluentUrl, ...],
        Say(
            options.FLUENT_URLS,
            "Log shippers, in order of preference: forward://, forward+tls:// or unix://; or stdout: alone.",
        ),
    ] = (FluentUrl("stdout"),)
    shared_key: Annotated[Secret | None, Say(SECRET, "Shared key of the Forward handshake.")] = None
    user: Annotated[str | None, Say(WORD, "User name of the Forward handshake.")] = None
    password: Annotated[Secret | None, Say(SECRET, "Password of that user.")] = None
    hostname: Annotated[
        str, Say(WORD, "Name of this host in the Forward handshake; blank for the system's own.")
    ] = ""
    ca_file: Annotated[
        Path | None, Say(PATH, "CA certificates (PEM) that the log shipper's must come from.")
    ] = None
    cert_file: Annotated[Path | None, Say(PATH, "Client certificate (PEM) for the log shipper.")] = None
    key_file: Annotated[Path | None, Say(PATH, "Private key (PEM) of the client certificate.")] = None
    key_password: Annotated[Secret | None, Say(SECRET, "Passphrase of the private key.")] = None
    connect_timeout: Annotated[
        float, Say(DURATION, "How long one attempt to connect, handshake included, may take.")
    ] = 5.0
    ack_timeout: Annotated[
        float,
        Say(DURATION, "How long to wait for an acknowledgement before connecting anew and sending again."),
    ] = 30.0
    window: Annotated[int, Say(options.whole(1, 1024), "Chunks that may be sent and unacknowledged.")] = 8
    mode: Annotated[
        Literal["packed", "forward"],
        Say(options.choice("packed", "forward"), "Forward mode; packed costs the log shipper less."),
    ] = "packed"
    compress: Annotated[
        Literal["off", "gzip"],
        Say(options.choice("off", "gzip"), "Compression of chunks; needs mode packed."),
    ] = "off"


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """When records become a chunk, and how much may be held."""

    max_records: Annotated[int, Say(options.whole(1, 100_000), "Records in a chunk, at most.")] = 500
    max_bytes: Annotated[int, Say(SIZE, "Bytes of records in a chunk, at most.")] = 1_000_000
    linger: Annotated[float, Say(DURATION, "How long a record waits for others of its chunk.")] = 0.1
    buffer_bytes: Annotated[
        int, Say(SIZE, "Memory for all that is received and not yet acknowledged by the log shipper.")
    ] = 256 << 20


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a record looks like."""

    tag: Annotated[
        str, Say(options.TAG, "Fluent tag, with the fields {topic}, {subject}, {identity} and {operation}.")
    ] = "aporeto.{topic}"
    max_bytes: Annotated[
        int, Say(SIZE, "A larger record is replaced by one that has its first bytes and its size.")
    ] = 900_000


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """What this program says of itself, on stderr."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Say(
            options.choice("debug", "info", "warning", "error", also={"trace": "debug", "warn": "warning"}),
            "The least level that is logged; debug adds tracebacks.",
            _former("LOG_LEVEL"),
        ),
    ] = "info"
    format: Annotated[
        Literal["text", "json", "stackdriver"],
        Say(options.choice("text", "json", "stackdriver"), "Form of a log line.", _former("LOG_FORMAT")),
    ] = "text"


class Shutdown(msgspec.Struct, frozen=True, kw_only=True):
    """How this program stops."""

    timeout: Annotated[
        float, Say(DURATION, "How long to wait on SIGTERM for the log shipper to take what is held.")
    ] = 15.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, checked: durations in seconds, sizes in bytes."""

    nats: Nats = Nats()
    topics: Annotated[
        tuple[Topic, ...],
        Say(options.TOPICS, "Subjects to subscribe to, each with the topic name that its records carry."),
    ] = tuple(Topic(name, name) for name in DEFAULT_TOPICS)
    fluent: Fluent = Fluent()
    batch: Batch = Batch()
    record: Record = Record()
    log: Log = Log()
    shutdown: Shutdown = Shutdown()


CATALOGUE = options.catalogue(Settings)


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


class _Loader:
    """Collects the values and every problem of one call of `load`."""

    def __init__(self, flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None) -> None:
        self.flags, self.environ, self.file = flags, environ, file
        self.document: dict[str, Any] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.bad: set[str] = set()

    def read_file(self) -> None:
        if self.file is None:
            return
        try:
            self.document = tomllib.loads(self.file.read_text("utf-8"))
        except OSError as error:
            self.problems.append(f"{self.file}: cannot be read ({error.strerror}); name a TOML file.")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            self.problems.append(f"{self.file}: is not TOML ({error}).")

    def unknown(self) -> None:
        """Report the names that nobody reads."""
        known = [option.key for option in CATALOGUE]
        sections = {option.section for option in CATALOGUE if option.name}
        for section, table in self.document.items():
            if section in sections and isinstance(table, dict):
                keys = [f"{section}.{name}" for name in table]
            else:
                keys = [section]
            for key in keys:
                if key in sections:
                    self.problems.append(
                        f"{self.file}: {key} is not a table; write [{key}] above its settings."
                    )
                elif key not in known:
                    hint = options.nearest(key, [*known, *sections])
                    self.problems.append(f"{self.file}: {key} is not a setting{hint or '; leave it out'}.")
        names = [*(option.env for option in CATALOGUE), *_OTHER_NAMES]
        former = {
            *(alias for option in CATALOGUE for alias in option.aliases),
            *FORMER_TOPICS,
            FORMER_IGNORED,
        }
        for name in sorted(self.environ):
            if _SERVICE_LINK.search(name):
                continue
            if name.startswith(PREFIX) and name not in names:
                hint = options.nearest(name, names)
                self.problems.append(f"environment {name} is not a setting{hint or '; leave it out'}.")
            elif name == FORMER_IGNORED:
                self.warnings.append(
                    f"environment {name} has no effect: NATS needs no cluster name any more."
                )
            elif name.startswith(FORMER) and name not in former:
                self.warnings.append(f"environment {name} has no effect: it is not read any more.")

    def found(self, option: options.Option) -> tuple[str, object] | None:
        """Return where the option is given, and as what."""
        section = self.document.get(option.section)
        if option.name:
            section = section.get(option.name) if isinstance(section, dict) else None
        for origin, raw in (
            (f"flag {option.flag}", self.flags.get(option.param)),
            *((f"environment {name}", self.environ.get(name)) for name in (option.env, *option.aliases)),
            *self.former_topics(option),
            (f"{self.file}: {option.key}", section),
        ):
            if raw is not None and not (isinstance(raw, str) and not raw.strip()):
                return origin, raw
        return None

    def former_topics(self, option: options.Option) -> Iterator[tuple[str, object]]:
        given = {name: self.environ.get(name, "").strip() for name in FORMER_TOPICS}
        if option.key == "topics" and any(given.values()):
            subjects = {FORMER_TOPICS[name]: subject for name, subject in given.items() if subject}
            topics = [{"subject": subjects.get(topic, topic), "topic": topic} for topic in DEFAULT_TOPICS]
            yield f"environment {', '.join(name for name in given if given[name])}", topics

    def take(self) -> None:
        for option in CATALOGUE:
            found = self.found(option)
            origin, self.values[option.key] = found or ("default", option.default)
            self.origins[option.key] = origin
            if found is None:
                continue
            try:
                self.values[option.key] = option.kind.parse(found[1])
            except ValueError as error:
                self.refuse(f"{origin}: {error}.", option.key)

    def refuse(self, problem: str, *keys: str) -> None:
        self.problems.append(problem)
        self.bad.update(keys)

    def read_secrets(self) -> None:
        """Make one Secret of each value and its ``_file``."""
        for option in CATALOGUE:
            if not option.kind.secret:
                continue
            key, file_key = option.key, f"{option.key}_file"
            path = self.values.pop(file_key)
            if path is None:
                continue
            if self.values[key] is not None:
                where = f"{self.origins[key]} and {self.origins[file_key]}"
                self.refuse(f"{where}: both are given; give the value or the file.", key)
                continue
            self.values[key] = Secret(file=path)
            try:
                self.values[key].get()
            except SettingsError as error:
                self.refuse(f"{self.origins[file_key]}: {error}", key)

    def check(self, *keys: str, wrong: Callable[..., bool], problem: str) -> None:
        """Refuse what `wrong` says of the values of the keys, unless one of them is refused already."""
        if not self.bad.intersection(keys) and wrong(*(self.values[key] for key in keys)):
            where = " and ".join(f"{key} ({self.origins[key]})" for key in keys)
            self.refuse(f"{where}: {problem}.", *keys)

    def check_files(self) -> None:
        for option in CATALOGUE:
            path = self.values.get(option.key)
            if isinstance(path, Path):
                try:
                    path.open("rb").close()
                except OSError as error:
                    problem = f"{path} cannot be read ({error.strerror}); name a file that can be"
                    self.refuse(f"{self.origins[option.key]}: {problem}.", option.key)

    def check_together(self) -> None:
        both = "one is there without the other; give both or neither"
        for section in ("nats", "fluent"):
            self.check(f"{section}.user", f"{section}.password", wrong=_one_only, problem=both)
            self.check(f"{section}.cert_file", f"{section}.key_file", wrong=_one_only, problem=both)
            self.check(
                f"{section}.key_password",
                f"{section}.key_file",
                wrong=lambda password, key: password is not None and key is None,
                problem="a passphrase without a key; give the key_file",
            )
        self.check(
            "fluent.user",
            "fluent.shared_key",
            wrong=lambda user, key: user is not None and key is None,
            problem="a user needs the shared key of the handshake; give it, or leave the user out",
        )
        # Forward has no way to ask for TLS on a plain connection; NATS has, so there a file alone asks for it.
        for name in ("ca_file", "cert_file"):
            self.check(
                f"fluent.{name}",
                "fluent.url",
                wrong=lambda path, urls: path is not None and not any(url.tls for url in urls),
                problem="no address uses TLS, so records would go out in the clear; write forward+tls://",
            )
        self.check(
            "fluent.compress",
            "fluent.mode",
            wrong=lambda compress, mode: compress != "off" and mode != "packed",
            problem="only packed chunks can be compressed; write mode packed or compress off",
        )
        larger = "the first is larger than the second; make it smaller, or the second larger"
        for small, large in (
            ("record.max_bytes", "batch.max_bytes"),
            ("batch.max_bytes", "batch.buffer_bytes"),
        ):
            self.check(small, large, wrong=lambda one, other: one > other, problem=larger)

    def warn(self) -> None:
        values = self.values
        if values["record.max_bytes"] >= _KAFKA_MESSAGE_BYTES:
            self.warnings.append(
                "record.max_bytes is not below 1,000,000: one such record makes Fluent Bit's Kafka output drop its "
                "whole chunk, unless rdkafka.message.max.bytes is raised."
            )
        if values["batch.max_bytes"] >= _FLUENT_BIT_BYTES:
            self.warnings.append(
                "batch.max_bytes is not below 6,144,000: Fluent Bit refuses such a chunk for ever, unless its "
                "Buffer_Max_Size is raised."
            )
        subjects = [topic.subject for topic in values["topics"]]
        for index, one in enumerate(subjects):
            self.warnings.extend(
                f"topics: a message can match both {one} and {other}; its record is then sent twice."
                for other in subjects[index + 1 :]
                if options.overlap(one, other)
            )

    def build(self) -> Settings:
        parts: dict[str, Any] = {"topics": self.values["topics"]}
        for field in msgspec.structs.fields(Settings):
            if field.name != "topics":
                names = [inner.name for inner in msgspec.structs.fields(field.type)]
                parts[field.name] = field.type(
                    **{name: self.values[f"{field.name}.{name}"] for name in names}
                )
        return Settings(**parts)


def _one_only(one: object, other: object) -> bool:
    return (one is None) != (other is None)


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
    loader = _Loader(flags, environ, file)
    loader.read_file()
    loader.unknown()
    loader.take()
    loader.read_secrets()
    loader.check_files()
    loader.check_together()
    loader.warn()
    if loader.problems:
        raise SettingsError(*loader.problems)
    return Loaded(loader.build(), tuple(loader.warnings), loader.origins)
