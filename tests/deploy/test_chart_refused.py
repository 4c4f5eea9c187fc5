"""What cannot work is refused before anything is installed, with a sentence that says what to do."""

from __future__ import annotations

import helm
import pytest
import yaml
from deploy import pods

KAFKA = {"output": "kafka", "kafka": {"brokers": ["k:9092"]}}
PEM = "-----BEGIN CERTIFICATE-----\nY2E=\n-----END CERTIFICATE-----\n"


def kafka(**more):
    return KAFKA | {"kafka": KAFKA["kafka"] | more}


def refusal(values, **how):
    with pytest.raises(helm.HelmError) as raised:
        pods.rendered(values, **how)
    return str(raised.value)


SENTENCES = [
    ({"output": "kafka"}, "output kafka needs kafka.brokers: a list of host:port."),
    (kafka(username="u", password="p"), "kafka.securityProtocol plaintext does not use; give sasl_ssl"),
    (
        kafka(securityProtocol="sasl_ssl"),
        "sasl_ssl needs kafka.username, and kafka.password or kafka.existingSecret.",
    ),
    (kafka(securityProtocol="sasl_ssl", username="u"), "sasl_ssl needs kafka.username, and kafka.password"),
    (
        kafka(password="p", existingSecret="s"),
        "kafka.password and kafka.existingSecret are both given; give one.",
    ),
    (
        kafka(username="u", usernameKey="k", existingSecret="s"),
        "kafka.username and kafka.usernameKey are both given; give one.",
    ),
    (
        kafka(tls={"ca": PEM}),
        "kafka.tls is given, and kafka.securityProtocol plaintext would send everything in the clear",
    ),
    (
        kafka(securityProtocol="ssl", tls={"ca": PEM, "existingSecret": "s"}),
        "kafka.tls.ca and kafka.tls.existingSecret are both given; give one.",
    ),
    (
        kafka(securityProtocol="ssl", tls={"cert": PEM}),
        "kafka.tls.cert and kafka.tls.key (or certKey and keyKey): one is",
    ),
    (
        kafka(securityProtocol="ssl", tls={"ca": "ca.pem"}),
        "kafka.tls.ca is neither PEM (-----BEGIN ...) nor base64 of it.",
    ),
    (
        KAFKA | {"flavor": "fluentd"},
        "the image fluent/fluentd has no Kafka output; make one of conf/Dockerfile.fluentd",
    ),
    (
        {"nats": {"user": "u"}},
        "nats.user and nats.password (or nats.existingSecret; or global.accounts.nats.user and pass)",
    ),
    ({"nats": {"password": "p"}}, "one is there without the other; give both or neither."),
    (
        {"global": {"accounts": {"nats": {"user": "u"}}}},
        "one is there without the other; give both or neither.",
    ),
    (
        {"nats": {"user": "u", "password": "p", "existingSecret": "s"}},
        "nats.password and nats.existingSecret are both given; give one.",
    ),
    (
        {"nats": {"user": "u", "usernameKey": "k", "existingSecret": "s"}},
        "nats.user and nats.usernameKey are both given",
    ),
    ({"nats": {"tokenKey": "token"}}, "nats.tokenKey names a key of a Secret; give nats.existingSecret."),
    (
        {"nats": {"user": "u", "existingSecret": "s", "nkeyKey": "seed"}},
        "nats.user and nats.nkeyKey are each a way to sign in, and the server takes one; give one of them.",
    ),
    (
        {"nats": {"existingSecret": "s", "tokenKey": "token", "credsKey": "creds"}},
        "nats.tokenKey and nats.credsKey are each a way to sign in",
    ),
    (
        {"nats": {"tls": {"ca": PEM, "key": PEM, "existingSecret": "s"}}},
        "nats.tls.ca, nats.tls.key and nats.tls.existingSecret",
    ),
    (
        {"nats": {"tls": {"cert": PEM}}},
        "nats.tls.cert and nats.tls.key (or certKey and keyKey): one is there without",
    ),
    (
        {"nats": {"tls": {"existingSecret": "s", "certKey": "tls.crt"}}},
        "nats.tls.cert and nats.tls.key (or certKey",
    ),
    (
        {"nats": {"tls": {"keyPassword": "p"}}},
        "nats.tls.keyPassword is a passphrase without a key; give nats.tls.key.",
    ),
    (
        {"global": {"certs": {"ca": {"system": {"chain": "ca-system-chain"}}}}},
        "global.certs.ca.system.chain is neither PEM (-----BEGIN ...) nor base64 of it.",
    ),
    ({"output": "custom"}, "output custom needs customOutput or existingConfigMap, and not both."),
    (
        {"output": "custom", "customOutput": "x", "existingConfigMap": "y"},
        "output custom needs customOutput or existingConfigMap, and not both.",
    ),
    (
        {"customOutput": "x"},
        "customOutput and existingConfigMap are for output custom, and output is stdout.",
    ),
    (
        {"flavor": "fluentd", "output": "loki"},
        "Fluentd has no output loki in this chart; take flavor fluent-bit, or output",
    ),
    ({"output": "s3"}, "output s3 needs outputEnv.S3_BUCKET."),
    ({"output": "file"}, "output file needs a volume to write to: extraVolumes, fluent.extraVolumeMounts"),
    (
        {"outputSecret": {"variables": {"A": "a"}}},
        "outputSecret.variables names keys of a Secret; give outputSecret.existing",
    ),
    (
        {"flavor": "fluentd", "outputSecret": {"existingSecret": "s", "variables": {"A": "a"}}},
        "outputSecret.variables is for Fluent Bit",
    ),
    (
        {"outputEnv": {"A": "a"}, "outputSecret": {"existingSecret": "s", "variables": {"A": "a"}}},
        "outputEnv.A and outputSecret.variables.A are both given; give one.",
    ),
    (
        {"topics": ["a"], "topic": {"events": "b"}},
        "topics and topic.events are both given; give topics alone",
    ),
    ({"spool": {"mode": "always"}, "jetstream": {"stream": "S"}}, 'set spool.mode to "off".'),
    (
        {"persistence": {"existingClaim": "c"}},
        "persistence.existingClaim is given, and persistence.enabled is false.",
    ),
    (
        {"persistence": {"enabled": True, "existingClaim": "c"}, "replicaCount": 2},
        "persistence.existingClaim is one volume, which two log shippers must never share",
    ),
    (
        {"persistence": {"enabled": True, "existingClaim": "c"}, "autoscaling": {"enabled": True}},
        "persistence.existingClaim is one volume, which two log shippers must never share",
    ),
    (
        {"autoscaling": {"enabled": True}, "keda": {"enabled": True}},
        "autoscaling.enabled and keda.enabled are both given",
    ),
    (
        {"keda": {"enabled": True}},
        "keda.enabled needs jetstream.stream: core NATS knows no lag; take autoscaling.enabled.",
    ),
    ({"keda": {"enabled": True}, "jetstream": {"stream": "S"}}, "keda.enabled needs keda.monitoringEndpoint"),
    (
        {"podDisruptionBudget": {"enabled": True, "maxUnavailable": ""}},
        "podDisruptionBudget needs minAvailable or max",
    ),
    (
        {"output": "loki", "networkPolicy": {"enabled": True}},
        "networkPolicy.enabled would keep records from output loki",
    ),
]


@pytest.mark.parametrize(("values", "sentence"), SENTENCES, ids=[sentence[:50] for _, sentence in SENTENCES])
def test_what_cannot_work_is_refused_with_a_sentence(values, sentence):
    assert sentence in refusal(values)


def test_all_that_is_wrong_is_said_at_once():
    said = refusal({"output": "kafka", "nats": {"user": "u"}, "keda": {"enabled": True}})
    for part in ("kafka.brokers", "nats.password", "jetstream.stream", "monitoringEndpoint"):
        assert part in said


def test_a_native_sidecar_needs_a_cluster_that_has_them():
    said = refusal({"fluent": {"nativeSidecar": True}}, kube="1.28.3")
    assert "fluent.nativeSidecar true needs Kubernetes 1.29, and this is v1.28.3; take auto." in said


WRONG = [
    ({"outptu": "kafka"}, "outptu"),
    ({"kafka": {"broker": ["k:9092"]}}, "broker"),
    ({"output": "kafak"}, "output"),
    ({"flavor": "vector"}, "flavor"),
    ({"replicaCount": "two"}, "replicaCount"),
    ({"kafka": {"brokers": ["kafka"]}}, "brokers"),
    ({"kafka": {"securityProtocol": "SASL_SSL"}}, "securityProtocol"),
    ({"nats": {"servers": ["nats:4222"]}}, "servers"),
    ({"nats": {"servers": []}}, "servers"),
    ({"jetstream": {"stream": "a.b"}}, "stream"),
    ({"settings": {"batch": {"max_recors": 1}}}, "max_recors"),
    ({"settings": {"nats": {"password": "p"}}}, "password"),
    ({"settings": {"fluent": {"url": "stdout:"}}}, "url"),
    ({"settings": {"fluent": {"mode": "json"}}}, "mode"),
    ({"consumer": {"image": {"digest": "sha256:1"}}}, "digest"),
    ({"fluentBit": {"image": {"pullPolicy": "Sometimes"}}}, "pullPolicy"),
    ({"persistence": {"enabled": "yes please"}}, "enabled"),
    ({"spool": {"mode": "sometimes"}}, "mode"),
]


@pytest.mark.parametrize(("values", "name"), WRONG, ids=[str(values) for values, _ in WRONG])
def test_the_schema_names_what_it_does_not_know(values, name):
    said = refusal(values)
    assert "schema" in said
    assert name in said


def test_what_else_the_platform_has_in_global_is_let_pass():
    values = yaml.safe_load(pods.CI["original"].read_text())
    assert values["global"]["externalEventsEnabled"]
    assert pods.rendered(values)
