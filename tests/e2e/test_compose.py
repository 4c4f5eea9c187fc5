"""docker-compose.yml as `docker compose` reads it: for each profile what runs, with which files, for whom to reach."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path, PurePosixPath
from string import Template
from urllib.parse import urlsplit

import pytest
from commands import ENVIRON, MonitoredNats, Running
from compose import compose
from containers import IMAGES
from programs import PATIENCE, started, wait_until

from nats_fluent import healthcheck
from nats_fluent.samples import KINDS
from nats_fluent.sections import ShutdownSettings

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
BESIDE = {"nats", "nats-fluent"}
PROFILES = {
    "": BESIDE | {"fluent-bit"},
    "stdout": BESIDE | {"fluent-bit"},
    "kafka": BESIDE | {"fluent-bit-kafka", "kafka"},
    "fluentd": BESIDE | {"fluentd"},
}
"""The services of each, the empty name being no --profile at all."""
SHIPPERS = {"": "fluent-bit", "stdout": "fluent-bit", "kafka": "fluent-bit-kafka", "fluentd": "fluentd"}
OUTPUTS = {"": "stdout.conf", "stdout": "stdout.conf", "kafka": "kafka.conf"}
"""Where Fluent Bit is the log shipper: the file of conf/output.d that is in force."""
WITHOUT_HEALTH_CHECK = {
    "fluent-bit": "its image holds nothing but Fluent Bit",
    "fluent-bit-kafka": "as fluent-bit",
    "samples": "it publishes and ends",
}
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*")


@functools.cache
def services(profile: str = "") -> dict[str, dict]:
    """The services by name, as they are once all defaults, merges and profiles are applied."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    chosen = ["--profile", profile] if profile else []
    done = subprocess.run(
        [*compose(), "--file", str(ROOT / "docker-compose.yml"), *chosen, "config", "--format", "json"],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=own,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["services"]


def everything():
    """The services of all profiles, which newer releases refuse to show at once, and rightly: see the names."""
    return {name: one for profile in (*PROFILES, "samples") for name, one in services(profile).items()}


def shipper(profile):
    return services(profile)[SHIPPERS[profile]]


def mounted(service, path):
    """What of this machine the service finds at that path."""
    path = PurePosixPath(path)
    binds = [volume for volume in service["volumes"] if volume["type"] == "bind"]
    at = {PurePosixPath(bind["target"]): Path(bind["source"]) for bind in binds}
    nearest = max(
        (target for target in at if path.is_relative_to(target)), key=lambda target: len(target.parts)
    )
    return at[nearest] / path.relative_to(nearest)


def seconds(duration):
    units = {"h": "hours", "m": "minutes", "s": "seconds"}
    parts = re.findall(r"(\d+)([hms])", duration)
    assert "".join(number + unit for number, unit in parts) == duration
    return timedelta(**{units[unit]: int(number) for number, unit in parts}).total_seconds()


def values(conf):
    """The values of a Fluent Bit configuration; of names given twice the last."""
    return dict(re.findall(r"^\s+([\w.]+)\s+(\S.*)$", conf.read_text(), re.MULTILINE))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_its_services(profile):
    assert services(profile).keys() == PROFILES[profile]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_consumer_sends_to_the_log_shipper_of_the_profile(profile):
    url = urlsplit(services(profile)["nats-fluent"]["environment"]["NATS_FLUENT_FLUENT_URL"])
    assert (url.scheme, url.port) == ("forward", 24224)
    assert shipper(profile)["container_name"] == url.hostname
    assert shipper(profile)["environment"]["FORWARD_LISTEN"] == "0.0.0.0"


def test_two_log_shippers_cannot_run_at_a_time():
    """Docker gives a name to one container only."""
    names = Counter(one["container_name"] for one in everything().values() if "container_name" in one)
    assert list(names.values()) == [len(set(SHIPPERS.values()))]


@pytest.mark.parametrize("profile", OUTPUTS)
def test_the_output_is_mounted_where_fluent_bit_includes_it(profile):
    service = shipper(profile)
    etc = PurePosixPath("/fluent-bit/etc")
    assert service["command"] is None  # the image's own: -c /fluent-bit/etc/fluent-bit.conf
    main = mounted(service, etc / "fluent-bit.conf")
    assert main == CONF / "fluent-bit.conf"
    (include,) = re.findall(r"^@INCLUDE (\S+)$", main.read_text(), re.MULTILINE)
    assert mounted(service, etc / include) == CONF / "output.d" / OUTPUTS[profile]


@pytest.mark.parametrize("profile", OUTPUTS)
def test_what_fluent_bit_has_not_sent_is_in_a_volume(profile):
    (default,) = re.findall(r"\${STORAGE_PATH:-(\S+)}", values(CONF / "fluent-bit.conf")["storage.path"])
    volumes = {volume["target"]: volume["type"] for volume in shipper(profile)["volumes"]}
    assert volumes[default] == "volume"


def test_fluentd_gets_its_configuration_and_a_volume():
    service = shipper("fluentd")
    (name,) = re.findall(r"^ENV FLUENTD_CONF=(\S+)$", IMAGES["fluentd"].dockerfile.read_text(), re.MULTILINE)
    conf = mounted(service, f"/fluentd/etc/{name}")
    assert conf == CONF / "fluentd.conf"
    (default,) = re.findall(r"ENV\['STORAGE_PATH'\] \|\| '([^']+)'", conf.read_text())
    volumes = {volume["target"]: volume["type"] for volume in service["volumes"]}
    assert volumes[default] == "volume"


def test_fluent_bit_is_told_of_the_broker_that_is_started_with_it():
    host, _, port = shipper("kafka")["environment"]["KAFKA_BROKERS"].partition(":")
    advertised = services("kafka")[host]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert advertised == f"PLAINTEXT://{host}:{port}"


def test_every_file_that_is_mounted_is_there_and_stays_as_it_is():
    binds = [
        bind for one in everything().values() for bind in one.get("volumes", ()) if bind["type"] == "bind"
    ]
    assert {bind["source"] for bind in binds} == {str(CONF), str(CONF / "output.d" / "kafka.conf")}
    assert all(bind["read_only"] for bind in binds)
    assert all(Path(bind["source"]).exists() for bind in binds)


def test_every_image_is_pinned():
    images = {name: one["image"] for name, one in everything().items() if "build" not in one}
    assert all(PINNED.fullmatch(image) for image in images.values()), images
    assert images["nats"] == IMAGES["nats-server"].tag
    assert images["fluent-bit"] == images["fluent-bit-kafka"] == IMAGES["fluent-bit"].tag


def test_every_image_that_is_built_is_built_on_a_pinned_one():
    built = {
        one["build"]["context"] + "/" + one["build"]["dockerfile"]
        for one in everything().values()
        if "build" in one
    }
    assert built == {str(ROOT / "Dockerfile"), str(IMAGES["fluentd"].dockerfile)}
    for path in built:
        text = Path(path).read_text()
        arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
        bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
        filled = [Template(base).substitute(arguments) for base in bases]
        assert filled
        assert all(PINNED.fullmatch(base) for base in filled), filled


def test_every_service_has_a_health_check_or_a_reason():
    without = {name for name, one in everything().items() if "healthcheck" not in one}
    assert without == WITHOUT_HEALTH_CHECK.keys()
    awaited = {
        name
        for one in everything().values()
        for name, how in one.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    }
    assert awaited
    assert not awaited & without


def test_ports_are_for_this_machine_alone():
    ports = {
        (port["host_ip"], port["target"]) for one in everything().values() for port in one.get("ports", ())
    }
    assert ports == {("127.0.0.1", port) for port in (4222, 9464, 2020, 24220)}


def test_every_service_has_the_time_that_it_takes_to_stop():
    stop = {
        name: seconds(one["stop_grace_period"])
        for name, one in everything().items()
        if "stop_grace_period" in one
    }
    grace = int(values(CONF / "fluent-bit.conf")["Grace"])
    assert stop["nats-fluent"] > ShutdownSettings().timeout
    # The Kafka output waits as long once more for what its client has queued.
    assert stop["fluent-bit"] == stop["fluent-bit-kafka"] > 2 * grace


@pytest.mark.parametrize("profile", PROFILES)
def test_the_consumer_stops_before_what_it_talks_to(profile):
    """Compose stops in the reverse of the order in which it starts."""
    assert services(profile)["nats-fluent"]["depends_on"].keys() >= {"nats", SHIPPERS[profile]}


def test_the_consumer_is_healthy_once_it_was_ready_and_not_ill_before():
    """Whatever it waits for: tests/integration/test_healthcheck.py has what the check asks."""
    consumer = services()["nats-fluent"]
    check = consumer["healthcheck"]
    assert check["test"] == ["CMD", "python", "-m", "nats_fluent.healthcheck", "/healthz"]
    assert seconds(check["timeout"]) > healthcheck.WITHIN
    assert seconds(check["start_period"]) > timedelta(days=300).total_seconds()
    port = consumer["environment"][healthcheck.LISTEN].rpartition(":")[2]
    assert [str(one["target"]) for one in consumer["ports"]] == [port]


def test_the_samples_are_one_publication_of_each_kind(tmp_path):
    service = everything()["samples"]
    assert service["entrypoint"] == ["python", "-c"]
    (program,) = service["command"]
    with started(MonitoredNats(tmp_path)) as nats, started(Running(tmp_path, nats)) as running:
        running.wait_subscribed()
        url = services()["nats-fluent"]["environment"]["NATS_FLUENT_NATS_SERVERS"]
        assert program.count(url) == 1
        here = [sys.executable, "-P", "-c", program.replace(url, nats.url)]
        subprocess.run(here, check=True, timeout=PATIENCE, env=ENVIRON)
        wait_until(lambda: len(running.records()) >= len(KINDS), what="the records are printed")
        assert running.stop() == 0
        assert Counter(record["topic"] for record in running.records()) == Counter(
            topic for topic, _, _ in KINDS.values()
        )
