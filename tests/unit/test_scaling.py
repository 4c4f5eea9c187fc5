"""How the benchmark of several processes holds each to a part of a core, and what it makes of what it sees."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
OURS = ("cores", "report", "rig", "scaling", "stages", "steps", "workloads")


@pytest.fixture(scope="module")
def load():
    """Loads one of the scripts, which import each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module
        for name in OURS:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def scaling(load):
    return load("scaling")


@pytest.fixture(scope="module")
def cores(load):
    return load("cores")


@pytest.fixture(scope="module")
def report(load):
    return load("report")


@pytest.fixture
def first(tmp_path):
    """The control groups of version 1, and the directory for groups in them."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").touch()
    return tmp_path, tmp_path / "cpu"


@pytest.fixture
def second(tmp_path):
    """Those of version 2."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory\n")
    return tmp_path, tmp_path


def test_both_versions_of_control_groups_hold_a_process(cores, request):
    root, base = request.getfixturevalue("first")
    assert cores.place(root) == base
    assert cores.limits(base, 0.2) == {"cpu.cfs_period_us": "10000", "cpu.cfs_quota_us": "2000"}
    root, base = request.getfixturevalue("second")
    assert cores.place(root) == base
    assert cores.limits(base, 0.2) == {"cpu.max": "2000 10000"}


def test_without_control_groups_the_reason_is_said_and_kept(scaling, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scaling, "find", lambda _: "/usr/bin/fluent-bit")
    monkeypatch.setattr(scaling.cores, "place", lambda place=scaling.cores.place: place(tmp_path))
    reason = f"no control groups for cores at {tmp_path}, which is where Linux has them"
    assert scaling.apart(1) == {"left_out": reason}
    assert capsys.readouterr().err == f"processes on a part of a core: left out: {reason}\n"


def test_without_fluent_bit_nothing_counts(scaling, monkeypatch):
    monkeypatch.setattr(scaling, "find", lambda _: None)
    assert scaling.apart(1) == {"left_out": "fluent-bit is not on PATH, and is what counts here"}


def test_groups_that_cannot_be_made(cores, second, monkeypatch):
    root, _ = second
    monkeypatch.setattr(cores.os, "access", lambda *_: False)
    with pytest.raises(cores.Failed, match="cannot be written, which takes root"):
        cores.place(root)
    (root / "cgroup.subtree_control").write_text("cpuset memory\n")
    with pytest.raises(cores.Failed, match="subtree_control does not have cpu"):
        cores.place(root)


def test_a_process_is_in_a_group_until_the_block_ends(cores, first, monkeypatch):
    _, base = first
    monkeypatch.setattr(cores.Path, "rmdir", shutil.rmtree)  # the files of a control group are no hindrance

    def fails():
        with cores.held([[11], [12]], 0.3, base=base):
            assert [(group / "cgroup.procs").read_text() for group in groups()] == ["11", "12"]
            assert {(group / "cpu.cfs_quota_us").read_text() for group in groups()} == {"3000"}
            raise RuntimeError

    def groups():
        return sorted(base.glob("nats-fluent-*"))

    with pytest.raises(RuntimeError):
        fails()
    assert groups() == []
    assert (base / "cgroup.procs").read_text() == "12"


def test_the_rate_is_taken_while_all_are_busy(scaling):
    # The first look is at a count of any age, and from 95% on one of them may have nothing left.
    looks = [scaling.Look(second, second * 1000, [second * 0.2, second * 0.1]) for second in range(1, 10)]
    looks = [scaling.Look(0.0, 900, [0.0, 0.0]), *looks, scaling.Look(30.0, 9900, [2.0, 1.0])]
    rate, used = scaling.busiest(looks, 10_000)
    assert rate == pytest.approx(1000)
    assert used == pytest.approx([0.2, 0.1])


def test_a_burst_that_is_over_too_soon_gives_no_figure(scaling):
    looks = [scaling.Look(second, second * 1000, [0.1]) for second in (0.0, 1.0, 2.0)]
    with pytest.raises(scaling.Failed, match="less than 2 s of work for 10000 publications"):
        scaling.busiest(looks, 10_000)


@pytest.fixture
def drained(scaling):
    def drained(rate, full=1.0, cpu=1.5, uneven=0.0, **others):
        return scaling.Drained(rate, full, {"workers": cpu, **others}, uneven)

    return drained


def test_a_ratio_is_to_the_one_process_of_the_same_round(scaling, drained):
    one = [drained(100), drained(200), drained(50)]
    two = [drained(180, uneven=0.01), drained(400, full=0.9), drained(85, cpu=1.8)]
    assert scaling.summed_up(two, one) == {
        "arrived": 180,
        "to_one": 1.8,
        "to_one_least": 1.7,
        "to_one_most": 2.0,
        "full": 0.9,
        "cpu": {"workers": 1.5},
        "uneven": 0.01,
    }


def test_the_tables_of_a_measurement(scaling, report, drained):
    one, two = [drained(6000)], [drained(11_400, full=0.994, uneven=0.004, supervisor=0.02)]
    result = {"rounds": 1, "processes": {"1": 60_000, "2": 90_000}, "to_one": {"1": 1.0, "2": 1.47}}
    result["cpu"] = {"1": {"workers": 1.4}}
    result["held"] = {
        "part": 0.2,
        "period_ms": 10.0,
        "rounds": 1,
        "cases": {"1 process": scaling.summed_up(one, one), "2 workers": scaling.summed_up(two, one)},
    }
    table = report.SECTIONS["scale"][1](result).splitlines()
    assert "| 2 | 90,000 | 1.47 |" in table
    assert "| 2 workers | 11,400 | 1.90 | 1.90 to 1.90 | 99% | 0.4% |" in table
    assert "| 1, on shared cores | 1.40 |  |  |  |" in table
    assert "| 2 workers, held | 1.50 | 0.02 |  |  |" in table


def test_what_was_left_out_is_in_the_report(report):
    result = {"rounds": 1, "processes": {"1": 60_000}, "held": {"left_out": "no control groups"}}
    assert report.SECTIONS["scale"][1](result).endswith("left out. no control groups.")
