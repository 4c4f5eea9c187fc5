"""What a soak run finds wrong, from its samples and the account at the end."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RATE = 100.0
MIB = 1 << 20


@pytest.fixture(scope="module")
def soak():
    """The script, which imports the other one beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        spec = importlib.util.spec_from_file_location("soak", BENCHMARKS / "soak.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
        for name in ("rig", "workloads"):
            sys.modules.pop(name, None)


@pytest.fixture
def judge(soak):
    def judge(rss=lambda _: 50 * MIB, behind=lambda _: 10, arrived=9000, **stopped):
        samples = [
            soak.Sample(float(second), round(rss(second)), second * 100, second * 100 - behind(second))
            for second in range(90)
        ]
        account = dict.fromkeys(("published", "received", "delivered"), 9000)
        rest = dict.fromkeys(
            ("undecodable", "dropped", "left", "lost", "spooled", "returned", "exit_code"), 0
        )
        return soak.judge(samples, account | rest | stopped, arrived, RATE)

    return judge


def test_a_flat_run_is_well(judge):
    found = judge(rss=lambda second: 50 * MIB + (second % 2) * MIB)
    assert found["problems"] == []
    assert (found["seconds"], found["published"], found["most_behind"]) == (89, 9000, 10)


def test_growth_in_the_first_third_is_warm_up(judge):
    assert judge(rss=lambda second: 50 * MIB + min(second, 30) * MIB)["problems"] == []


def test_memory_that_grows(judge):
    found = judge(rss=lambda second: 50 * MIB + second * 200_000)
    assert found["problems"] == ["memory grew by 5.7 MiB from the second third to the last"]
    assert found["rss_kib_a_minute"] == pytest.approx(200_000 * 60 / 1024, abs=0.1)


def test_what_falls_behind(judge):
    assert judge(behind=lambda second: 501 if second == 40 else 0)["problems"] == [
        "Fluent Bit was 501 records behind, more than 5 s"
    ]


@pytest.mark.parametrize("one", ["published", "received", "delivered"])
def test_an_account_that_does_not_add_up(judge, one):
    assert len(judge(**{one: 8999})["problems"]) == 1


def test_records_that_fluent_bit_does_not_have_or_has_twice(judge):
    assert len(judge(arrived=8999)["problems"]) == len(judge(arrived=9001)["problems"]) == 1


@pytest.mark.parametrize(
    "one", ["undecodable", "dropped", "left", "lost", "spooled", "returned", "exit_code"]
)
def test_what_went_astray(judge, one):
    assert len(judge(**{one: 1})["problems"]) == 1
