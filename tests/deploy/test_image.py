"""The image as it is built, with a real nats-server beside it."""

from __future__ import annotations

import json
import socket

import pytest
from commands import MonitoredNats, pub
from engine import base, engine, image, running
from programs import free_port, started, wait_until

from nats_fluent import __version__, healthcheck
from nats_fluent.samples import KINDS, sample

HARDENED = {
    "network_mode": "host",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}
# Whatever would start a shell finds a device that cannot be run.
NO_SHELL = {"volumes": ["/dev/null:/bin/sh", "/dev/null:/bin/dash", "/dev/null:/bin/bash"]}


SLOW = 90.0
"""Seconds for a container to start and to do what it is to do."""
SECOND = 1_000_000_000
"""In nanoseconds, as the engine counts."""


def environment(nats):
    # The image's own port is one for all containers on the network of this machine.
    return {
        "NATS_FLUENT_NATS_SERVERS": nats.url,
        "NATS_FLUENT_LOG_FORMAT": "json",
        "NATS_FLUENT_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
    }


def publish(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client, client.makefile("rb") as answers:
        assert answers.readline().startswith(b"INFO")
        client.sendall(b'CONNECT {"verbose":false}\r\n')
        for number in range(len(KINDS)):
            one = sample(number, 1_700_000_000_000_000_000)
            client.sendall(pub(one.topic, one.payload))
        client.sendall(b"PING\r\n")
        assert answers.readline() == b"PONG\r\n"


def printed(container):
    return [json.loads(line) for line in container.logs(stdout=True, stderr=False).splitlines()]


def said(container):
    return [json.loads(line) for line in container.logs(stdout=False, stderr=True).splitlines()]


def test_it_prints_records_and_drains_without_a_shell_or_a_file_to_write(tmp_path):
    with (
        started(MonitoredNats(tmp_path)) as nats,
        running(image(), environment=environment(nats), init=True, **HARDENED, **NO_SHELL) as container,
    ):
        wait_until(lambda: nats.subscriptions() >= 6, within=SLOW, what="it is subscribed")
        assert containers_user(container) == {"65532"}
        publish(nats.port)
        wait_until(lambda: len(printed(container)) == len(KINDS), within=SLOW, what="the records are printed")
        assert {record["topic"] for record in printed(container)} == {topic for topic, _, _ in KINDS.values()}
        container.stop(timeout=20)  # SIGTERM
        assert container.wait()["StatusCode"] == 0
        summary = said(container)[-1]
        assert (summary["received"], summary["delivered"], summary["dropped"]) == (len(KINDS), len(KINDS), 0)


def containers_user(container):
    """Who its processes are on this machine, where a number has no other name."""
    table = container.top(ps_args="-eo pid,uid")
    return {row[table["Titles"].index("UID")] for row in table["Processes"]}


def test_it_is_healthy_without_nats_and_not_when_it_stands_still():
    config = engine().images.get(image()).attrs["Config"]
    check = config["Healthcheck"]
    assert check["Test"][0] == "CMD"
    assert check["Timeout"] > healthcheck.WITHIN * SECOND
    assert check["Retries"] == 3
    # In the image it is on, and for the container alone.
    assert f"{healthcheck.LISTEN}=127.0.0.1:9464" in config["Env"]
    soon = {"interval": SECOND, "timeout": SECOND, "retries": 1, "start_period": 30 * SECOND}
    nowhere = {"NATS_FLUENT_NATS_SERVERS": f"nats://127.0.0.1:{free_port()}"}
    how = HARDENED | {"network_mode": "none"}
    with running(image(), environment=nowhere, healthcheck=soon, **how, **NO_SHELL) as container:
        assert engine().api.inspect_container(container.id)["Config"]["Healthcheck"]["Test"] == check["Test"]
        wait_until(lambda: health(container) == "healthy", within=SLOW, what="it is healthy")
        container.kill("SIGSTOP")
        wait_until(lambda: health(container) == "unhealthy", within=SLOW, what="it is unhealthy")


def health(container):
    container.reload()
    return container.attrs["State"]["Health"]["Status"]


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("NATS_FLUENT_NATS_SERVERS", "http://nats", "NATS_FLUENT_NATS_SERVERS"),
        ("NATS_FLUENT_NATS_PASSWORD_FILE", "/run/secrets/missing", "/run/secrets/missing"),
    ],
)
def test_settings_that_cannot_be_end_it_with_a_sentence(setting, value, sentence):
    with running(image(), environment={setting: value}, **HARDENED) as container:
        assert container.wait(timeout=SLOW)["StatusCode"] == 2
        assert sentence in container.logs().decode()


def test_it_may_write_to_a_new_volume_for_its_spool(tmp_path):
    with started(MonitoredNats(tmp_path)) as nats:
        nowhere = {
            "NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{free_port()}",
            "NATS_FLUENT_SHUTDOWN_TIMEOUT": "1s",
        }
        spool = {"NATS_FLUENT_SPOOL_MODE": "always", "NATS_FLUENT_SPOOL_DIR": "/var/lib/nats-fluent"}
        volume = engine().volumes.create()
        how = HARDENED | {"volumes": [f"{volume.name}:/var/lib/nats-fluent"], "init": True}
        try:
            with running(image(), environment=environment(nats) | nowhere | spool, **how) as container:
                wait_until(lambda: nats.subscriptions() >= 6, within=SLOW, what="it is subscribed")
                publish(nats.port)
                container.stop(timeout=20)
                summary = said(container)[-1]
                assert (summary["received"], summary["dropped"]) == (len(KINDS), 0)
            with running(image(), environment=environment(nats) | spool, **how) as container:
                wait_until(
                    lambda: len(printed(container)) == len(KINDS),
                    within=SLOW,
                    what="what was in the spool is printed",
                )
        finally:
            volume.remove()


def test_it_says_what_it_is():
    config = engine().images.get(image()).attrs["Config"]
    assert config["User"] == "65532:65532"
    assert (config["Entrypoint"], config["Cmd"]) == (["nats-fluent"], ["run"])
    labels = {
        name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()
    }
    assert (labels["version"], labels["revision"], labels["licenses"]) == ("9.8.7", "abc", "Apache-2.0")
    assert labels.keys() >= {"title", "description"}
    # Where `--version` has it from.
    assert "NATS_FLUENT_REVISION=abc" in config["Env"]


def test_what_it_adds_to_its_base_is_small():
    """Of the 120 MB that the whole may take, compressed, the base has the larger part."""
    program = (
        "import io, gzip, tarfile\n"
        "class Count(io.RawIOBase):\n"
        "    size = 0\n"
        "    def write(self, data):\n"
        "        Count.size += len(data)\n"
        "        return len(data)\n"
        "with gzip.open(Count(), 'w', 1) as out, tarfile.open(fileobj=out, mode='w|') as tar:\n"
        "    tar.add('/opt/nats-fluent')\n"
        "print(Count.size)\n"
    )
    layers = [engine().images.get(name).attrs["RootFS"]["Layers"] for name in (base(), image())]
    assert layers[1][: len(layers[0])] == layers[0]
    # /opt/nats-fluent, the list of what is in it, and an empty directory
    assert len(layers[1]) == len(layers[0]) + 3
    size = int(engine().containers.run(image(), ["-c", program], entrypoint="python", remove=True))
    assert 1_000_000 < size < 30_000_000


LOOK = """
import importlib.metadata, json, pathlib
(file,) = pathlib.Path("/usr/share/doc/nats-fluent").iterdir()
there = {each.name.lower().replace("_", "-"): each.version for each in importlib.metadata.distributions()}
print(json.dumps([there, json.loads(file.read_text())]))
"""


def test_what_is_in_it_is_listed_in_it():
    said = engine().containers.run(
        image(), ["-c", LOOK], entrypoint="python", network_mode="none", remove=True
    )
    there, listed = json.loads(said)
    components = {each["name"].lower().replace("_", "-"): each["version"] for each in listed["components"]}
    assert (listed["bomFormat"], listed["specVersion"]) == ("CycloneDX", "1.6")
    assert components == there
    assert components["nats-fluent"] == __version__
    assert all(
        each["purl"].startswith("pkg:pypi/") for each in listed["components"] if each["name"] != "nats-fluent"
    )
    assert len(listed["dependencies"]) >= len(there)
