"""What `nats-fluent init` writes: it starts as it is and delivers, and docker compose takes it."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from commands import COMMAND, ENVIRON, MonitoredNats, Running
from compose import compose
from programs import PATIENCE, FluentBit, free_port, started, wait_until
from taking import publish_raw

from nats_fluent.samples import KINDS, sample


def init(directory, *args):
    done = subprocess.run(
        [*COMMAND, "init", str(directory), *args],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
        env=ENVIRON,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_starts_as_it_is_and_delivers(tmp_path):
    out = tmp_path / "out"
    with started(MonitoredNats(tmp_path)) as nats:
        init(out, "--servers", nats.url)
        port = free_port()
        places = {"FORWARD_PORT": port, "HTTP_PORT": free_port(), "STORAGE_PATH": tmp_path / "storage"}
        env = os.environ | {name: str(value) for name, value in places.items()}
        shipper = FluentBit(tmp_path, conf=out / "conf" / "fluent-bit.conf", port=port, env=env)
        # The port alone is another one: others may use 24224 on this machine.
        url = {"NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{port}"}
        conf = ("--config", str(out / "nats-fluent.toml"))
        with started(shipper), started(Running(tmp_path, nats, *conf, **url)) as running:
            running.wait_subscribed()
            samples = [sample(number, 1_700_000_000_000_000_000) for number in range(len(KINDS))]
            publish_raw(
                nats.port,
                *(
                    b"PUB %s %d\r\n%s\r\n" % (one.topic.encode(), len(one.payload), one.payload)
                    for one in samples
                ),
            )
            wait_until(
                lambda: len(shipper.lines()) == len(samples),
                what="the records",
            )
        records = [json.loads(line) for line in shipper.lines()]
        assert sorted(record["topic"] for record in records) == sorted(one.topic for one in samples)


@pytest.mark.parametrize(
    ("args", "services"),
    [
        (("--stream", "A$"), {"nats", "stream", "nats-fluent", "fluent-bit"}),
        (
            ("--servers", "127.0.0.1", "--fluentd", "--output", "kafka", "--set", "KAFKA_BROKERS=$a b"),
            {"nats-fluent", "fluentd"},
        ),
    ],
)
def test_docker_compose_takes_it(tmp_path, args, services):
    init(tmp_path / "out", *args)
    own = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    done = subprocess.run(
        [*compose(), "config", "--format", "json"],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=own,
        cwd=tmp_path / "out",
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)["services"]
    assert found.keys() == services
    if "stream" in services:
        assert 'name="A$"' in found["stream"]["command"][0].replace("$$", "$")
    if "fluentd" in services:
        assert found["fluentd"]["environment"]["KAFKA_BROKERS"].replace("$$", "$") == "$a b"
