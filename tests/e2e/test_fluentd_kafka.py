"""The whole way to Kafka: NATS, the command, and Fluentd with its one line changed to the Kafka output."""

from __future__ import annotations

import contextlib
import json
import ssl
import zlib

import msgpack
import pytest
import trustme
import ways
from building import bare
from cable import Cable
from fluentd import Fluentd
from kafka import PARTITIONS, Kafka, assert_in_order_by_key, values_of
from programs import started, wait_until

SOON = {
    '"message.timeout.ms": 30000': '"message.timeout.ms": 2000',
    "retry_max_interval 30s": "retry_max_interval 3s",
}
"""Where a test has to wait for the end of an attempt, and for the next; what of one comes too late is sent twice."""
SOON_AND_ONCE = SOON | {'"message.timeout.ms": 30000': '"message.timeout.ms": 5000'}
"""The same where nothing may come twice: a busy machine has so long to take what an attempt sends."""
SMALL = {"chunk_limit_size 2m": "chunk_limit_size 2m\n    total_limit_size 100k"}
"""A buffer that is soon full."""
USERS = {("exporter", 'right # #{1} "one"')}
"""A password with what a configuration file could stumble over."""
SASL = {"KAFKA_SECURITY_PROTOCOL": "sasl_plaintext", "KAFKA_USERNAME": "exporter"}


@contextlib.contextmanager
def way(directory, cable=None, *args, run=None, **more):
    """The way to a broker, at the end of this cable if there is one."""
    with contextlib.ExitStack() as stack:
        kafka = Kafka(directory, advertised=cable and cable.port)
        stack.enter_context(started(kafka))
        if cable is not None:
            cable.broker = kafka.port
            stack.enter_context(cable)
        shipper = Fluentd(directory, "kafka.conf", *args, KAFKA_BROKERS=kafka.brokers, **more)
        yield stack.enter_context(ways.way(directory, shipper, **run or {})), kafka


def publish(sent, numbers, *, topic="activities", keys=7):
    """Objects about a few targets, told apart by a number."""
    sent.publish([(topic, bare({"targetID": f"{n % keys}", "n": n}, "")) for n in numbers])


def numbers_of(messages):
    return [json.loads(message.value())["content"]["n"] for message in messages]


def wait_said(sent, text):
    wait_until(lambda: text in sent.shipper.said(), what=f"Fluentd says: {text}")


def wait_attempt_ends(sent):
    """Until what Fluentd tries just now has failed, so that the next attempt is a few seconds away."""
    failed = "failed to flush the buffer"
    before = sent.shipper.said().count(failed)
    wait_until(lambda: sent.shipper.said().count(failed) > before, what=f"Fluentd says again: {failed}")


def wait_held(sent, count):
    """Until all of them are in Fluentd's buffer."""
    wait_until(lambda: sent.shipper.state("kafka")["emit_records"] == count, what=f"{count} in the buffer")


def test_recorded_traffic_is_in_the_kafka_topic_of_each_topic(tmp_path):
    messages = ways.corpus("mixed-2021-json")
    with way(tmp_path) as (sent, kafka):
        kafka.create(*{subject for subject, _ in messages})
        sent.publish(messages)
        found = kafka.read(len(messages))
        sent.finish(len(messages))
    ways.assert_whole_and_once(tmp_path, values_of(found), messages)
    assert all(message.topic() == json.loads(message.value())["topic"] for message in found)
    assert_in_order_by_key(found)
    # As librdkafka does for Fluent Bit.
    assert all(message.partition() == zlib.crc32(message.key()) % PARTITIONS for message in found)


def test_one_kafka_topic_for_all(tmp_path):
    with way(tmp_path, KAFKA_TOPIC="all-of-it") as (sent, kafka):
        publish(sent, range(5))
        publish(sent, range(5, 10), topic="external-flowreports")
        found = kafka.read(10)
    assert {message.topic() for message in found} == {"all-of-it"}
    assert {record["topic"] for record in values_of(found)} == {"activities", "external-flowreports"}


def test_nothing_is_lost_or_doubled_while_kafka_is_away(tmp_path):
    """So long that Fluentd gives up an attempt: what it held then is not sent besides the next."""
    with way(tmp_path, cable := Cable(), changes=SOON_AND_ONCE) as (sent, kafka):
        kafka.create("activities")
        publish(sent, range(500))
        kafka.read(500)
        wait_until(lambda: not sent.shipper.state("kafka")["buffer_total_queued_size"], what="Fluentd knows")
        cable.cut()
        publish(sent, range(500, 3000))
        wait_attempt_ends(sent)
        publish(sent, range(3000, 3500))
        assert sent.shipper.state("kafka")["buffer_total_queued_size"] > 0
        cable.mend()
        found = kafka.read(3500)
        sent.finish(3500)
    assert sorted(numbers_of(found)) == list(range(3500))
    assert_in_order_by_key(found)


def test_what_fluentd_holds_goes_out_when_it_stops(tmp_path):
    with way(tmp_path) as (sent, kafka):
        kafka.create("activities")
        publish(sent, range(1000))
        wait_held(sent, 1000)
        sent.finish(1000)
        assert sorted(numbers_of(kafka.read(1000))) == list(range(1000))
    assert not list(sent.shipper.storage.rglob("buffer.*"))


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_fluentd_that_ends_while_kafka_is_away_loses_nothing(tmp_path, how):
    # Without its supervisor, so that the signal goes to the process that holds the records.
    with way(tmp_path, cable := Cable(), "--no-supervisor", changes=SOON) as (sent, kafka):
        kafka.create("activities")
        cable.cut()
        publish(sent, range(1000))
        wait_held(sent, 1000)
        getattr(sent.shipper, how)()
        cable.mend()
        publish(sent, range(1000, 1200))
        sent.shipper.start()
        found = kafka.read(1200, all_of_them=False)
        sent.finish(1200)
    assert set(numbers_of(found)) == set(range(1200))
    assert_in_order_by_key(found)


def test_a_full_buffer_is_no_loss(tmp_path):
    """Fluentd acknowledges nothing that it has no room for, so the consumer keeps it."""
    with way(tmp_path, cable := Cable(), changes=SOON | SMALL) as (sent, kafka):
        kafka.create("activities")
        cable.cut()
        publish(sent, range(5000))
        wait_said(sent, "failed to write data into buffer by buffer overflow")
        cable.mend()
        found = kafka.read(5000, all_of_them=False)
        sent.finish(5000)
    assert set(numbers_of(found)) == set(range(5000))
    assert_in_order_by_key(found)


def test_a_wrong_password_is_said_and_loses_nothing(tmp_path):
    users = set(USERS)
    with way(tmp_path, Cable(users=users), **SASL, KAFKA_PASSWORD="wr0ng") as (sent, kafka):
        publish(sent, range(5))
        wait_said(sent, "SASL authentication error: wrong user or password")
        users.add(("exporter", "wr0ng"))
        kafka.client |= signed_in("wr0ng")
        assert sorted(numbers_of(kafka.read(5))) == [*range(5)]
        assert "wr0ng" not in sent.shipper.said()


def test_a_password_from_a_file_over_tls_with_a_ca_of_ones_own(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(ca := str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    ((_, password),) = USERS
    secret = tmp_path / "password"
    secret.write_text(f"{password}\n")
    environ = SASL | {
        "KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
        "KAFKA_CA_FILE": ca,
        "KAFKA_PASSWORD_FILE": str(secret),
        "KAFKA_PASSWORD": "the file wins over this",
    }
    with way(tmp_path, Cable(tls=tls, users=USERS), **environ) as (sent, kafka):
        kafka.client |= signed_in(password) | {"security.protocol": "sasl_ssl", "ssl.ca.location": ca}
        publish(sent, range(5))
        assert sorted(numbers_of(kafka.read(5))) == [*range(5)]
        assert password not in sent.shipper.said()


def signed_in(password):
    """How librdkafka, with which the test reads, signs in."""
    user = {"sasl.username": "exporter", "sasl.password": password}
    return user | {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN"}


def test_a_certificate_of_a_stranger_is_said(tmp_path):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    with way(tmp_path, Cable(tls=tls), changes=SOON, KAFKA_SECURITY_PROTOCOL="ssl") as (sent, _):
        publish(sent, range(5))
        wait_said(sent, "certificate verify failed")


def test_a_topic_that_comes_late_holds_back_the_others(tmp_path):
    """What fails is tried again before all others: that keeps the order."""
    with way(tmp_path, Cable(creates_topics=False), changes=SOON_AND_ONCE) as (sent, kafka):
        kafka.create("external-flowreports")
        publish(sent, range(5))
        wait_held(sent, 5)
        publish(sent, range(5, 10), topic="external-flowreports")
        wait_held(sent, 10)
        wait_until(lambda: sent.shipper.state("kafka")["buffer_queue_length"] == 2, what="both wait")
        wait_attempt_ends(sent)
        assert kafka.topics() == {"external-flowreports"}
        kafka.create("activities")
        assert sorted(numbers_of(kafka.read(10))) == [*range(10)]


def test_a_record_that_kafka_refuses_is_kept_with_its_neighbours(tmp_path):
    """Where somebody raised the limits of nats-fluent over those of librdkafka."""
    run = {"NATS_FLUENT_RECORD_MAX_BYTES": "2MB", "NATS_FLUENT_BATCH_MAX_BYTES": "3MB"}
    with way(tmp_path, run=run) as (sent, kafka):
        payloads = [
            bare({"targetID": "t", "n": n, "a": "x" * size}, "") for n, size in enumerate([1, 1_000_000, 1])
        ]
        sent.publish([("activities", payload) for payload in payloads])
        wait_said(sent, "bad chunk is moved to")

        def kept():
            """Fluentd says so before it has made the file, and written it."""
            unpacker = msgpack.Unpacker()
            for file in (sent.shipper.storage / "backup").rglob("*.log"):
                unpacker.feed(file.read_bytes())
            return [record["content"]["n"] for _, record in unpacker]

        wait_until(lambda: kept() == [0, 1, 2], what="the chunk is put aside whole")
        publish(sent, [3])
        wait_until(lambda: 3 in numbers_of(kafka.read(1, all_of_them=False)), what="the next one is sent")
