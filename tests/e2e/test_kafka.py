"""The whole way to Kafka: NATS, the command, and Fluent Bit with its one line changed to a Kafka output."""

from __future__ import annotations

import contextlib
import json
import re

import pytest
import ways
from building import bare
from cable import Cable
from kafka import Kafka, assert_in_order_by_key, values_of
from programs import PATIENCE, started, wait_until

from nats_fluent.settings import DEFAULT_TOPICS

KAFKA_CONF = (ways.CONF / "output.d" / "kafka.conf").read_text()
QUEUE = int(re.search(r"queue\.buffering\.max\.messages +(\d+)", KAFKA_CONF)[1])
"""Messages that librdkafka holds at most."""


@pytest.fixture
def kafka(tmp_path):
    with started(Kafka(tmp_path)) as kafka:
        kafka.create(*DEFAULT_TOPICS)
        yield kafka


@contextlib.contextmanager
def way(directory, kafka, output="kafka.conf", *, topics="", environ=None):
    """The way to this broker by that output file."""
    shipper = ways.fluent_bit(directory, output, KAFKA_BROKERS=kafka.brokers, **environ or {})
    run = {"NATS_FLUENT_TOPICS": topics} if topics else {}
    with ways.way(directory, shipper, **run) as way:
        yield way
    # librdkafka tells of a setting that it does not know in the log only.
    assert "cannot configure" not in shipper.stderr.read_text()


def publish_numbered(way, numbers, *, keys=7):
    """Activities about a few targets, told apart by a number."""
    way.publish([("activities", bare({"targetID": f"{n % keys}", "n": n}, "")) for n in numbers])


def numbers_of(messages):
    return sorted(json.loads(message.value())["content"]["n"] for message in messages)


@pytest.mark.parametrize(
    ("name", "output"), [("mixed-2024", "kafka.conf"), ("mixed-2021-json", "kafka.yaml")]
)
def test_recorded_traffic_is_in_the_kafka_topic_of_each_topic(tmp_path, kafka, name, output):
    messages = ways.corpus(name)
    with way(tmp_path, kafka, output) as sent:
        sent.publish(messages)
        found = kafka.read(len(messages))
        sent.finish(len(messages))
    records = values_of(found)
    ways.assert_whole_and_once(tmp_path, records, messages)
    assert all(message.topic() == record["topic"] for message, record in zip(found, records, strict=True))
    assert {message.topic() for message in found} == {subject for subject, _ in messages}
    assert_in_order_by_key(found)


def test_recorded_traffic_in_a_single_kafka_topic(tmp_path, kafka):
    messages = ways.corpus("mixed-2021-json")
    kafka.create("all-of-it")
    with way(tmp_path, kafka, "kafka-single-topic.conf", environ={"KAFKA_TOPIC": "all-of-it"}) as sent:
        sent.publish(messages)
        found = kafka.read(len(messages))
        sent.finish(len(messages))
    assert {message.topic() for message in found} == {"all-of-it"}
    ways.assert_whole_and_once(tmp_path, values_of(found), messages)
    assert_in_order_by_key(found)


def test_a_topic_that_nobody_listed_has_its_own_kafka_topic(tmp_path, kafka):
    """`act` is the exception that kafka.conf tells of: the first listed name begins with it."""
    subjects = ["orders", "act", "activities"]
    with way(tmp_path, kafka, topics=",".join(subjects)) as sent:
        sent.publish([(subject, bare({"targetID": "1"}, "")) for subject in subjects])
        found = kafka.read(3)
    went = {json.loads(message.value())["topic"]: message.topic() for message in found}
    assert went == {"orders": "orders", "act": "activities", "activities": "activities"}


def test_a_topic_that_the_first_one_begins_with_can_be_listed(tmp_path, kafka):
    with way(tmp_path, kafka, topics="act", environ={"KAFKA_TOPICS": "activities,act"}) as sent:
        sent.publish([("act", bare({"targetID": "1"}, ""))])
        assert [message.topic() for message in kafka.read(1)] == ["act"]


def test_nothing_is_lost_or_doubled_while_kafka_is_away(tmp_path):
    with Cable() as cable, started(Kafka(tmp_path, advertised=cable.port)) as kafka:
        cable.broker = kafka.port
        kafka.create("activities")
        with way(tmp_path, kafka) as sent:
            publish_numbered(sent, range(500))
            kafka.read(500)
            cable.cut()
            publish_numbered(sent, range(500, 3000))
            wait_until(
                lambda: "brokers are down" in sent.shipper.stderr.read_text(),
                what="Fluent Bit sees that Kafka is away",
            )
            publish_numbered(sent, range(3000, 3500))
            cable.mend()
            found = kafka.read(3500)
            sent.finish(3500)
    assert numbers_of(found) == list(range(3500))
    assert_in_order_by_key(found)


def test_no_more_than_the_queue_is_lost_when_fluent_bit_crashes_while_kafka_is_away(tmp_path):
    """The window that docs/outputs.md tells of: what librdkafka holds; the rest is on disk and comes later."""
    count = 25_000
    with Cable() as cable, started(Kafka(tmp_path, advertised=cable.port)) as kafka:
        cable.broker = kafka.port
        kafka.create("activities")
        with way(tmp_path, kafka) as sent:
            publish_numbered(sent, range(1))
            kafka.read(1)
            cable.cut()
            publish_numbered(sent, range(1, count))
            said = sent.shipper.stderr
            wait_until(lambda: "internal queue is full" in said.read_text(), what="the queue is full")
            # It ends so when all that it received is acknowledged.
            assert sent.running.stop(within=2 * PATIENCE) == 0
            sent.shipper.kill()
            cable.mend()
            sent.shipper.start()
            found = kafka.read(count - QUEUE, all_of_them=False)
    assert len(set(numbers_of(found))) >= count - QUEUE
