"""The alert rules: of metrics that there are, and each fires when it should and not before."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from deploy import expressions
from programs import find

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus-rules.yaml"
KNOWN = expressions.known()
ALL = [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_metrics_that_there_are_by_labels_that_they_have(rule):
    asked = set(expressions.names(rule["expr"]))
    assert asked
    assert asked <= KNOWN.keys()
    assert all(
        group <= KNOWN[name].labels | {"job", "instance"}
        for group in expressions.grouped(rule["expr"])
        for name in asked
    )
    assert {name for name in asked if KNOWN[name].kind == "counter"} == expressions.grows(rule["expr"])
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.parametrize("command", [["check", "rules"], ["test", "rules"]], ids=" ".join)
def test_promtool_finds_nothing_wrong(command):
    file = RULES if command[0] == "check" else RULES.with_suffix(".test.yaml")
    done = subprocess.run(
        [find("promtool"), *command, file.name],
        cwd=DEPLOY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_is_made_to_fire():
    tests = yaml.safe_load(RULES.with_suffix(".test.yaml").read_text("utf-8"))["tests"]
    fired = re.findall(r'alertname="(\w+)"', str(tests))
    quiet = [
        each["alertname"] for test in tests for each in test["alert_rule_test"] if not each["exp_alerts"]
    ]
    assert sorted(fired) == sorted(quiet) == sorted(rule["alert"] for rule in ALL)
