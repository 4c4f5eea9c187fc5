"""The programs that the part `peers` runs: each in an environment of its own, and with the settings that are here.

The settings are what the documentation of each proposes for this job; what differs from its defaults says why.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rig import HERE, Failed, outside

if TYPE_CHECKING:
    from collections.abc import Callable

    from peer_counts import CountingRig

CACHE = HERE.parent / ".benchmarks" / "peers"
"""Where the environments stay; git does not know it."""
SUBJECT = "squall-events"
STREAM = "BENCH"
FORWARD, HTTP, FILE, FILES = "Fluent Bit, Forward", "Fluent Bit, HTTP", "a file", "a file for each message"


class Place(NamedTuple):
    """Where a program runs.

    Attributes:
        directory: for what it writes.
        durable: the name for its consumer of the stream; empty for core NATS.
    """

    directory: Path
    durable: str

    @property
    def file(self) -> Path:
        return self.directory / "arrived.json"

    @property
    def files(self) -> Path:
        return self.directory / "arrived"


class Program(NamedTuple):
    """One row of the tables.

    Attributes:
        title: name, and version.
        packages: what its environment holds; nothing for this program.
        start: starts it with the Python of its environment.
        to: where the records go.
        arrives: what one of them is.
        legs: "core", "jetstream" or both.
        consumer: what it makes of the stream, and when it acknowledges, in its own words.
        bound: whether the consumer has to be there before.
    """

    title: str
    packages: tuple[str, ...]
    start: Callable[[CountingRig, Place, Path], subprocess.Popen[bytes]]
    to: str
    arrives: str
    legs: tuple[str, ...] = ("core", "jetstream")
    consumer: str = ""
    bound: bool = False


def python_of(packages: tuple[str, ...]) -> Path:
    """Return the interpreter of an environment, made where there is none; this one, for nothing. Failed, with the
    reason, where it cannot be made."""
    if not packages:
        return Path(sys.executable)
    home = CACHE / "+".join(each.replace("==", "-") for each in packages)
    python = home / "bin" / "python"
    if (home / "installed").exists():
        return python
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    _quiet([sys.executable, "-m", "venv", str(home)])
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", "--retries=1"]
    _quiet([*install, "--only-binary=:all:", *packages])
    (home / "installed").touch()
    return python


def _quiet(command: list[str]) -> None:
    said = subprocess.run(command, env=_clean(), capture_output=True, text=True, timeout=900, check=False)
    if said.returncode:
        raise Failed(reason(said.stderr) or f"exit code {said.returncode}: {command[-1]}")


def reason(said: str) -> str:
    """Return the line of what a program printed that says best why it ended: pip's first error, or else the last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines[-1:] or [""])[0][:200].replace("|", "/")


def _clean() -> dict[str, str]:
    """Return an environment in which nothing points at the packages of this one."""
    return {
        name: value for name, value in outside().items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }


def _started(command: list[str], place: Place) -> subprocess.Popen[bytes]:
    with (place.directory / "said.log").open("wb") as said:
        return subprocess.Popen(
            command, env=_clean(), cwd=place.directory, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )


# --- each program, as it is started ---------------------------------------------------------------------------


def _nats_fluent(rig: CountingRig, place: Place, _python: Path) -> subprocess.Popen[bytes]:
    """All else is a default."""
    stream = {"jetstream_stream": STREAM, "jetstream_durable": place.durable} if place.durable else {}
    return rig.consumer(topics=SUBJECT, record_format="json", **stream).process


def _tenzir(rig: CountingRig, place: Place, python: Path) -> subprocess.Popen[bytes]:
    """The pipeline of its page on NATS; chunks are acknowledged, as this program's are, which made it no slower here.
    Neither did a larger _batch_size make it faster."""
    pipeline = (
        f'from_nats "{SUBJECT}", url="{rig.nats_url}", durable="{place.durable}"\n'
        "this = string(message).parse_json()\n"
        'to_fluent_bit "forward", options='
        f'{{host: "127.0.0.1", port: {rig.forward_port}, require_ack_response: true}}'
    )
    return _started([str(python.parent / "tenzir"), pipeline], place)


ROUTE = "import json, sys, mq_bridge; mq_bridge.Route.from_config(json.loads(sys.argv[1])).run()"
WITH_CONNECT = f"import mq_bridge_connect; mq_bridge_connect.register(); {ROUTE}"


def _own_input(rig: CountingRig, place: Place) -> dict[str, object]:
    """Its own NATS input; a stream is asked for even where it is not used. It names its consumer itself."""
    core = {} if place.durable else {"no_jetstream": True}
    return {"nats": {"url": rig.nats_url, "subject": SUBJECT, "stream": STREAM, **core}}


def _connect_input(rig: CountingRig, place: Place, **more: object) -> dict[str, object]:
    """Redpanda Connect's. It gives a message at a time, for which the plugin's page asks for more than 64 in flight:
    from 64 to 4,096 made it a fifth to a half faster here."""
    each: dict[str, object] = {"urls": [rig.nats_url], "subject": SUBJECT}
    if place.durable:
        made = {"nats_jetstream": each | {"stream": STREAM, "durable": place.durable, **more}}
    else:
        made = {"nats": each}
    text = json.dumps({"input": made, "max_in_flight": 4096})
    return {"custom": {"name": "connect", "config": {"yaml": text}}}


def _to_file(place: Place) -> dict[str, object]:
    """`json` is the format that looks at the payload; nothing is synced to the disk, as is its default."""
    return {"file": {"path": str(place.file), "format": "json"}}


def _to_http(rig: CountingRig) -> dict[str, object]:
    """To Fluent Bit's HTTP input, a batch as one array."""
    upsert = {"path": "/aporeto.squall-events", "format": "json_array"}
    return {"http_bulk": {"url": f"http://127.0.0.1:{rig.http_port}", "upsert": upsert}}


def _route(code: str, route: dict[str, object], place: Place, python: Path) -> subprocess.Popen[bytes]:
    return _started([str(python), "-c", code, json.dumps(route)], place)


def _bridge_file(rig: CountingRig, place: Place, python: Path) -> subprocess.Popen[bytes]:
    return _route(ROUTE, {"input": _own_input(rig, place), "output": _to_file(place)}, place, python)


def _bridge_http(rig: CountingRig, place: Place, python: Path) -> subprocess.Popen[bytes]:
    return _route(ROUTE, {"input": _own_input(rig, place), "output": _to_http(rig)}, place, python)


def _connect_push(rig: CountingRig, place: Place, python: Path) -> subprocess.Popen[bytes]:
    route = {"input": _connect_input(rig, place, max_ack_pending=10_000), "output": _to_file(place)}
    return _route(WITH_CONNECT, route, place, python)


def _connect_pull(rig: CountingRig, place: Place, python: Path) -> subprocess.Popen[bytes]:
    route = {"input": _connect_input(rig, place, bind=True), "output": _to_file(place)}
    return _route(WITH_CONNECT, route, place, python)


def _nats_sinks(rig: CountingRig, place: Place, python: Path) -> subprocess.Popen[bytes]:
    """A larger batch, as its page on performance proposes; 1,000 was slower here than 256. No other destination is
    synced to the disk, so neither are these files."""
    place.files.mkdir()
    settings = {
        "nats": {
            "url": rig.nats_url,
            "stream": STREAM,
            "consumer": place.durable,
            "subject": SUBJECT,
            "durable": True,
        },
        "delivery": {"batch_size": 256, "batch_timeout_ms": 200},
        "sink": {"type": "file", "directory": str(place.files), "fsync": False},
        "logging": {"level": "WARNING"},
    }
    file = place.directory / "nats-sinks.json"
    file.write_text(json.dumps(settings))
    return _started([str(python.parent / "nats-sink"), "run", str(file)], place)


BRIDGE = ("mq-bridge==1.2.0",)
CONNECT = (*BRIDGE, "mq-bridge-connect==0.2.2")
CHECKED = "a line with the payload, which was checked to be JSON"

PROGRAMS = {
    "nats_fluent": Program(
        "nats-fluent",
        (),
        _nats_fluent,
        FORWARD,
        "a record with subject, time, key and the decoded JSON",
        consumer="pull; when Fluent Bit acknowledged the chunk",
    ),
    "tenzir": Program(
        "Tenzir 6.20.0",
        ("tenzir==6.20.0",),
        _tenzir,
        FORWARD,
        "a record of the decoded JSON",
        ("jetstream",),
        consumer="pull; when the events were pushed downstream",
    ),
    "bridge_http": Program(
        "mq-bridge 1.2.0",
        BRIDGE,
        _bridge_http,
        HTTP,
        "the payload, which Fluent Bit decodes",
        consumer="pull; when the output accepted it",
    ),
    "bridge_file": Program(
        "mq-bridge 1.2.0", BRIDGE, _bridge_file, FILE, CHECKED, consumer="pull; when the output accepted it"
    ),
    "connect": Program(
        "mq-bridge-connect 0.2.2",
        CONNECT,
        _connect_push,
        FILE,
        CHECKED,
        consumer="push; when the output accepted it",
    ),
    "connect_pull": Program(
        "mq-bridge-connect 0.2.2, `bind`",
        CONNECT,
        _connect_pull,
        FILE,
        CHECKED,
        ("jetstream",),
        consumer="pull; when the output accepted it",
        bound=True,
    ),
    "nats_sinks": Program(
        "nats-sinks 0.4.3",
        ("nats-sinks==0.4.3",),
        _nats_sinks,
        FILES,
        "the decoded JSON in an envelope",
        ("jetstream",),
        consumer="pull; when the files were written",
    ),
}

NOT_CORE = {
    "tenzir": "its [from_nats](https://docs.tenzir.com/reference/operators/from_nats) takes from JetStream only",
    "nats_sinks": "it [takes from JetStream](https://nats-sinks.readthedocs.io/en/latest/) only",
}
"""Why there is no row for core NATS."""
