"""A real Kafka-compatible broker (Tansu), what it holds, and a way to it that can be cut."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
import ways
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from programs import PATIENCE, Program, find, free_port

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from confluent_kafka import Message

PARTITIONS = 3
"""So that the order by key is not just that of the whole topic."""


class Kafka(Program):
    """A broker on a free loopback port. It keeps all in memory, and loses it when it ends.

    Args:
        directory: where its output goes.
        args: more of Tansu's own arguments.
        advertised: the port that clients are told to use, where that is not the broker's own.
    """

    def __init__(
        self,
        directory: Path,
        *args: str,
        advertised: int | None = None,
    ) -> None:
        self.port = free_port()
        self.brokers = f"127.0.0.1:{advertised or self.port}"
        self.client = {"bootstrap.servers": self.brokers}
        super().__init__(
            [
                find("kafka"),
                "broker",
                *("--listener-url", f"tcp://127.0.0.1:{self.port}"),
                *("--advertised-listener-url", f"tcp://{self.brokers}"),
                *("--storage-engine", "memory://tansu/"),
                *args,
            ],
            directory,
        )

    def start(self) -> None:
        super().start()
        self.wait_listening(self.port)

    def create(self, *topics: str) -> None:
        new = [NewTopic(topic, PARTITIONS) for topic in topics]
        admin = AdminClient(self.client)
        for made in admin.create_topics(new).values():
            made.result(PATIENCE)

    def topics(self) -> set[str]:
        return set(AdminClient(self.client).list_topics(timeout=PATIENCE).topics)

    def read(self, count: int, *, all_of_them: bool = True, within: float = 2 * PATIENCE) -> list[Message]:
        """Return what is in all topics, of each partition in its order.

        Waits until there are `count`; fails when there are fewer after `within` seconds, or more, unless these
        are not `all_of_them`.
        """
        deadline = time.monotonic() + within
        found: list[Message] = []
        with contextlib.closing(Consumer(self.client | {"group.id": "test"})) as consumer:
            assigned: set[tuple[str, int]] = set()
            while len(found) < count:
                if time.monotonic() > deadline:
                    pytest.fail(f"{len(found)} of {count} messages within {within} s")
                metadata = consumer.list_topics(timeout=PATIENCE).topics
                now = {
                    (name, partition) for name, topic in metadata.items() for partition in topic.partitions
                }
                if new := now - assigned:
                    consumer.incremental_assign(
                        [TopicPartition(*one, OFFSET_BEGINNING) for one in sorted(new)]
                    )
                    assigned = now
                for message in consumer.consume(10_000, timeout=0.5):
                    assert message.error() is None, message.error()
                    found.append(message)
            # Tansu's end offsets lag behind what it holds, so they cannot tell that this was all.
            more = consumer.consume(10_000, timeout=1) if all_of_them else []
        assert not more, f"{len(more)} messages more than {count}"
        return found


def values_of(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """The record of each message, which every JSON reader takes; the key and time of each are the record's own."""
    records = []
    for message in messages:
        record = ways.as_json(message.value())
        assert message.key().decode() == record["key"]
        seconds, _, digits = record["timestamp"].removesuffix("Z").partition(".")
        assert record.pop("@timestamp") == f"{seconds}.{digits:0<9}Z"
        records.append(record)
    return records


def by_key(messages: Iterable[Message]) -> dict[tuple[str, int, bytes], list[Message]]:
    """The messages of each key, in the order of their partition."""
    found = defaultdict(list)
    for message in messages:
        found[message.topic(), message.partition(), message.key()].append(message)
    return found


def assert_in_order_by_key(messages: Iterable[Message]) -> None:
    """What came first of each record is in the order of publication, each key for itself and in one partition."""
    found = by_key(messages)
    assert len({(topic, key) for topic, _, key in found}) == len(found), "a key in two partitions"
    assert max(map(len, found.values())) > 1
    for of_key in found.values():
        ways.assert_in_order(list({record["id"]: record for record in values_of(of_key)}.values()))
