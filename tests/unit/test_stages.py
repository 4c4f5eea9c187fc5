"""The benchmark of the stages: that each still runs, and what the guard says of their instructions."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

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
