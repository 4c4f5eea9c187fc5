"""Programs that this machine does not have, as containers that look like programs.

`look_for` gives the path of a script with the program's name, for a command line or for PATH. The script runs the
pinned image in the foreground: on this machine's network, as this user, with this repository and the directory for
temporary files at their own paths. What goes in and comes out is its own: arguments, environment, stdout, stderr,
SIGTERM, SIGINT, and how the program ended.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

ROOT = Path(__file__).parents[1]


class Image(NamedTuple):
    """Where a program is.

    Attributes:
        tag: the image's name.
        program: the program's path in it.
        dockerfile: what the image is made with, its directory being the context; None where it is pulled.
    """

    tag: str
    program: str
    dockerfile: Path | None = None


IMAGES = {
    "nats-server": Image("nats:2.14.5-alpine", "nats-server"),
    "fluent-bit": Image("fluent/fluent-bit:5.1.1", "/fluent-bit/bin/fluent-bit"),
    "fluentd": Image("nats-fluent-fluentd", "fluentd", ROOT / "conf" / "Dockerfile.fluentd"),
}
"""As docker-compose.yml has them. Kafka is not among them: its stand-in is a wheel that the tests depend on."""

OURS = {"PATH", "HOME"}
"""Variables that speak of this machine; those of the dynamic linker do too. All others are passed on."""

SCRIPTS = "nats-fluent-programs-"
"""How the name of the directory of the scripts begins."""

BY_SIGNAL = 128
"""An exit code over this is that of a program which a signal ended: this and the signal's number."""

RUN_AS = "NATS_FLUENT_TESTS_RUN_AS"
"""Variable that names another user, and a group, by their numbers."""

SESSION, PID = "nats-fluent.tests.session", "nats-fluent.tests.pid"
"""Labels of a container: the directory of the scripts, and the process that runs the script."""


@functools.cache
def look_for(name: str) -> tuple[str | None, str]:
    """The path of a script that runs the program; or None, and why there is none."""
    if name not in IMAGES:
        return None, ""
    if not _daemon_answers():
        return None, "no Docker daemon answers on this machine, for a container in its place"
    from docker.errors import DockerException  # noqa: PLC0415 - what is found elsewhere needs no Docker

    client = _client()
    here = client.info()
    apart = any(how in option for option in here["SecurityOptions"] or () for how in ("rootless", "userns"))
    if here["Name"] != platform.node() or apart:
        return None, "the Docker daemon does not share this machine's network, files and users"
    tag, program, _ = IMAGES[name]
    try:
        image = _image(client, IMAGES[name])
    except (DockerException, OSError) as error:
        return None, f"its image {tag} cannot be had: {error}"
    script = _scripts() / name
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nimport containers\n"
        f"sys.exit(containers.run({image!r}, {program!r}, {tempfile.gettempdir()!r}))\n"
    )
    script.chmod(0o755)
    return str(script), ""


def _daemon_answers() -> bool:
    """Whether there is one; the SDK leaves a socket open when there is none, which is a warning and so an error."""
    path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


@functools.cache
def _client() -> DockerClient:
    import docker  # noqa: PLC0415 - as above

    return docker.from_env()


def _image(client: DockerClient, image: Image) -> str:
    """The name or id of the image, once it is here."""
    from docker.errors import ImageNotFound  # noqa: PLC0415 - as above

    if image.dockerfile:
        where = {"path": str(image.dockerfile.parent), "dockerfile": image.dockerfile.name}
        return client.images.build(**where, tag=image.tag, rm=True)[0].id
    try:
        client.images.get(image.tag)
    except ImageNotFound:
        client.images.pull(image.tag)
    return image.tag


@functools.cache
def _scripts() -> Path:
    """The directory of the scripts; when this process ends, it goes, and with it whatever was left running."""
    directory = Path(tempfile.mkdtemp(prefix=SCRIPTS))

    def clean() -> None:
        for container in _containers(f"{SESSION}={directory}", all=True):
            container.remove(force=True, v=True)
        shutil.rmtree(directory)

    atexit.register(clean)
    return directory


def _containers(label: str, **how: bool) -> list[Container]:
    return _client().containers.list(filters={"label": label}, sparse=True, **how)


def run(image: str, program: str, temporary: str) -> int:
    """Run the program with this process's arguments and environment, and return its exit code."""
    from docker.errors import APIError  # noqa: PLC0415 - as above

    # The program itself has this name too, and is what a test that looks for it in /proc means.
    Path("/proc/self/comm").write_text("container")
    ours = {name for name in os.environ if name in OURS or name.startswith("LD_")}
    container = _client().containers.create(
        image,
        sys.argv[1:],
        entrypoint=program,
        environment={name: value for name, value in os.environ.items() if name not in ours},
        network_mode="host",
        user=os.environ.get(RUN_AS) or f"{os.getuid()}:{os.getgid()}",
        volumes=[f"{ROOT}:{ROOT}:ro", f"{temporary}:{temporary}"],
        labels={SESSION: str(Path(sys.argv[0]).parent), PID: str(os.getpid())},
    )

    def forward(number: int, _: object) -> None:
        with contextlib.suppress(APIError):  # it has just ended
            container.kill(number)

    try:
        output = container.attach(stream=True, demux=True)
        container.start()
        signal.signal(signal.SIGTERM, forward)
        signal.signal(signal.SIGINT, forward)
        for pieces in output:
            for stream, piece in zip((sys.stdout, sys.stderr), pieces, strict=True):
                if piece:
                    stream.buffer.write(piece)
                    stream.buffer.flush()
        code = container.wait()["StatusCode"]
    finally:
        container.remove(force=True, v=True)
    if code > BY_SIGNAL:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to take away
            signal.signal(code - BY_SIGNAL, signal.SIG_DFL)
        os.kill(os.getpid(), code - BY_SIGNAL)
    return code


def is_container(program: str) -> bool:
    """Whether that is the path of a script that runs a container."""
    return Path(program).parent.name.startswith(SCRIPTS)


class Popen(subprocess.Popen):
    """The process of such a script. A signal goes to the program itself, at once, and also if it cannot be caught."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._program = 0
        while not self._program and self.poll() is None:
            for container in _containers(f"{PID}={self.pid}"):
                container.reload()
                self._program = container.attrs["State"]["Pid"]
            time.sleep(0.02)  # it is another process that starts it, which gives no event

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self._program, sig)
