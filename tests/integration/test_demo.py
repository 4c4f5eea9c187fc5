"""`nats-fluent demo` as a user runs it: a real nats-server, and Fluent Bit where there is one."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from programs import PATIENCE, find, wait_until, whole_lines

from nats_fluent.settings import DEFAULT_TOPICS

CONF = Path(__file__).parents[2] / "conf"


class Demo:
    """The command, with the temporary directory as TMPDIR."""

    def __init__(self, directory: Path, *arguments: str, path: str | None = None) -> None:
        find("nats-server")
        self.directory = directory / "tmp"
        self.directory.mkdir()
        environment = os.environ | {"TMPDIR": str(self.directory), "PYTHONUNBUFFERED": "1"}
        if path is not None:
            environment["PATH"] = path
        self.stdout, self.stderr = directory / "out", directory / "err"
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nats_fluent", "demo", *arguments],
                stdout=out,
                stderr=err,
                env=environment,
                start_new_session=True,
            )

    def wait(self) -> int:
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()

    @property
    def records(self) -> list[dict]:
        return [json.loads(line) for line in whole_lines(self.stdout) if line.startswith(b"{")]

    @property
    def said(self) -> str:
        return self.stderr.read_text("utf-8")

    def processes(self) -> dict[int, str]:
        """What it started and did not end: the command lines, by pid; each names the temporary directory."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):  # one that ends while it is looked at
                if f"TMPDIR={self.directory}\0".encode() in path.read_bytes():
                    found[int(path.parent.name)] = path.with_name("cmdline").read_text()
        return found

    def left_running(self) -> list[str]:
        """The command lines of what it started and did not end."""
        return list(self.processes().values())


def without_fluent_bit() -> str:
    """A PATH on which there is nothing; nats-server is found beside Python."""
    return "/nonexistent"


def test_every_publication_is_printed(tmp_path: Path) -> None:
    demo = Demo(tmp_path, "--count", "40", "--rate", "400", path=without_fluent_bit())
    assert demo.wait() == 0, demo.said
    counts = Counter(record["topic"] for record in demo.records)
    assert counts.total() == 40
    assert set(counts) == set(DEFAULT_TOPICS)
    assert len({record["id"] for record in demo.records}) == 40
    assert "Records go straight to stdout: fluent-bit is not on PATH." in demo.said
    assert "delivered 40, of which undecodable 0; dropped 0, not acknowledged 0" in demo.said
    for topic, count in counts.items():
        assert f"{topic} {count} {count}" in " ".join(demo.said.split())
    assert demo.left_running() == []
    assert list(demo.directory.iterdir()) == []


@pytest.mark.parametrize("signal_number", [2, 15])
def test_a_signal_ends_it_with_nothing_left_behind(tmp_path: Path, signal_number: int) -> None:
    demo = Demo(tmp_path, "--rate", "100", path=without_fluent_bit())
    wait_until(lambda: len(demo.records) > 5, what="records")
    demo.process.send_signal(signal_number)
    assert demo.wait() == 0, demo.said
    assert f"delivered {len(demo.records)}, " in demo.said
    assert f"in all {len(demo.records)} {len(demo.records)}" in " ".join(demo.said.split())
    assert demo.left_running() == []
    assert list(demo.directory.iterdir()) == []


def test_records_go_through_fluent_bit_where_there_is_one(tmp_path: Path) -> None:
    fluent_bit = Path(find("fluent-bit"))
    demo = Demo(
        tmp_path,
        "--count",
        "40",
        "--rate",
        "400",
        "--conf",
        str(CONF),
        path=f"{fluent_bit.parent}:/usr/bin:/bin",
    )
    assert demo.wait() == 0, demo.said
    assert f"Records go to Fluent Bit ({fluent_bit})" in demo.said
    assert Counter(record["topic"] for record in demo.records).total() == 40
    assert "delivered 40, of which undecodable 0; dropped 0, not acknowledged 0" in demo.said
    assert demo.left_running() == []
    assert list(demo.directory.iterdir()) == []


def test_a_fluent_bit_that_does_not_start_is_named_with_its_log(tmp_path: Path) -> None:
    fluent_bit = Path(find("fluent-bit"))
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "fluent-bit.conf").write_text("[INPUT]\n    Name no-such-input\n")
    demo = Demo(tmp_path, "--count", "1", "--conf", str(conf), path=f"{fluent_bit.parent}:/usr/bin:/bin")
    assert demo.wait() == 1
    (directory,) = demo.directory.iterdir()
    log = directory / "fluent-bit.log"
    assert f"see {log}" in demo.said
    assert "no-such-input" in log.read_text()
    assert "Traceback" not in demo.said
    assert demo.left_running() == []


@pytest.mark.parametrize(
    "rate",
    [
        pytest.param("2", id="with all that was published acknowledged"),
        pytest.param("1000", id="with publications under way"),
    ],
)
def test_a_fluent_bit_that_dies_is_a_failure(tmp_path: Path, rate: str) -> None:
    fluent_bit = Path(find("fluent-bit"))
    demo = Demo(tmp_path, "--rate", rate, "--conf", str(CONF), path=f"{fluent_bit.parent}:/usr/bin:/bin")
    wait_until(lambda: len(demo.records) > 2, what="records")
    (child,) = [
        pid for pid, line in demo.processes().items() if Path(line.split("\0")[0]).name == "fluent-bit"
    ]
    os.kill(child, 9)
    assert demo.wait() == 1
    assert "fluent-bit ended on its own, with exit code -9." in demo.said
    assert "The logs of what was started are in" in demo.said
    assert demo.left_running() == []


DIES = """\
import os, signal, socket
import msgpack

signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
with socket.create_server(("127.0.0.1", int(os.environ["FORWARD_PORT"]))) as listener:
    while True:
        connection, unpacker = listener.accept()[0], msgpack.Unpacker()
        while data := connection.recv(65536):
            unpacker.feed(data)
            for _, _, options in unpacker:
                connection.sendall(msgpack.packb({"ack": options["chunk"]}))
"""


def test_one_that_dies_when_it_is_told_to_end_is_a_failure_too(tmp_path: Path) -> None:
    """It acknowledged all, and printed nothing."""
    directory = tmp_path / "bin"
    directory.mkdir()
    program = directory / "fluent-bit"
    program.write_text(f"#!{sys.executable}\n{DIES}")
    program.chmod(0o755)
    demo = Demo(tmp_path, "--count", "5", "--rate", "100", "--conf", str(CONF), path=str(directory))
    assert demo.wait() == 1
    assert "delivered 5, " in demo.said
    assert "fluent-bit did not end in order, but with exit code -9." in demo.said
    assert "The logs of what was started are in" in demo.said
    assert demo.left_running() == []
