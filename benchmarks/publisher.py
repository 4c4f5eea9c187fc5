"""Publishes in a process of its own: a burst, as fast as the server takes it, or a steady rate.

All is prepared before the first is sent. The publications of a steady rate repeat after 20,000.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from array import array
from pathlib import Path

import workloads

KEPT = 20_000
KEPT_BYTES = 256 << 20
TICK = 0.001
"""Seconds between two writes of a steady rate."""
BLOCK = 64 * 1024
"""Bytes of one write of a burst, at least."""


def burst(connection: socket.socket, kind: str, count: int) -> float:
    blocks, block, size = [], [], 0
    for command in workloads.commands(kind, count):
        block.append(command)
        size += len(command)
        if size >= BLOCK:
            blocks.append(b"".join(block))
            block, size = [], 0
    blocks.append(b"".join(block))
    began = time.perf_counter()
    for each in blocks:
        connection.sendall(each)
    confirmed(connection)
    return time.perf_counter() - began


def steady(connection: socket.socket, kind: str, count: int, rate: float, stamps: array[int]) -> float:
    """Send so many a second; note for each, in nanoseconds on the system's monotonic clock, when it was sent."""
    kept = min(KEPT, count, max(KEPT_BYTES // workloads.mean_size(kind), 1))
    commands = workloads.commands(kind, kept)
    began = time.monotonic()
    sent = 0
    while sent < count:
        now = time.monotonic()
        due = min(count, int((now - began) * rate) + 1)
        if due > sent:
            data = b"".join([commands[number % kept] for number in range(sent, due)])
            stamps.extend([time.monotonic_ns()] * (due - sent))
            connection.sendall(data)
            sent = due
        time.sleep(TICK)  # until more is due: without a rest it would take a core from who is measured
    confirmed(connection)
    return time.monotonic() - began


def confirmed(connection: socket.socket) -> None:
    """Wait until the server has read all of it."""
    connection.sendall(b"PING\r\n")
    answer = b""
    while b"PONG" not in answer:
        got = connection.recv(65536)
        if not got:
            raise SystemExit("the server closed the connection")
        answer = answer[-4:] + got


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=workloads.KINDS)
    parser.add_argument("count", type=int)
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, help="a second; as fast as it goes without")
    parser.add_argument("--stamps", type=Path, help="file for the times at which they were sent")
    given = parser.parse_args()
    stamps = array("q")
    with socket.create_connection(("127.0.0.1", given.port)) as connection:
        connection.sendall(b'CONNECT {"verbose":false,"pedantic":false,"name":"publisher"}\r\n')
        if given.rate:
            seconds = steady(connection, given.kind, given.count, given.rate, stamps)
        else:
            seconds = burst(connection, given.kind, given.count)
        ended = time.time()
    if given.stamps:
        given.stamps.write_bytes(stamps.tobytes())
    print(json.dumps({"seconds": seconds, "began": ended - seconds}), flush=True)


if __name__ == "__main__":
    main()
