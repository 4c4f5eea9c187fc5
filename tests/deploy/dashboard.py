"""What deploy/grafana-dashboard.json is made of; the chart has the same file.

    PYTHONPATH=tests python -m deploy.dashboard     # writes it anew; a test fails when it is not what this writes

It is for pods that a PodMonitor finds, and for a Prometheus that knows nothing of namespaces and pods: each selection
takes everything until one is chosen, and what has no such label, too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.dashboard_panels import ROWS, Panel

FILE = Path(__file__).parents[2] / "deploy" / "grafana-dashboard.json"
WIDTH, HEIGHT = 24, 8
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

STATES = {
    "color": {"mode": "thresholds"},
    "mappings": [
        {"type": "value", "options": {"0": {"text": "no", "index": 0}, "1": {"text": "yes", "index": 1}}}
    ],
    "thresholds": {
        "mode": "absolute",
        "steps": [{"color": "red", "value": None}, {"color": "green", "value": 1}],
    },
}
BAD = {
    "color": {"mode": "thresholds"},
    "thresholds": {
        "mode": "absolute",
        "steps": [{"color": "green", "value": None}, {"color": "red", "value": 1}],
    },
}
PLAIN = {
    "color": {"mode": "thresholds"},
    "thresholds": {"mode": "absolute", "steps": [{"color": "blue", "value": None}]},
}
LINES = {"custom": {"fillOpacity": 10, "showPoints": "never"}, "min": 0}
TOOLTIP = {"mode": "multi", "sort": "desc"}
OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {"colorMode": "value", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}},
    "state-timeline": {"showValue": "never", "mergeValues": True, "tooltip": TOOLTIP},
    "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": TOOLTIP},
}


def variable(name: str, label: str, query: str) -> dict[str, Any]:
    """One that takes everything, and what has no such label, until something is chosen."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def panel(number: int, made: Panel, x: int, y: int) -> dict[str, Any]:
    fields: dict[str, dict[str, Any]] = {"state-timeline": STATES, "timeseries": LINES}
    default = PLAIN if made.title == "Consumers" else BAD
    single = made.kind == "stat"
    return {
        "id": number,
        "type": made.kind,
        "title": made.title,
        "description": made.description,
        "datasource": DATASOURCE,
        "gridPos": {"h": HEIGHT // 2 if single else HEIGHT, "w": made.width, "x": x, "y": y},
        "fieldConfig": {"defaults": {"unit": made.unit, **fields.get(made.kind, default)}, "overrides": []},
        "options": OPTIONS[made.kind],
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": DATASOURCE, "expr": expr, "legendFormat": legend}
            | ({"instant": True} if single else {})
            for at, (expr, legend) in enumerate(made.lines)
        ],
    }


def panels() -> list[dict[str, Any]]:
    """Rows one below the other, their panels from left to right."""
    found: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        at = {"h": 1, "w": WIDTH, "x": 0, "y": y}
        found.append(
            {
                "id": len(found) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": at,
                "panels": [],
            }
        )
        x, y, tallest = 0, y + 1, 0
        for made in row:
            if x + made.width > WIDTH:
                x, y = 0, y + tallest
            found.append(panel(len(found) + 1, made, x, y))
            x, tallest = x + made.width, found[-1]["gridPos"]["h"]
        y += tallest
    return found


def dashboard() -> dict[str, Any]:
    """The dashboard, in the JSON that Grafana imports."""
    both = '{__name__=~"nats_fluent_build_info|fluentbit_input_records_total"'
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
    }
    chosen = 'namespace=~"$namespace"'
    return {
        "uid": "nats-fluent",
        "title": "nats-fluent",
        "description": "From NATS to the log shipper, and what Fluent Bit does with it.",
        "tags": ["nats", "fluent-bit"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                source,
                variable("namespace", "Namespace", f"label_values({both}}}, namespace)"),
                variable("job", "Job", f"label_values({both}, {chosen}}}, job)"),
                variable("pod", "Pod", f'label_values({both}, {chosen}, job=~"$job"}}, pod)'),
            ]
        },
        "annotations": {"list": []},
        "panels": panels(),
    }


def text() -> str:
    """What the file should be."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
