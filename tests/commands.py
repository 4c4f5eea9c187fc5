"""The command `nats-fluent run` as a process of its own, and a nats-server that says who is subscribed."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from programs import PATIENCE, NatsServer, Program, free_port, wait_until, whole_lines

import nats_fluent

if TYPE_CHECKING:
    import subprocess

# -P and PYTHONPATH: the package that this test imported, wherever it was installed.
COMMAND = [sys.executable, "-P", "-m", "nats_fluent"]
OUTSIDE = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_FLUENT", "KAFKA"))}
ENVIRON = OUTSIDE | {"PYTHONPATH": str(Path(nats_fluent.__file__).parents[1]), "COLUMNS": "200"}


class MonitoredNats(NatsServer):
    """A nats-server that is asked over HTTP."""

    def __init__(self, directory: Path, config: str = "") -> None:
        self.monitor = free_port()
        super().__init__(directory, f'http: "127.0.0.1:{self.monitor}"\n{config}')

    def subscriptions(self) -> int:
        """How many subscriptions all clients together have."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.monitor}/connz?subs=1", timeout=PATIENCE
        ) as answer:
            connections = json.load(answer)["connections"]
        return sum(len(connection.get("subscriptions_list", ())) for connection in connections)


class Running(Program):
    """`nats-fluent run`, its log as JSON, fed by that nats-server."""

    def __init__(self, directory: Path, nats: MonitoredNats, *args: str, **environ: str) -> None:
        self.nats = nats
        logged = {"NATS_FLUENT_LOG_FORMAT": "json", "NATS_FLUENT_NATS_SERVERS": nats.url}
        super().__init__([*COMMAND, "run", *args], directory, env=ENVIRON | logged | environ)
        self.stdout, self.stderr = directory / "run.out", directory / "run.err"

    def wait_subscribed(self, count: int = 6) -> None:
        def ready() -> bool:
            assert self.running(), self.stderr.read_text()
            return self.nats.subscriptions() >= count

        wait_until(ready, what=f"{count} subscriptions")

    def log(self) -> list[dict]:
        return [json.loads(line) for line in whole_lines(self.stderr)]

    def events(self) -> list[str]:
        return [line["event"] for line in self.log()]

    def records(self) -> list[dict]:
        """What it printed, where it prints."""
        return [json.loads(line) for line in whole_lines(self.stdout)]

    def ended(self, *, within: float = PATIENCE) -> int:
        process: subprocess.Popen[bytes] | None = self.process
        assert process is not None
        return process.wait(within)


def pub(subject: str, payload: bytes) -> bytes:
    """The protocol's command to publish."""
    return b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(payload), payload)
