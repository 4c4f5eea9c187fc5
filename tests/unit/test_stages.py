"""The benchmark of the stages: that each still runs, and what the guard says of their instructions."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import msgpack
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def stages():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("stages")
        for name in ("stages", "steps", "workloads"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def steps(stages):
    return sys.modules[stages.STAGES[0].make.__module__]


@pytest.fixture(scope="module")
def workloads(steps):
    return steps.workloads


def test_every_stage_runs_on_its_kind_and_has_a_baseline(stages):
    baseline = json.loads(stages.BASELINE.read_text())
    assert [*baseline["stages"]] == [stage.name for stage in stages.STAGES]
    assert baseline.keys() - {"stages"} == stages.holds_for().keys()
    for stage in stages.STAGES:
        stage.make(stage.kind, 7, 3)()


@pytest.mark.parametrize("kind", ["event", "flow", "activity", "object", "mix", "json"])
def test_no_time_is_written_where_there_was_none(workloads, kind):
    for _, payload in workloads.publications(kind, min(6000, 10 * len(workloads.templates(kind)))):
        assert msgpack.unpackb(payload)["data"]


@pytest.mark.parametrize("kind", ["event", "flow", "activity", "object", "mix", "json"])
def test_publications_differ_and_can_be_decoded(steps, workloads, kind):
    made = [payload for _, payload in workloads.publications(kind, 20, 5)]
    assert len({*made}) == 20
    assert made[3:] == [payload for _, payload in workloads.publications(kind, 17, 8)]
    recorder = steps._recorder()
    for delivery in steps._deliveries(kind, 0, 20):
        assert not recorder.record(delivery, steps.NOW_NS).error


def test_a_stage_may_grow_by_a_tenth(stages):
    assert stages.grown({"read": 1000.0, "ack": 10.0}, {"read": 1100.0, "ack": 5.0}) == []
    assert stages.grown({"read": 1000.0}, {"read": 1101.0}) == [
        "read: 1,101 instructions, +10.1% (1,000 before)"
    ]


def test_a_stage_that_only_one_of_them_has(stages):
    assert stages.grown({"read": 1.0}, {"ack": 1.0}) == [
        "ack: not in baseline.json",
        "read: in baseline.json, and no stage",
    ]


def test_without_valgrind_the_check_is_skipped_with_the_reason_or_fails(stages, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("NATS_FLUENT_REQUIRE", raising=False)
    with pytest.raises(SystemExit) as left:
        stages.check()
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("skipped: valgrind not found")
    monkeypatch.setenv("NATS_FLUENT_REQUIRE", "node, valgrind")
    with pytest.raises(SystemExit, match="valgrind not found"):
        stages.check()


@pytest.mark.parametrize("what", ["processor", "compiler", "decoder"])
def test_of_another_machine_or_build_the_check_says_so_and_does_nothing(stages, monkeypatch, capsys, what):
    monkeypatch.delenv("NATS_FLUENT_REQUIRE", raising=False)
    monkeypatch.setattr(stages.shutil, "which", lambda name: name)
    monkeypatch.setattr(stages, "_version_of_valgrind", lambda: "valgrind-0")
    monkeypatch.setattr(stages, what, lambda: "another")
    monkeypatch.setattr(stages, "instructions", lambda: pytest.fail("they are not comparable"))
    with pytest.raises(SystemExit) as left:
        stages.check()
    assert left.value.code == 0
    assert f"{what} is 'another', not " in capsys.readouterr().out


@pytest.mark.parametrize(("code", "fixes"), [(0, True), (1, False)])
def test_where_addresses_cannot_be_fixed_it_is_done_without(stages, monkeypatch, code, fixes):
    """`setarch -R` in a container of Docker: "failed to set personality to x86_64: Operation not permitted"."""
    asked = []

    def run(command, **_):
        asked.append(command)
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(stages.shutil, "which", lambda name: name)
    monkeypatch.setattr(stages.subprocess, "run", run)
    assert stages._fixes_addresses() == fixes
    assert asked == [["setarch", "-R", "true"]]
