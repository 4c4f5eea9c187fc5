"""Expressions of Prometheus, as far as tests look into them: which metrics, by which labels, counters how."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import yaml
from programs import find
from prometheus_client.parser import text_string_to_metric_families

from nats_fluent import exposition
from nats_fluent.facts import Facts
from nats_fluent.metrics import CATALOGUE, PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NAME = re.compile(r"\b(?:nats_fluent|fluentbit|process|kubelet)_\w+")
OF_PROMETHEUS = {"job", "instance", "namespace", "pod"}
"""Labels that a target has."""
GRAFANA = {"$__rate_interval": "5m", "$__range": "1h", "$namespace": ".*", "$job": ".*", "$pod": ".*"}
"""What Grafana puts in, and what stands for it here."""


class Known(NamedTuple):
    """A metric: its type and its labels."""

    kind: str
    labels: frozenset[str]


def known() -> dict[str, Known]:
    """The consumer's own: the catalogue, and what Python's Prometheus client adds."""
    found = {}
    for metric in CATALOGUE:
        labels = frozenset(metric.labels)
        if metric.kind == "histogram":
            found[f"{PREFIX}{metric.name}_bucket"] = Known("counter", labels | {"le"})
        else:
            found[PREFIX + metric.name] = Known(metric.kind, labels)
    text, _ = exposition.render(Facts())
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.name.startswith("process_"):
                found[sample.name] = Known(family.type, frozenset(sample.labels))
    return found


def names(expression: str) -> list[str]:
    """The metrics that it asks for."""
    return NAME.findall(expression)


def selected(expression: str) -> set[str]:
    """The labels that it selects by."""
    return set(re.findall(r"(\w+) *=?[=~]", " ".join(re.findall(r"{([^}]*)}", expression))))


def grouped(expression: str) -> list[set[str]]:
    """The labels of each of its groups."""
    found = re.findall(r"(?:by|on|group_left) \(([^)]*)\)", expression)
    return [{name.strip() for name in names.split(",")} for names in found]


def legend(text: str) -> set[str]:
    """The labels that a legend names."""
    return set(re.findall(r"{{(\w+)}}", text))


def grows(expression: str) -> set[str]:
    """The metrics in it that are asked for how they grow."""
    return set(re.findall(r"\b(?:rate|increase)\((\w+)", expression))


def as_shown(expression: str) -> str:
    """The expression that Grafana asks with."""
    for ours, theirs in GRAFANA.items():
        expression = expression.replace(ours, theirs)
    return expression


def check(directory: Path, expressions: Iterable[str]) -> str:
    """What promtool has against them; blank when nothing."""
    rules = [{"record": f"test:{number}", "expr": as_shown(one)} for number, one in enumerate(expressions)]
    assert rules
    file = directory / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "test", "rules": rules}]}))
    return check_file(file)


def check_file(file: Path) -> str:
    """The same of a file of rules."""
    done = subprocess.run(
        [find("promtool"), "check", "rules", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr
