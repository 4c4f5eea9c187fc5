"""The dashboard: it asks for metrics that there are, as Prometheus reads it, and leaves out none of the consumer's."""

from __future__ import annotations

import json
import re

import pytest
from deploy import dashboard, expressions, pods

from nats_fluent.metrics import CATALOGUE, PREFIX

BOARD = json.loads(dashboard.FILE.read_text("utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
TARGETS = [
    pytest.param(target, id=f"{panel['id']}{target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
KNOWN = expressions.known()
SELECTION = 'namespace=~"$namespace", job=~"$job", pod=~"$pod"'


def test_the_file_is_made_of_the_panels():
    assert dashboard.FILE.read_text("utf-8") == dashboard.text(), (
        "run: PYTHONPATH=tests python -m deploy.dashboard"
    )


@pytest.mark.parametrize("target", TARGETS)
def test_a_line_asks_for_metrics_that_there_are_by_labels_that_they_have(target):
    expr = target["expr"]
    asked = expressions.names(expr)
    ours = [name for name in asked if not name.startswith("fluentbit_")]  # test_chart_played.py has those
    assert set(ours) <= KNOWN.keys()
    assert len(asked) == expr.count(SELECTION)
    if len(asked) == len(ours):
        there = set().union(*(KNOWN[name].labels for name in ours)) | expressions.OF_PROMETHEUS
        groups = expressions.grouped(expr)
        assert expressions.selected(expr) <= there
        assert all(group <= there for group in groups)
        left = groups[0] if re.match(r"(topk\(\d+, )?(sum|min|max) by", expr) else there
        assert expressions.legend(target["legendFormat"]) <= left


@pytest.mark.parametrize("target", TARGETS)
def test_what_only_grows_is_shown_by_how_it_grows(target):
    asked = {name for name in expressions.names(target["expr"]) if name in KNOWN}
    counters = {name for name in asked if KNOWN[name].kind == "counter"}
    grows = expressions.grows(target["expr"])
    assert {name for name in grows if name in KNOWN} == counters
    assert all(name.endswith("_total") for name in grows - KNOWN.keys())
    totals = {name for name in expressions.names(target["expr"]) if name.endswith("_total")}
    assert totals <= grows


def test_promtool_reads_each_line(tmp_path):
    assert expressions.check(tmp_path, (param.values[0]["expr"] for param in TARGETS)) == ""


def test_promtool_would_find_a_line_that_is_none(tmp_path):
    assert "parse error" in expressions.check(tmp_path, ["sum by (pod (nats_fluent_ready)"])


def test_every_metric_of_the_consumer_is_shown():
    shown = {name for param in TARGETS for name in expressions.names(param.values[0]["expr"])}
    wanted = {PREFIX + one.name + ("_bucket" if one.kind == "histogram" else "") for one in CATALOGUE}
    assert wanted - shown == set()


def test_it_is_for_any_data_source_and_asks_for_nothing_from_elsewhere():
    text = dashboard.FILE.read_text("utf-8")
    assert "://" not in text
    assert "__inputs" not in BOARD
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
    first, *others = BOARD["templating"]["list"]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    assert [one["name"] for one in others] == ["namespace", "job", "pod"]
    # What has no such label, as beside a Prometheus without Kubernetes, is shown until one is chosen.
    assert {(one["includeAll"], one["allValue"]) for one in others} == {(True, ".*")}


def test_every_panel_says_what_it_shows_and_none_lies_over_another():
    titles = [(panel["title"], panel["description"]) for panel in PANELS]
    assert all(title and description.endswith(".") for title, description in titles)
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < dashboard.WIDTH


def test_the_chart_has_the_same_byte_for_byte():
    documents = pods.rendered({"dashboard": {"enabled": True}})
    (found,) = [one for one in documents if one["metadata"]["name"].endswith("-dashboard")]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["data"] == {"nats-fluent.json": dashboard.FILE.read_text("utf-8")}
    assert not [one for one in pods.rendered({}) if one["metadata"]["name"].endswith("-dashboard")]
