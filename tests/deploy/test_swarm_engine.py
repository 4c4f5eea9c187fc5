"""The stack on a swarm of one node: it starts in any order, delivers, and leaves nothing behind but its volume."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import uuid
from pathlib import Path

import helm
import pytest
from containers import IMAGES
from engine import docker, engine, image, running, swarm
from programs import wait_until

from nats_fluent.samples import KINDS

ROOT = Path(__file__).parents[2]
CHART = ROOT / "swarm" / "swarm-aporeto-kafka-exporter"
SLOW = 90.0
"""Seconds for a task to start, with its first health check after ten."""
PUBLISH = """
import asyncio, sys, time, nats
from nats_fluent.samples import KINDS, sample

async def main():
    client = await nats.connect(sys.argv[1])
    for number in range(len(KINDS)):
        one = sample(number, time.time_ns())
        await client.publish(one.topic, one.payload)
    await client.drain()

asyncio.run(main())
"""


def from_chart(network, name):
    """Deploy what the chart renders, with a NATS that asks for a password."""
    given = {
        "image": {"repository": image(), "tag": "latest"},
        "nats": {"user": "exporter", "password": f"pa$word-{name}"},
        "forward": {"sharedKey": name},
        "placement": None,
        "global": {"networking": {"backbone": {"name": network}}},
    }
    (text,) = helm.find().render(CHART, given | {"show": "objects"}).values()
    create = ["sh", str(CHART / "create-objects.sh")]
    for word in ("made", "is there"):
        done = subprocess.run(create, check=True, capture_output=True, text=True, timeout=60, input=text)
        secrets = [line for line in done.stdout.splitlines() if line.startswith("secret ")]
        assert len(secrets) == 2
        assert all(line.endswith(word) for line in secrets)
    (text,) = helm.find().render(CHART, given).values()
    docker("stack", "deploy", "--compose-file", "-", name, stdin=text)


def without_helm(network, name):
    """Deploy swarm/docker-stack.yml."""
    docker("secret", "create", f"forward-shared-key-{name}", "-", stdin=name)
    environ = {"IMAGE": image(), "BACKBONE": network, "CONFIG": name, "KEY": name}
    path = ROOT / "swarm" / "docker-stack.yml"
    docker("stack", "deploy", "--compose-file", path, name, environ=dict(os.environ) | environ)


WAYS = {
    from_chart: ("--user", "exporter", "--pass"),
    without_helm: (),
}


@contextlib.contextmanager
def removed_after(name):
    """Whatever the block leaves of the stack of that name."""
    client = engine()
    before = {one.id for kind in (client.configs, client.secrets) for one in kind.list()}
    try:
        yield
    finally:
        docker("stack", "rm", name)
        label = {"filters": {"label": f"com.docker.stack.namespace={name}"}}
        wait_until(
            lambda: not client.containers.list(all=True, sparse=True, **label),
            within=SLOW,
            what="its tasks ended",
        )
        for kind in (client.configs, client.secrets):
            for one in kind.list():
                if one.id not in before:
                    one.remove()
        for volume in client.volumes.list(**label):
            volume.remove()


def services(name):
    found = engine().services.list(filters={"label": f"com.docker.stack.namespace={name}"})
    return {one.name.removeprefix(f"{name}_"): one for one in found}


def states(service):
    return {task["Status"]["State"] for task in service.tasks() if task["DesiredState"] == "running"}


@pytest.mark.parametrize("deploy", WAYS, ids=lambda way: way.__name__)
def test_the_stack_delivers(deploy):
    name = f"nft{uuid.uuid4().hex[:8]}"
    sign_in = [*WAYS[deploy], f"pa$word-{name}"] if WAYS[deploy] else []
    user = f"exporter:pa$word-{name}@" if sign_in else ""
    with swarm() as network, removed_after(name):
        deploy(network, name)
        # NATS comes last: nothing minds.
        with running(IMAGES["nats-server"].tag, *sign_in, network=network) as nats:
            engine().networks.get(network).disconnect(nats)
            engine().networks.get(network).connect(nats, aliases=["nats"])
            found = services(name)
            assert found.keys() == {"kafka-exporter", "kafka-exporter-log-shipper"}
            # With its health check it is not running before it reaches both.
            wait_until(lambda: states(found["kafka-exporter"]) == {"running"}, within=SLOW, what="it runs")
            publisher = ["-c", PUBLISH, f"nats://{user}nats:4222"]
            engine().containers.run(image(), publisher, entrypoint="python", network=network, remove=True)

            def records():
                lines = b"".join(found["kafka-exporter-log-shipper"].logs(stdout=True)).splitlines()
                return [json.loads(line) for line in lines if line.startswith(b'{"topic"')]

            wait_until(lambda: len(records()) >= len(KINDS), within=30, what="Fluent Bit prints the records")
            assert {record["topic"] for record in records()} == {topic for topic, _, _ in KINDS.values()}
