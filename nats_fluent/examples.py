"""What each command's help shows of how it is used; docs/commands.md has the same.

A test gives every line to the parser of the command line, and its settings to `settings.load`.
"""

from __future__ import annotations

from typing import NamedTuple


class Example(NamedTuple):
    """A command line, as one would type it, and what it is for."""

    line: str
    what: str


EXAMPLES = {
    "run": (
        Example("nats-fluent run --config nats-fluent.toml", "with the settings of a file"),
        Example(
            "nats-fluent run --nats-servers nats://nats.example:4222 --fluent-url forward://127.0.0.1:24224",
            "from that NATS to the log shipper beside it",
        ),
        Example("nats-fluent run --jetstream-stream EVENTS", "from a stream, at least once"),
        Example(
            "nats-fluent run --spool-mode always --spool-dir /var/lib/nats-fluent",
            "each chunk on disk before it is sent",
        ),
    ),
    "check": (
        Example("nats-fluent check --config nats-fluent.toml", "what is in force, and why"),
        Example("nats-fluent check --connect --timeout 3", "whether NATS and the log shipper answer, too"),
    ),
    "decode": (
        Example("nats-fluent decode payload.bin", "the record that a file's payload becomes"),
        Example("nats-fluent decode - --subject squall-events", "the same for what comes on stdin"),
    ),
    "test": (
        Example("nats-fluent test cases.toml", "cases, against the settings that are in force"),
        Example("nats-fluent test cases.toml --transforms my.py", "the same for handlers of one's own"),
    ),
    "tail": (
        Example("nats-fluent tail", "all that the topics have"),
        Example("nats-fluent tail 'events.>' --count 10", "ten of another subject"),
        Example("nats-fluent tail --identity enforcer --operation create --json", "some of them, for a pipe"),
    ),
    "replay": (
        Example("nats-fluent replay --jetstream-stream EVENTS --since 2h --dry-run", "what it would send"),
        Example(
            "nats-fluent replay --jetstream-stream EVENTS --from-sequence 1200 --until 1300 --rate 500",
            "a part of the stream, no faster than that",
        ),
    ),
    "init": (
        Example("nats-fluent init exporter", "asks on a terminal, and writes into exporter/"),
        Example(
            "nats-fluent init exporter --servers nats.example:4222 --output kafka --set KAFKA_BROKERS=kafka:9092",
            "from that NATS to that Kafka",
        ),
        Example(
            "nats-fluent init --stream ORDERS --subjects 'orders.>' --format json --defaults",
            "a NATS server with that stream, and records on stdout; asks nothing",
        ),
    ),
    "demo": (
        Example("nats-fluent demo --count 12", "a dozen samples, and a summary"),
        Example("nats-fluent demo --rate 50", "fifty a second, until Ctrl-C"),
    ),
}
"""By command."""


def epilog(command: str) -> str:
    """Return what is shown under the help of the command."""
    # A paragraph each: typer joins the lines of one.
    return "\n\n".join(["Examples:", *(f"{line}  # {what}" for line, what in EXAMPLES.get(command, ()))])
