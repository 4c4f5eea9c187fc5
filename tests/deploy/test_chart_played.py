"""What the chart renders, run: the programs take the configuration, the environment, the files and the probes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

import containers
import fluentd
import pytest
import yaml
from building import publication
from commands import COMMAND, ENVIRON, MonitoredNats, pub
from deploy import pods
from programs import FluentBit, NatsServer, Program, accepts, find, free_port, missing, started, wait_until
from taking import publish_raw

from nats_fluent.settings import DEFAULT_TOPICS, load
from nats_fluent.topics import Match

TLS = {"tls.crt": "-", "tls.key": "-", "ca.crt": "-", "passphrase": "phrase"}
SECRETS = {
    "kafka": {"username": "exporter", "password": "from-a-file"},
    "kafka-tls": TLS,
    "nats": {"username": "exporter", "password": "from-a-file", "user.creds": "from-a-file"},
    "nats-tls": TLS,
    "elasticsearch": {"password": "from-a-file"},
    "loki": {"token": "from-a-file"},
    "aws": {"credentials": "[default]"},
    "http": {"header": "Authorization Bearer from-a-file"},
}
"""What the Secrets hold that are not of the chart."""
HANDLERS = """
from nats_fluent import on

@on("gateway")
def gateway(publication):
    return {"called": publication.object().name}
"""
BY_FLUENT_BIT = [name for name in pods.CI if not name.startswith("fluentd") and name != "existing-configmap"]


@pytest.mark.parametrize("name", BY_FLUENT_BIT)
def test_fluent_bit_takes_the_configuration(tmp_path, name):
    played = pods.Played(pods.ci(name), tmp_path, SECRETS)
    done = subprocess.run(
        [find("fluent-bit"), "-c", str(tmp_path / "config" / "fluent-bit.conf"), "--dry-run"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | played.environ("fluent-bit"),
    )
    assert "configuration test is successful" in done.stdout + done.stderr
    assert done.returncode == 0
    assert "not found" not in done.stdout + done.stderr  # what it says of a secret's file that is missing


@pytest.mark.parametrize("name", ["fluentd", "fluentd-kafka"])
def test_fluentd_takes_the_configuration(tmp_path, name):
    if name == "fluentd-kafka" and not fluentd._has_kafka(find("fluentd")):
        missing("fluent-plugin-kafka")
    played = pods.Played(pods.ci(name), tmp_path, SECRETS)
    command = pods.container(played.documents, "fluentd")
    assert command["command"] == ["fluentd"]
    args = [played.here("fluentd", arg) for arg in command["args"]]
    done = subprocess.run(
        [find("fluentd"), *args, "--dry-run"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | played.environ("fluentd"),
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", pods.CI)
def test_the_consumer_takes_the_environment_without_a_word(tmp_path, name):
    played = pods.Played(pods.ci(name), tmp_path, SECRETS)
    loaded = load(flags={}, environ=played.environ("consumer"), file=None)
    assert loaded.warnings == ()
    values = yaml.safe_load(pods.CI[name].read_text())
    assert loaded.settings.fluent.url[0].port == 24224
    assert loaded.settings.jetstream.stream == values.get("jetstream", {}).get("stream", "")


def test_values_become_settings(tmp_path):
    def settings(name):
        directory = tmp_path / name
        directory.mkdir()
        played = pods.Played(pods.ci(name), directory, SECRETS)
        return load(flags={}, environ=played.environ("consumer"), file=None).settings

    tls = settings("nats-tls")
    assert tls.nats.servers == ("tls://nats-0.example:4222", "tls://nats-1.example:4222")
    assert tls.nats.password.get() == "from-a-file"
    assert tls.nats.key_password.get() == "phrase"
    assert (tls.nats.cert_file.name, tls.nats.key_file.name, tls.nats.ca_file.name) == (
        "tls.crt",
        "tls.key",
        "ca.crt",
    )
    assert (tls.nats.name, tls.nats.queue_group, tls.nats.ping_interval) == ("exporter", "exporters", 30.0)
    assert (tls.batch.max_records, tls.batch.max_bytes, tls.batch.linger) == (1000, 2_000_000, 0.25)
    assert (tls.fluent.compress, tls.log.level, tls.log.format) == ("off", "debug", "text")
    everything = settings("everything")
    assert [file.rpartition("/")[2] for file in everything.transforms] == ["mine.py", "other.py"]
    (topic,) = everything.topics
    assert topic.exclude == Match(identity=("externalnetwork",), namespace=("/tests",))
    assert (topic.topic, topic.redact) == ("events", ("entity.metadata",))
    stream = settings("jetstream-keda")
    assert (stream.jetstream.durable, stream.jetstream.create) == ("exporter", "reconcile")
    assert stream.jetstream.filter_subjects == ("events.a", "events.b.>")
    assert stream.jetstream.max_ack_pending == 100_000
    assert (stream.nats.creds.get(), stream.nats.password) == ("from-a-file", None)
    assert [(topic.subject, topic.topic) for topic in stream.topics] == [
        ("events.a", "squall-events"),
        ("events.b.>", "events.b"),
    ]
    spool = settings("spool-persistence").spool
    assert (spool.mode, spool.max_bytes, spool.fsync) == ("overflow", 4 << 30, "on")
    assert settings("fluentd").spool.fsync == "off"
    original = settings("original")
    assert (original.nats.user, original.nats.password.get()) == ("nats-user", "nats-pass")
    assert original.nats.servers == ("nats://nats:4222",)
    assert original.nats.key_password.get() == "bootstrap-pass"
    assert original.nats.key_file.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert {topic.subject: topic.topic for topic in original.topics}["events.>"] == "squall-events"
    assert original.log.format == "stackdriver"


def test_kafka_s_password_comes_from_its_file(tmp_path):
    """librdkafka puts its client's name in front of what it says; here that is the password."""
    played = pods.Played(pods.ci("kafka-sasl"), tmp_path, SECRETS)
    file = tmp_path / "config" / "output.d" / "kafka.conf"
    file.write_text(f"{file.read_text()}    rdkafka.client.id ${{KAFKA_USERNAME}}/${{KAFKA_PASSWORD}}\n")
    shipper = shipper_of(played, tmp_path, KAFKA_BROKERS="127.0.0.1:1", KAFKA_SECURITY_PROTOCOL="plaintext")
    with started(shipper):
        wait_until(lambda: "exporter/from-a-file#producer" in shipper.stderr.read_text(), what="its name")


def shipper_of(played, directory, **environ):
    """The pod's Fluent Bit, on other ports and with its storage in the test's directory."""
    port = free_port()
    places = {
        "FORWARD_PORT": str(port),
        "HTTP_PORT": str(free_port()),
        "STORAGE_PATH": str(directory / "storage"),
    }
    env = os.environ | played.environ("fluent-bit") | places | environ
    args = [played.here("fluent-bit", arg) for arg in pods.container(played.documents, "fluent-bit")["args"]]
    assert args[0] == "-c"
    return FluentBit(directory, conf=args[1], port=port, env=env)


class GuardedNats(MonitoredNats):
    """A nats-server that lets everybody publish, and one subscribe, who has a password."""

    def __init__(self, directory):
        self.monitor = free_port()
        users = (
            "authorization: {users: [{user: exporter, password: secret},"
            ' {user: anybody, password: none, permissions: {subscribe: {deny: ">"}}}]}\nno_auth_user: anybody'
        )
        NatsServer.__init__(self, directory, f'http: "127.0.0.1:{self.monitor}"\n{users}')


@pytest.fixture
def pod(tmp_path):
    """The pod of the default values, played, with a NATS that asks for a password; its NATS, shipper and consumer."""
    nats = GuardedNats(tmp_path)
    values = {"nats": {"servers": [nats.url], "user": "exporter", "password": "secret"}}
    http = free_port()
    values |= {
        "consumer": {"http": {"host": "127.0.0.1", "port": http}},
        "podMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
        "handlers": {"mine": HANDLERS},
    }
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    played = pods.Played(pods.rendered(values), volumes)
    shipper = shipper_of(played, tmp_path)
    env = ENVIRON | played.environ("consumer")
    assert env["NATS_FLUENT_FLUENT_URL"] == "forward://127.0.0.1:24224"
    env["NATS_FLUENT_FLUENT_URL"] = f"forward://127.0.0.1:{shipper.port}"
    consumer = Program([*COMMAND, *pods.container(played.documents, "consumer")["args"]], tmp_path, env=env)
    with started(nats), started(shipper), started(consumer):
        yield played, nats, shipper, consumer


def test_the_pod_delivers(pod):
    played, nats, shipper, consumer = pod
    wait_until(lambda: nats.subscriptions() >= len(DEFAULT_TOPICS), what="it is subscribed")
    publish_raw(nats.port, pub("squall-events", publication({"ID": "1"})))
    wait_until(shipper.lines, what="a record is printed")
    assert json.loads(shipper.lines()[0])["content"]["entity"] == {"ID": "1"}
    publish_raw(nats.port, pub("squall-events", publication({"name": "quay-01"}, identity="gateway")))
    wait_until(lambda: len(shipper.lines()) > 1, what="a record of a handler is printed")
    assert json.loads(shipper.lines()[1])["called"] == "quay-01"

    for name in ("consumer", "fluent-bit"):
        wait_until(lambda name=name: set(probed(played, shipper, name).values()) == {200}, what="it is well")

    test = pods.of_kind(played.documents, "Pod")["spec"]["containers"][0]
    env = {one["name"]: played.here("consumer", one["value"]) for one in test["env"]}
    done = subprocess.run(
        [*COMMAND, *test["args"]], check=False, env=ENVIRON | env, timeout=60, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^ok +NATS", done.stdout, re.MULTILINE)

    # Whatever is away, a restart of the consumer is no cure.
    nats.stop()
    ill = dict.fromkeys(PROBES, 200) | {"readinessProbe": 503}
    wait_until(lambda: probed(played, shipper, "consumer") == ill, what="it is not ready, and lives")
    assert consumer.stop() == 0


PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def probed(played, shipper, name):
    """What the kubelet would be told, by probe."""
    container = pods.container(played.documents, name)
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    ports["fluent-http"] = shipper.env["HTTP_PORT"]
    found = {}
    for probe in PROBES:
        where = container[probe]["httpGet"]
        url = f"http://127.0.0.1:{ports[where['port']]}{where['path']}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                found[probe] = answer.status
        except urllib.error.HTTPError as error:
            found[probe] = error.code
    return found


def test_alerts_and_dashboard_ask_for_metrics_that_there_are(pod):
    played, _, shipper, consumer = pod
    endpoints = {
        one["port"]: one
        for one in pods.of_kind(played.documents, "PodMonitor")["spec"]["podMetricsEndpoints"]
    }
    assert endpoints.keys() == {
        port["name"]
        for name in ("consumer", "fluent-bit")
        for port in pods.container(played.documents, name)["ports"]
    }
    own = f"http://127.0.0.1:{consumer.env['NATS_FLUENT_HTTP_LISTEN'].rpartition(':')[2]}"
    wait_until(lambda: accepts(int(own.rpartition(":")[2])), what="the consumer listens")
    with urllib.request.urlopen(own + endpoints["metrics"]["path"], timeout=30) as answer:
        assert b"\nnats_fluent_build_info{" in answer.read()
    endpoint = endpoints["fluent-http"]
    url = f"http://127.0.0.1:{shipper.env['HTTP_PORT']}{endpoint['path']}"

    def scraped():
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                text = answer.read().decode()
        except urllib.error.URLError:
            text = ""  # it does not listen yet, or says 404 until it has collected some
        return {found[1]: found[2] or "" for found in re.finditer(r"^(\w+)(\{.*\})? ", text, re.MULTILINE)}

    (group,) = [
        one
        for one in pods.of_kind(played.documents, "PrometheusRule")["spec"]["groups"]
        if one["name"].endswith(".log-shipper")
    ]
    (dashboard,) = [one for one in played.documents if one["metadata"]["name"].endswith("-dashboard")]
    board = json.loads(dashboard["data"]["nats-fluent.json"])
    asked = [(rule["expr"], rule["annotations"]["description"]) for rule in group["rules"]]
    asked += [
        (target["expr"], target["legendFormat"])
        for panel in board["panels"]
        for target in panel.get("targets", ())
        if "fluentbit_" in target["expr"]
    ]
    assert len(asked) > 10
    wanted = {name for expression, _ in asked for name in re.findall(r"fluentbit_\w+", expression)}
    wait_until(lambda: wanted <= scraped().keys(), what=f"it has {sorted(wanted)}")
    there = scraped()
    for expression, text in asked:
        (name,) = re.findall(r"fluentbit_\w+", expression)
        # Labels that Prometheus Operator adds, and those of Fluent Bit.
        for label in re.findall(r"\.(\w+) }}|{{(\w+)}}", text):
            assert {"pod", "instance"} & set(label) or f'{"".join(label)}="' in there[name], (name, label)


def test_fluent_bit_without_native_sidecars_waits_for_the_consumer():
    documents = pods.rendered({"consumer": {"shutdownTimeoutSeconds": 0}}, kube="1.28.0")
    command = pods.container(documents, "fluent-bit")["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "/fluent-bit/bin/fluent-bit"
    assert "time_count=2" in command
    began = time.monotonic()
    subprocess.run([find("fluent-bit"), *command[1:]], check=True, timeout=60)
    assert time.monotonic() - began >= 2


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become somebody else")
def test_fluent_bit_runs_as_somebody_who_is_in_no_list_of_users(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pod")
    # pytest makes them for its own user alone.
    for each in (directory, *directory.parents):
        if each.is_relative_to(tmp_path_factory.getbasetemp().parent) or each.name.startswith("pytest-of-"):
            each.chmod(0o755)
    played = pods.Played(pods.ci("stdout"), directory)
    (directory / "storage").chmod(0o777)
    shipper = shipper_of(played, directory)
    if containers.is_container(shipper.command[0]):
        shipper.env[containers.RUN_AS] = "65532:65532"
    else:
        somebody = "os.setgroups([]); os.setgid(65532); os.setuid(65532); os.execv(sys.argv[1], sys.argv[1:])"
        shipper.command = [sys.executable, "-c", f"import os, sys; {somebody}", *shipper.command]
    with started(shipper):
        assert accepts(shipper.port)
