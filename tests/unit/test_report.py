"""The page about speed is what the results that are kept with it say."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
OURS = ("report", "peer_tables", "rig", "stages", "steps", "tables", "workloads")


@pytest.fixture(scope="module")
def report():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("report")
        for name in OURS:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def results():
    return json.loads((BENCHMARKS / "results.json").read_text())


def test_the_page_holds_the_tables_of_the_results(report, results):
    page = (report.DOCS / "benchmarks.md").read_text()
    measured = page.partition(report.BEGIN)[2].partition(report.END)[0]
    assert measured.strip() == report.text(results, plots=True)


def test_every_section_has_a_table_and_its_plot_is_there(report, results):
    assert results.keys() == report.SECTIONS.keys()
    text = report.text(results, plots=True)
    for name in results:
        assert f"### {report.SECTIONS[name][0]}\n\n" in text
    for file, _ in report.PLOTS.values():
        assert (report.DOCS / file).exists()


def test_without_results_there_is_no_section(report):
    assert report.text({}) == ""


def test_the_flame_graph_does_not_show_where_it_was_made(report):
    made = report.titled('<text id="title" x="1">/home/me/py-spy record</text><text id="details"> </text>')
    assert made == (
        '<text id="title" x="1">nats-fluent, the recorded traffic of six topics</text><text id="details"> </text>'
    )
    kept = report.FLAME.read_text("utf-8")
    assert report.titled(kept) == kept
