"""The benchmark beside other programs: what is counted, what is said of who cannot run, and how it is shown."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
OURS = ("peers", "peer_counts", "peer_programs", "peer_tables", "rig", "stored", "tables", "workloads")


@pytest.fixture(scope="module")
def peers():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        importlib.import_module("peer_tables")
        yield importlib.import_module("peers")
        for name in OURS:
            sys.modules.pop(name, None)


@pytest.fixture
def programs(peers):
    return sys.modules[peers.Program.__module__]


@pytest.fixture
def counts(peers):
    return sys.modules[peers.CountingRig.__module__]


def test_a_chunk_is_counted_when_fluent_bit_says_so(counts):
    line = b'{"ts":1795449694.283407,"serialized_events":1862,"log_records":1862,"total":1862}\r\n'
    assert counts.counted(line) == (1862, 1795449694.283407)
    for other in (b"\r\n", b"Fluent Bit v5.1.1\r\n", b"[1]\r\n", b'{"ts":1}\r\n', b'{"ts":1,"log_rec'):
        assert counts.counted(other) is None


def test_a_file_is_read_when_it_no_longer_grows(peers, tmp_path):
    file = peers.File(path := tmp_path / "arrived.json")
    assert file.look() == (0, 0.0)
    path.write_bytes(b"{}\n{}\n")
    assert file.look().records == 0
    assert file.look() == (2, path.stat().st_mtime)
    with path.open("ab") as more:
        more.write(b"{}\n{")
    assert file.look().records == 2
    assert file.look().records == 3


def test_files_are_counted_in_all_directories(peers, tmp_path):
    assert peers.Files(tmp_path).look() == (0, 0.0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.json").touch()
    (tmp_path / "a" / "2.json.tmp").touch()
    newest = max((tmp_path / name).stat().st_mtime for name in "ab")
    assert peers.Files(tmp_path).look() == (2, newest)


class Clock:
    """Something that arrives while time goes by."""

    def __init__(self, counts, arriving):
        self._counts, self._arriving, self.time = counts, arriving, 100.0

    def look(self):
        came = [when for when in self._arriving if when <= self.time]
        return self._counts.Arrived(len(came), max(came, default=0.0))

    def rest(self, seconds):
        self.time += seconds


def test_what_arrives_is_waited_for_until_nothing_does(counts):
    def settled(arriving):
        clock = Clock(counts, arriving)
        return counts.settled(clock, 3, lambda: clock.time, clock.rest), clock.time

    assert settled([99.0, 101.0, 103.9]) == ((3, 103.9), pytest.approx(103.9, abs=0.11))
    assert settled([99.0, 101.0, 104.5]) == ((2, 101.0), pytest.approx(104.0, abs=0.11))
    assert settled([]) == ((0, 0.0), pytest.approx(103.0, abs=0.11))


def test_the_rate_without_loss_is_the_last_before_the_first_loss(peers):
    tried = []

    def lost(limit):
        tried.clear()
        return lambda rate: tried.append(rate) or max(0, rate - limit)

    assert peers.without_loss(lost(25_000)) == 20_000
    assert tried == [10_000, 20_000, 40_000]
    assert peers.without_loss(lost(9_000)) == 0
    assert peers.without_loss(lost(10**9)) == 80_000


def test_the_memory_of_a_process_is_what_it_had_at_most(peers):
    if not Path("/proc/self/status").exists():
        pytest.skip("the memory of a process is read where Linux has it")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert peers.peak(os.getpid()) >= peers.peak(child.pid) + 1_000_000
        child.communicate(b"\n")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", ""),
        (
            "WARNING: a\nERROR: none from versions: x\nERROR: No matching distribution\n",
            "none from versions: x",
        ),
        ("Traceback\n  line\nOSError: no | such\n\n", "OSError: no / such"),
    ],
)
def test_the_reason_is_the_line_that_says_most(programs, said, why):
    assert programs.reason(said) == why


def test_an_environment_that_cannot_be_made_is_a_reason_and_is_made_anew(programs, monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "CACHE", tmp_path)
    answers = [(0, ""), (1, "ERROR: no wheel for this machine\n"), (0, ""), (0, "")]
    commands = []

    def run(command, **_):
        commands.append(command)
        code, said = answers.pop(0)
        return SimpleNamespace(returncode=code, stderr=said)

    monkeypatch.setattr(programs.subprocess, "run", run)
    monkeypatch.setattr(programs.Path, "touch", lambda path: (path.parent.mkdir(), path.write_text("")))
    packages = programs.PROGRAMS["connect"].packages
    with pytest.raises(programs.Failed, match="no wheel for this machine"):
        programs.python_of(packages)
    python = programs.python_of(packages)
    assert (
        programs.python_of(packages)
        == python
        == tmp_path / "mq-bridge-1.2.0+mq-bridge-connect-0.2.2/bin/python"
    )
    assert commands[3][0] == str(python)
    assert commands[3][-3:] == ["--only-binary=:all:", "mq-bridge==1.2.0", "mq-bridge-connect==0.2.2"]
    assert not answers
    assert programs.python_of(()) == Path(sys.executable)


def test_no_setting_and_no_package_of_ours_reaches_a_peer(programs, monkeypatch):
    for name in ("NATS_FLUENT_NATS_USER", "PYTHONPATH", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "ours")
    assert "ours" not in programs._clean().values()


def test_a_row_names_the_versions_that_are_installed(programs):
    for program in programs.PROGRAMS.values():
        name, _, version = program.title.split(",")[0].lower().partition(" ")
        assert not program.packages if not version else program.packages[-1] == f"{name}=={version}"
    left = {name for name, program in programs.PROGRAMS.items() if "core" not in program.legs}
    assert left - {"connect_pull"} == programs.NOT_CORE.keys()


@pytest.mark.parametrize("durable", ["", "one"])
def test_each_program_is_told_of_its_place(programs, monkeypatch, tmp_path, durable):
    told = {}

    def consumer(**settings):
        told["command"] = ["nats-fluent", json.dumps(settings), rig.nats_url, str(rig.forward_port)]
        return SimpleNamespace(process=None)

    rig = SimpleNamespace(nats_url="nats://here:1", forward_port=24224, http_port=8888, consumer=consumer)
    monkeypatch.setattr(programs, "_started", lambda command, _place: told.update(command=command))
    for name, program in programs.PROGRAMS.items():
        if not durable and "core" not in program.legs:
            continue
        directory = tmp_path / name
        directory.mkdir()
        place = programs.Place(directory, durable)
        program.start(rig, place, Path("/env/bin/python"))
        text = "\n".join(told["command"])
        if name == "nats_sinks":
            text += (directory / "nats-sinks.json").read_text()
        to = {
            programs.FORWARD: "24224",
            programs.HTTP: "http://127.0.0.1:8888",
            programs.FILE: str(place.file),
            programs.FILES: str(place.files),
        }
        assert "nats://here:1" in text
        assert programs.SUBJECT in text
        assert to[program.to] in text
        if durable and not name.startswith("bridge"):  # which names its consumer itself
            assert durable in text
        if not durable and name.startswith("bridge"):
            assert '"no_jetstream": true' in text


def _row(peers, name, **figures):
    return peers.summary(name, [figures])


def test_the_middle_is_shown_of_speed_and_the_most_of_loss(peers):
    rounds = [
        {"rate": 10.4, "lost": 0, "published": 1, "rss": 5},
        {"rate": 30.0, "lost": 7, "published": 2, "rss": 9},
        {"rate": 20.2, "lost": 0, "published": 3, "rss": 6},
    ]
    found = peers.summary("bridge_file", rounds)
    assert (found["rate"], found["lost"], found["published"], found["rss"]) == (20, 7, 2, 9)
    assert (found["title"], found["to"]) == ("mq-bridge 1.2.0", "a file")


def test_the_tables_say_what_was_lost_and_what_was_left_out(peers):
    core = {"rate": 1234, "published": 90_000, "rss": 50e6}
    stream = {"rate": 4321, "missing": 0, "again": 2, "rss": 50e6}
    result = {
        "rounds": 3,
        "publications": 200_000,
        "bytes": 1270,
        "limit": 6.0,
        "core": {
            "nats_fluent": _row(peers, "nats_fluent", lost=0, **core),
            "bridge_http": _row(peers, "bridge_http", lost=99_871, **core) | {"without_loss": 40_000},
            "bridge_file": _row(peers, "bridge_file", lost=1, **core) | {"without_loss": 0},
        },
        "jetstream": {
            "nats_fluent": _row(peers, "nats_fluent", done=200_000, **stream)
            | {"consumer": "pull", "away": 0},
            "nats_sinks": _row(peers, "nats_sinks", done=4096, **stream) | {"consumer": "pull", "away": None},
        },
        "left_out": {"Tenzir 6.20.0: core": "JetStream only"},
    }
    shown = sys.modules["peer_tables"].peers(result).splitlines()
    for line in (
        "| nats-fluent | Fluent Bit, Forward | 90,000 | 1,234 | 0 | full speed | 50 MB |",
        "| mq-bridge 1.2.0 | Fluent Bit, HTTP | 90,000 | 1,234 | 99,871 | 40,000 a second | 50 MB |",
        "| mq-bridge 1.2.0 | a file | 90,000 | 1,234 | 1 | none tried | 50 MB |",
        "| nats-fluent | Fluent Bit, Forward | pull | 4,321 | all | 0 | 2 | 0 | 50 MB |",
        "| nats-sinks 0.4.3 | a file for each message | pull | 4,321 | 4,096 in 6 s | 0 | 2 |  | 50 MB |",
        "| nats-sinks 0.4.3 | a file for each message | the decoded JSON in an envelope |",
        "| Tenzir 6.20.0: core | JetStream only |",
    ):
        assert line in shown
    result["left_out"] = {}
    assert "left out" not in sys.modules["peer_tables"].peers(result)


def test_who_cannot_be_installed_is_left_out_and_who_fails_is_not_run_again(peers, programs, monkeypatch):
    def python_of(packages):
        if packages == programs.BRIDGE:
            raise programs.Failed("no wheel")
        return Path("python")

    monkeypatch.setattr(peers, "python_of", python_of)
    field = peers.Field()
    runs = []

    def once(program, _python):
        runs.append(program.title)
        if program.title.startswith("nats-sinks"):
            raise programs.Failed("it ended")
        return {"rate": 1.0}

    found = field.rounds(2, "jetstream", once)
    assert runs.count("nats-sinks 0.4.3") == 1
    assert runs.count("nats-fluent") == 2
    assert "nats_sinks" not in found
    assert found.keys() & {"bridge_http", "bridge_file"} == set()
    assert "connect" in found
    assert field.left_out == {
        "mq-bridge==1.2.0: not installed": "no wheel",
        "nats-sinks 0.4.3, to a file for each message: jetstream": "it ended",
    }


def test_plain_json_differs_and_is_what_the_event_says(peers):
    workloads = peers.workloads
    made = [payload for _, payload in workloads.publications("plain", 20, 4990)]
    assert len({*made}) == 20
    assert {len(payload) for payload in made} == {workloads.mean_size("plain")}
    assert made[3:] == [payload for _, payload in workloads.publications("plain", 17, 4993)]
    read = [json.loads(payload) for payload in made]
    assert {(each["identity"], each["type"], each["entity"]["namespace"]) for each in read} == {
        ("enforcer", "update", "/apomux")
    }
    assert [each["entity"]["ID"] for each in read[9:11]] == [f"{999:024x}", f"{0:024x}"]
    assert all(each["timestamp"] == each["entity"]["updateTime"] for each in read)
