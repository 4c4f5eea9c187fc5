"""A Docker engine, where there is one: what it runs of this repository, and a swarm of one node."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import containers
import programs
import yaml
from programs import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient
    from docker.models.containers import Container

ROOT = Path(__file__).parents[1]
TAG = "nats-fluent-tests"
"""The name of the image that tests make of the Dockerfile."""

programs.HOW_TO_GET |= {
    "docker": "install Docker's command line, with `docker stack config`",
    "docker-engine": "start a Docker engine on this machine, for this user",
    "docker-swarm": "let the Docker engine be in no swarm, or be a manager of one",
}


def engine() -> DockerClient:
    """Return the engine of this machine, or skip (or fail, when it is required) the calling test."""
    if not containers._daemon_answers():
        programs.missing("docker-engine")
    client = containers._client()
    if client.info()["Name"] != platform.node():
        programs.missing("docker-engine", "the one that answers is elsewhere")
    return client


@functools.cache
def command() -> str:
    """Return Docker's command line, or skip (or fail, when it is required) the calling test."""
    if found := shutil.which("docker"):
        asked = [found, "stack", "config", "--help"]
        said = subprocess.run(asked, check=False, capture_output=True, text=True).stdout
        if (
            "docker stack config" in said
        ):  # 20.10 does not have it, and shows the help of `docker stack`, exit code 0
            return found
    return programs.missing("docker")


def docker(*args: str | Path, stdin: str = "", environ: dict[str, str] | None = None) -> str:
    """What that command of Docker's prints; what it says instead of doing it fails the test."""
    done = subprocess.run(
        [command(), *map(str, args)],
        check=False,
        capture_output=True,
        text=True,
        input=stdin,
        timeout=120,
        env=environ,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def stack(text: str) -> dict:
    """A stack file as Docker reads it, which it does without an engine."""
    return yaml.safe_load(docker("stack", "config", "-c", "-", stdin=text))


def stack_of(*paths: Path) -> dict:
    """A stack file of the repository, and others over it, as Docker reads them."""
    own = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "DOCKER_HOST"}}
    return yaml.safe_load(
        docker("stack", "config", *(part for path in paths for part in ("-c", path)), environ=own)
    )


@functools.cache
def base() -> str:
    """The image that the Dockerfile builds on, once it is here."""
    from docker.errors import DockerException, ImageNotFound  # noqa: PLC0415 - what needs no engine needs no Docker

    text = (ROOT / "Dockerfile").read_text()
    tag = "python:" + text.partition("ARG PYTHON=")[2].split()[0]
    try:
        engine().images.get(tag)
    except ImageNotFound:
        try:
            engine().images.pull(tag)
        except (DockerException, OSError) as error:
            programs.missing("docker-engine", f"{tag} cannot be had: {error}")
    return tag


@functools.cache
def image() -> str:
    """The name of the image of this repository, as it is now."""
    base()
    how = {"path": str(ROOT), "network_mode": "host", "buildargs": {"VERSION": "9.8.7", "REVISION": "abc"}}
    engine().images.build(**how, tag=TAG, rm=True, forcerm=True)
    return TAG


@contextlib.contextmanager
def running(what: str, *args: str, **how: object) -> Iterator[Container]:
    """A container of that image in the background, until the block ends."""
    container = engine().containers.run(what, list(args), detach=True, **how)
    try:
        yield container
    finally:
        container.remove(force=True, v=True)


@contextlib.contextmanager
def swarm() -> Iterator[str]:
    """A swarm of one node, which is left again if it was not there, and a network in it; gives its name."""
    from docker.errors import APIError  # noqa: PLC0415 - as above

    client = engine()
    info = client.info()["Swarm"]
    ours = info["LocalNodeState"] == "inactive"
    bridges = client.networks.list(names=["docker_gwbridge"])
    if ours:
        client.swarm.init(advertise_addr="127.0.0.1")
    elif not info["ControlAvailable"]:
        programs.missing("docker-swarm")
    name = f"nats-fluent-tests-{uuid.uuid4().hex[:8]}"
    try:
        network = client.networks.create(name, driver="overlay", attachable=True)
        try:
            yield name
        finally:

            def removed() -> bool:
                with contextlib.suppress(APIError):  # a task that has just ended still holds it
                    network.remove()
                    return True
                return False

            wait_until(removed, within=30, what="the network is removed")
    finally:
        if ours:
            client.swarm.leave(force=True)
            for bridge in client.networks.list(names=["docker_gwbridge"]):
                if bridge not in bridges:
                    bridge.remove()
