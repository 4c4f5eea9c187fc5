"""Where the records of the part `peers` go, and how it is known how many came and when."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rig import Failed, Rig, free_port, wait_for, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUIET = 3.0
"""Seconds without a record after which no more are waited for; Fluent Bit takes a second to send what waits."""


class Arrived(NamedTuple):
    """What a destination has: how many records, and when the last one came, in seconds since 1970."""

    records: int
    last: float


class Destination(Protocol):
    def look(self) -> Arrived: ...


def counted(line: bytes) -> Arrived | None:
    """Read a line of Fluent Bit's output `counter`: the records of one chunk; None for anything else."""
    try:
        said = json.loads(line)
        return Arrived(said["log_records"], said["ts"])
    except (ValueError, KeyError, TypeError):
        return None


class CountingRig(Rig):
    """A rig whose Fluent Bit takes Forward and HTTP, and says when each chunk came, of how many records."""

    def start_shipper(self) -> None:
        if not self.fluent_bit:
            raise Failed("fluent-bit is not on PATH, and is what counts here")
        self.http_port = free_port()
        conf = self.directory / "fluent-bit.conf"
        conf.write_text(
            "[SERVICE]\n    Flush 0.2\n    Log_Level error\n"
            + "".join(
                f"[INPUT]\n    Name {name}\n    Listen 127.0.0.1\n    Port {port}\n"
                for name, port in (("forward", self.forward_port), ("http", self.http_port))
            )
            + "[OUTPUT]\n    Name counter\n    Match *\n"
        )
        # A terminal, as the lines come at once there, and in a file when four kilobytes are full.
        ours, theirs = os.openpty()
        self._chunks: list[Arrived] = []
        self._shipper = self._start([self.fluent_bit, "-c", str(conf)], theirs)
        os.close(theirs)
        threading.Thread(target=self._listen, args=(ours, self._chunks), daemon=True).start()
        for port in (self.forward_port, self.http_port):
            wait_for(port)
        probe = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}/probe",
            data=b'{"probe": 1}',
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(probe, timeout=10).close()
        wait_until(lambda: self._chunks, "the output `counter` of Fluent Bit counts", within=15)
        self.reset()

    @staticmethod
    def _listen(terminal: int, chunks: list[Arrived]) -> None:
        with open(terminal, "rb") as lines, contextlib.suppress(OSError):  # which is how a terminal ends
            chunks.extend(chunk for line in lines if (chunk := counted(line)))

    def reset(self) -> None:
        self._chunks.clear()

    def look(self) -> Arrived:
        chunks = [*self._chunks]
        return Arrived(sum(each.records for each in chunks), max((each.last for each in chunks), default=0.0))


class File:
    """A file with a record in each line. It is read when it no longer grows, so as to take no time from who writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = self._read = self._records = 0

    def look(self) -> Arrived:
        if not self._path.exists():
            return Arrived(0, 0.0)
        before, found = self._size, self._path.stat()
        self._size = found.st_size
        if before == self._size > self._read:
            with self._path.open("rb") as file:
                file.seek(self._read)
                while block := file.read(1 << 20):
                    self._records += block.count(b"\n")
                    self._read += len(block)
        return Arrived(self._records, found.st_mtime)


class Files:
    """A directory with a file for each record, in directories of their own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def look(self) -> Arrived:
        directories = [each for each in self._path.rglob("*") if each.is_dir()]
        records = sum(1 for each in directories for _ in each.glob("*.json"))
        return Arrived(records, max((each.stat().st_mtime for each in directories), default=0.0))


def settled(
    to: Destination,
    expected: int,
    now: Callable[[], float] = time.time,
    rest: Callable[[float], None] = time.sleep,
) -> Arrived:
    """Return what arrived: when all has, or when nothing did for a while."""
    began = now()
    while (found := to.look()).records < expected and now() - max(found.last, began) <= QUIET:
        rest(0.1)  # between two looks
    return found
