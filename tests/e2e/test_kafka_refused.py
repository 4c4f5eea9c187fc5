"""What keeps records from Kafka: who may connect, what it takes; what a user sees of it, and what becomes of them."""

from __future__ import annotations

import contextlib
import json
import shutil
import ssl

import pytest
import trustme
import ways
from building import bare
from cable import Cable
from kafka import Kafka
from programs import started, wait_until

USERS = {("exporter", "right # ${one}")}
"""A password with what a configuration file could stumble over."""
SASL = {"KAFKA_SECURITY_PROTOCOL": "sasl_plaintext", "KAFKA_USERNAME": "exporter"}
SIGNED_IN = {
    "security.protocol": "sasl_plaintext",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "exporter",
    "sasl.password": "right # ${one}",
}
FROM_FILE = {
    "conf": ["# @SET KAFKA_PASSWORD=file:///run/secrets/kafka_password"],
    "yaml": ["# env:", "#   - name: KAFKA_PASSWORD", "#     uri: file:///run/secrets/kafka_password"],
}
"""The lines that a user uncomments."""


@contextlib.contextmanager
def way(directory, cable, *, output="kafka.conf", run=None, **environ):
    """The way to a broker at the end of this cable."""
    with cable, started(Kafka(directory, advertised=cable.port)) as kafka:
        cable.broker = kafka.port
        shipper = ways.fluent_bit(directory, output, KAFKA_BROKERS=kafka.brokers, **environ)
        with ways.way(directory, shipper, **run or {}) as sent:
            yield sent, kafka


def publish(sent, numbers):
    sent.publish([("activities", bare({"targetID": "t", "n": n}, "")) for n in numbers])


def numbers_of(messages):
    return [json.loads(message.value())["content"]["n"] for message in messages]


def wait_said(sent, text):
    wait_until(lambda: text in sent.shipper.stderr.read_text(), what=f"Fluent Bit says: {text}")


def test_a_password_from_the_environment(tmp_path):
    with way(tmp_path, Cable(users=USERS), **SASL, KAFKA_PASSWORD="right # ${one}") as (sent, kafka):
        kafka.client |= SIGNED_IN
        publish(sent, range(5))
        assert numbers_of(kafka.read(5)) == [*range(5)]


@pytest.mark.parametrize("form", ["conf", "yaml"])
def test_a_password_from_a_file(tmp_path, form):
    secret = tmp_path / "kafka_password"
    secret.write_text("right # ${one}\n")
    shutil.copytree(ways.CONF, tmp_path / "conf")
    conf = tmp_path / "conf" / "output.d" / f"kafka.{form}"
    text = conf.read_text()
    for line in FROM_FILE[form]:
        assert text.count(line) == 1
        text = text.replace(line, line.removeprefix("# "))
    conf.write_text(text.replace("/run/secrets/kafka_password", str(secret)))
    # The file wins over the environment.
    environ = {**SASL, "KAFKA_PASSWORD": "wrong", "output": f"kafka.{form}"}
    with way(tmp_path, Cable(users=USERS), **environ) as (sent, kafka):
        kafka.client |= SIGNED_IN
        publish(sent, range(5))
        assert numbers_of(kafka.read(5)) == [*range(5)]


def test_a_wrong_password_is_said_and_loses_nothing_while_fluent_bit_runs(tmp_path):
    users = set(USERS)
    with way(tmp_path, Cable(users=users), **SASL, KAFKA_PASSWORD="wrong") as (sent, kafka):
        publish(sent, range(5))
        wait_said(sent, "SASL authentication error: wrong user or password")
        users.add(("exporter", "wrong"))
        kafka.client |= SIGNED_IN
        assert numbers_of(kafka.read(5)) == [*range(5)]


def test_tls_with_a_ca_of_ones_own(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    ca = str(tmp_path / "ca.pem")
    with way(tmp_path, Cable(tls=tls), KAFKA_SECURITY_PROTOCOL="ssl", KAFKA_CA_FILE=ca) as (sent, kafka):
        kafka.client |= {"security.protocol": "ssl", "ssl.ca.location": ca}
        publish(sent, range(5))
        assert numbers_of(kafka.read(5)) == [*range(5)]


def test_a_certificate_of_a_stranger_is_said(tmp_path):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    with way(tmp_path, Cable(tls=tls), KAFKA_SECURITY_PROTOCOL="ssl") as (sent, _):
        publish(sent, range(5))
        wait_said(sent, "certificate verify failed")


def test_a_topic_that_comes_late(tmp_path):
    with way(tmp_path, Cable(creates_topics=False)) as (sent, kafka):
        publish(sent, range(5))
        # Fluent Bit counts them as delivered when librdkafka has them.
        wait_until(
            lambda: ways.metric(sent.shipper, "fluentbit_output_proc_records_total", "kafka.0") == 5,
            what="5 queued",
        )
        assert kafka.topics() == set()
        kafka.create("activities")
        assert numbers_of(kafka.read(5)) == [*range(5)]


def test_a_record_that_kafka_refuses_is_kept_with_its_neighbours(tmp_path):
    """Where somebody raised the limits of nats-fluent over those of librdkafka."""
    run = {"NATS_FLUENT_RECORD_MAX_BYTES": "2MB", "NATS_FLUENT_BATCH_MAX_BYTES": "3MB"}
    with way(tmp_path, Cable(), run=run) as (sent, _):
        payloads = [
            bare({"targetID": "t", "n": n, "a": "x" * size}, "") for n, size in enumerate([1, 1_000_000, 1])
        ]
        sent.publish([("activities", payload) for payload in payloads])
        wait_said(sent, "Message size too large")
        wait_said(sent, "quarantined rejected chunk")
        (kept,) = (tmp_path / "storage" / "rejected").iterdir()
        assert kept.stat().st_size > 1_000_000
