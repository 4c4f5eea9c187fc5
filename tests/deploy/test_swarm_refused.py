"""Values of the stack that cannot work: a sentence from Helm, and not a service that does not start."""

from __future__ import annotations

from pathlib import Path

import helm
import pytest

CHART = Path(__file__).parents[2] / "swarm" / "swarm-aporeto-kafka-exporter"
KEY = {"forward": {"sharedKey": "sesame"}}
KAFKA = {"output": "kafka", "kafka": {"brokers": ["kafka:9092"]}}


def with_nats(**nats):
    return KEY | {"nats": nats}


def with_kafka(**kafka):
    return KEY | KAFKA | {"kafka": KAFKA["kafka"] | kafka}


SENTENCES = [
    ({}, "forward.sharedKey is needed"),
    (with_nats(user="u"), "a user for NATS is given, and no password: set nats.password"),
    (with_nats(password="p"), "a password for NATS is given, and no user: set nats.user"),
    (KEY | {"global": {"accounts": {"nats": {"user": "u"}}}}, "a user for NATS is given, and no password"),
    (with_nats(tls={"cert": "c"}), "of the client certificate for NATS and its key, only one is given"),
    (KEY | {"existingSecrets": {"natsKey": "k"}}, "of the client certificate for NATS and its key, only one"),
    (with_nats(tls={"keyPassword": "p"}), "is given, and no key that it opens"),
    (
        with_nats(user="u", password="p") | {"existingSecrets": {"natsPassword": "s"}},
        "nats.password (or global.accounts.nats.pass) and existingSecrets.natsPassword are both given",
    ),
    (
        KEY | {"existingSecrets": {"natsToken": "t", "natsCreds": "c"}},
        "for NATS, existingSecrets.natsCreds and existingSecrets.natsToken are each a way to sign in",
    ),
    (
        with_nats(user="u", password="p") | {"existingSecrets": {"natsNkey": "s"}},
        "for NATS, existingSecrets.natsNkey and a password are each a way to sign in",
    ),
    (
        KEY | {"existingSecrets": {"forwardSharedKey": "s"}},
        "forward.sharedKey and existingSecrets.forwardSharedKey are both given",
    ),
    (KEY | {"replicas": 2, "spool": {"mode": "always"}}, "spool.mode: always needs replicas: 1"),
    (KEY | {"output": "kafka"}, "output: kafka needs kafka.brokers"),
    (KEY | {"output": "kafka-single-topic"}, "output: kafka-single-topic needs kafka.brokers"),
    (with_kafka(securityProtocol="sasl_ssl", username="u"), "needs kafka.username, and kafka.password"),
    (with_kafka(securityProtocol="sasl_ssl", password="p"), "needs kafka.username, and kafka.password"),
    (with_kafka(password="p", existingSecret="s"), "kafka.password and kafka.existingSecret are both given"),
    (
        with_kafka(password="p") | {"outputSecrets": {"KAFKA_PASSWORD": {"value": "q"}}},
        "outputSecrets.KAFKA_PASSWORD are both given",
    ),
    (KEY | {"outputSecrets": {"TOKEN": {}}}, "outputSecrets.TOKEN needs a value or existingSecret"),
    (
        KEY | {"outputSecrets": {"TOKEN": {"value": "v", "existingSecret": "s"}}},
        "of outputSecrets.TOKEN, a value and existingSecret are both given",
    ),
    *[
        (KEY | {"output": output}, f"output: {output} needs {name} in outputEnv")
        for output, name in {
            "elasticsearch": "ELASTICSEARCH_HOST",
            "opensearch": "OPENSEARCH_HOST",
            "loki": "LOKI_HOST",
            "s3": "S3_BUCKET",
            "http": "HTTP_OUTPUT_HOST",
            "file": "FILE_PATH",
        }.items()
    ],
    (KEY | {"output": "custom"}, "output: custom needs customOutput"),
    (KEY | {"customOutput": "[OUTPUT]"}, "customOutput is given, and output is stdout"),
]

SCHEMA = [
    ({"replica": 3}, "replica"),
    ({"replicas": "3"}, "replicas"),
    ({"output": "kafak"}, "output"),
    ({"kafka": {"broker": "k"}}, "broker"),
    ({"spool": {"mode": "on"}}, "spool.mode"),
    ({"log": {"level": "loud"}}, "log.level"),
    ({"outputEnv": {"lower": "x"}}, "lower"),
    ({"image": {"digest": "latest"}}, "image.digest"),
]


@pytest.mark.parametrize(("values", "sentence"), SENTENCES)
def test_what_lacks_or_contradicts_is_refused(values, sentence):
    with pytest.raises(helm.HelmError) as raised:
        helm.find().render(CHART, values)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(("values", "where"), SCHEMA)
def test_what_is_not_a_value_is_refused(values, where):
    with pytest.raises(helm.HelmError) as raised:
        helm.find().render(CHART, KEY | values)
    assert where in str(raised.value).replace("/", ".")  # Helm 4 writes /log/level, Helm 3 log.level
