"""The sections of the settings: each setting declared once, with its kind, its default and what is said of it."""

# No `from __future__ import annotations`: the catalogue reads the annotations when the program runs.
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from nats_fluent import addresses, options, topics
from nats_fluent.addresses import FluentUrl
from nats_fluent.options import (
    DIRECTORY,
    DURATION,
    NAME,
    PATH,
    SECRET,
    SIZE,
    TEXT,
    WORD,
    Say,
    Secret,
)

FORMER = "KAFKA_EXPORTER_"
"""What the names in the environment of the program that this one replaces begin with."""


def _former(*names: str) -> tuple[str, ...]:
    return tuple(FORMER + name for name in names)


class NatsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The NATS servers, and how this program signs in."""

    servers: Annotated[
        tuple[str, ...],
        Say(
            addresses.SERVERS,
            "NATS servers, nats:// or tls://; or ws:// or wss://.",
            _former("PUBSUB_ADDRESS"),
        ),
    ] = ("nats://127.0.0.1:4222",)
    discovery: Annotated[
        Literal["on", "off"],
        Say(
            options.choice("on", "off"),
            "Whether servers that a cluster tells of are connected to, too, when one is lost.",
        ),
    ] = "on"
    user: Annotated[str | None, Say(WORD, "User name.", _former("PUBSUB_USER"))] = None
    password: Annotated[Secret | None, Say(SECRET, "Password of the user.", _former("PUBSUB_PASS"))] = None
    token: Annotated[Secret | None, Say(SECRET, "Token, in place of user and password.")] = None
    nkey: Annotated[
        Secret | None, Say(SECRET, "Seed of a user's NKey (SU...), which signs and is not sent.")
    ] = None
    creds: Annotated[
        Secret | None,
        Say(SECRET, "Credentials: a user's JWT and the seed of its NKey, as nsc writes them."),
    ] = None
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
    tls_first: Annotated[
        Literal["on", "off"],
        Say(
            options.choice("on", "off"),
            "Whether TLS comes before the server's first line, for servers with handshake_first; asks for TLS.",
        ),
    ] = "off"
    queue_group: Annotated[
        str, Say(WORD, "Queue group: programs with the same one share the messages between them.")
    ] = "nats-fluent"
    ack: Annotated[
        Literal["received", "delivered"],
        Say(
            options.choice("received", "delivered"),
            "When a publisher that asks is answered: when this has it, or when the log shipper or the spool does.",
        ),
    ] = "received"
    name: Annotated[
        str, Say(TEXT, "Name of the connection, as the servers list it.", _former("PUBSUB_CLIENT_ID"))
    ] = "nats-fluent"
    connect_timeout: Annotated[float, Say(DURATION, "How long one attempt to connect may take.")] = 5.0
    ping_interval: Annotated[
        float, Say(DURATION, "Time between pings; a server that left two unanswered is given up.")
    ] = 15.0

    @property
    def tls(self) -> bool:
        """Whether TLS is asked for, by any of the files or by the scheme of one server: then nothing goes without."""
        return (
            any((self.ca_file, self.cert_file, self.key_file))
            or self.tls_first == "on"
            or any(server.startswith(("tls://", "wss://")) for server in self.servers)
        )

    @property
    def websocket(self) -> bool:
        """Whether the servers are reached by a websocket."""
        return self.servers[0].startswith(("ws://", "wss://"))


class JetStreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Messages from a stream, acknowledged when the log shipper has them; without a stream, core NATS."""

    stream: Annotated[str, Say(NAME, "Stream to consume from; blank for core NATS.")] = ""
    durable: Annotated[
        str, Say(NAME, "Durable consumer on it: programs with the same one share the messages between them.")
    ] = "nats-fluent"
    filter_subjects: Annotated[
        tuple[str, ...],
        Say(addresses.SUBJECTS, "Subjects of the stream to consume; blank for those of the topics."),
    ] = ()
    create: Annotated[
        Literal["bind", "create", "reconcile"],
        Say(
            options.choice("bind", "create", "reconcile"),
            "The consumer: bind to one that is there, create a missing one, or reconcile one that differs.",
        ),
    ] = "create"
    ack_wait: Annotated[
        float, Say(DURATION, "How long the server waits for an acknowledgement or a sign of progress.")
    ] = 30.0
    max_ack_pending: Annotated[
        int, Say(options.whole(1, 1_000_000), "Messages that may be delivered and unacknowledged.")
    ] = 20_000
    domain: Annotated[str, Say(WORD, "JetStream domain, where the stream is in another one.")] = ""


class SpoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Chunks on disk, for a log shipper that is away for long, and for a stop or a crash meanwhile."""

    mode: Annotated[
        Literal["off", "overflow", "always"],
        Say(
            options.choice("off", "overflow", "always"),
            "off, overflow (what memory has no room for, and what is left on SIGTERM), or always (each chunk, first).",
        ),
    ] = "off"
    dir: Annotated[str, Say(DIRECTORY, "Where the chunks are; this program alone may use it.")] = ""
    max_bytes: Annotated[int, Say(SIZE, "Bytes of chunks on disk, at most.")] = 1 << 30
    fsync: Annotated[
        Literal["on", "off"],
        Say(
            options.choice("on", "off"),
            "Whether a chunk survives the crash of the machine, or of this program only.",
        ),
    ] = "on"


class FluentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The log shipper (Fluent Bit or Fluentd), and how records travel to it."""

    url: Annotated[
        tuple[FluentUrl, ...],
        Say(
            addresses.FLUENT_URLS,
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
        Say(
            options.choice("packed", "forward"),
            "Forward mode: packed costs the log shipper least; forward saves the others beside a bad record.",
        ),
    ] = "packed"
    compress: Annotated[
        Literal["off", "gzip"],
        Say(options.choice("off", "gzip"), "Compression of chunks: off, or gzip in mode packed."),
    ] = "off"


class BatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When records become a chunk, and how much may be held."""

    max_records: Annotated[int, Say(options.whole(1, 100_000), "Records in a chunk, at most.")] = 500
    max_bytes: Annotated[int, Say(SIZE, "Bytes of records in a chunk, at most.")] = 1_000_000
    linger: Annotated[float, Say(DURATION, "How long a record waits for others of its chunk.")] = 0.01
    buffer_bytes: Annotated[
        int, Say(SIZE, "Memory for all that is received and not yet acknowledged by the log shipper.")
    ] = 256 << 20


class RecordSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a record looks like."""

    tag: Annotated[
        str, Say(options.TAG, "Fluent tag, with the fields {topic}, {subject}, {identity} and {operation}.")
    ] = "aporeto.{topic}"
    format: Annotated[
        str,
        Say(
            topics.FORMAT,
            "What payloads are, if a topic does not say: publication, json, msgpack, text, raw, cloudevents or auto.",
        ),
    ] = "publication"
    max_bytes: Annotated[
        int,
        Say(
            SIZE,
            "A record that is larger, as msgpack or as JSON, is replaced by one with its first bytes and its size.",
        ),
    ] = 900_000


class RedactSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What of a record does not go out."""

    action: Annotated[
        Literal["mask", "remove", "hash", "off"],
        Say(
            options.choice("mask", "remove", "hash", "off", also={"false": "off"}),
            "What becomes of a redacted value: mask (***), remove (with its key), hash (with redact.key); or off.",
        ),
    ] = "mask"
    secrets: Annotated[
        Literal["on", "off"],
        Say(
            options.choice("on", "off", also={"true": "on", "false": "off"}),
            "Whether to redact what the platform's objects carry as secrets: passwords, tokens, private keys.",
        ),
    ] = "on"
    paths: Annotated[
        tuple[str, ...],
        Say(topics.PATHS, "What else to redact of content, as entity.metadata, entity.*.name or **.email."),
    ] = ()
    headers: Annotated[
        tuple[str, ...], Say(topics.HEADERS, "Headers of NATS messages to redact, in upper or lower case.")
    ] = ("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie")
    undecodable: Annotated[
        Literal["keep", "omit"],
        Say(
            options.choice("keep", "omit"),
            "The bytes of what cannot be decoded, which may hold anything: keep them in its record, or omit them.",
        ),
    ] = "keep"
    key: Annotated[Secret | None, Say(SECRET, "Key of the hashes (HMAC-SHA256), 16 characters or more.")] = (
        None
    )


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What this program says of itself, on stderr."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Say(
            options.choice("debug", "info", "warning", "error", also={"trace": "debug", "warn": "warning"}),
            "The least level that is logged: debug (with tracebacks), info, warning or error.",
            _former("LOG_LEVEL"),
        ),
    ] = "info"
    format: Annotated[
        Literal["text", "json", "stackdriver"],
        Say(
            options.choice("text", "json", "stackdriver"),
            "Form of a log line: text, json or stackdriver.",
            _former("LOG_FORMAT"),
        ),
    ] = "text"


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How this program can be watched: health, metrics and a status page."""

    listen: Annotated[
        str,
        Say(
            addresses.LISTEN,
            "Where /livez, /readyz, /metrics and the status page are served, to whoever asks: host:port, or off.",
        ),
    ] = "off"


class ShutdownSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How this program stops."""

    timeout: Annotated[
        float, Say(DURATION, "How long to wait on SIGTERM for the log shipper to take what is held.")
    ] = 15.0
