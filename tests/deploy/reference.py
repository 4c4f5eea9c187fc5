"""What is made of a chart's values.yaml: the table in its README, and its values.schema.json.

    python tests/deploy/reference.py     # writes both anew; a test fails when they are not what this writes

A comment that begins with "# --" describes the key below it. The schema takes its types from the defaults, and the
settings of nats-fluent from the program itself.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from nats_fluent.settings import CATALOGUE, MOST_WORKERS

CHART = Path(__file__).parents[2] / "charts" / "kafka-exporter"
BEGIN, END = "<!-- values: made by tests/deploy/reference.py -->", "<!-- /values -->"
KEY = re.compile(r"( *)(\w+):")

OURS = re.compile(
    r"topics|workers|transforms|nats\.(servers|user|password|ca_file|cert_file|key_file|key_password)(_file)?|jetstream\..*|spool\..*|log\..*"
    r"|fluent\.(url|shared_key|user|password|hostname|ca_file|cert_file|key_file|key_password)(_file)?|http\.listen|shutdown\.timeout"
)
"""Settings that the chart has values of its own for, or makes itself."""

TEXTS = {"type": "array", "items": {"type": "string"}}
MAP_OF_TEXT = {"type": "object", "additionalProperties": {"type": "string"}}
SCALARS = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
TEMPLATES = {"type": ["array", "string"]}
OBJECT_OR_NONE = {"type": ["object", "null"]}
AMOUNT = {"type": ["string", "number"]}
LEVELS = {"enum": ["", "trace", "debug", "info", "warn", "warning", "error"]}
FORMATS = {"enum": ["", "text", "json", "stackdriver"]}
OUTPUTS = sorted(path.stem for path in (CHART / "conf" / "output.d").glob("*.conf"))

ITEMS: dict[str, dict[str, Any]] = {
    "jetstream.filterSubjects": {"type": "string"},
    "kafka.topics": {"type": "string"},
    "topics": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["subject"]}]},
}
"""Of lists that are empty by default."""

EXACT: dict[str, dict[str, Any]] = {
    "flavor": {"enum": ["fluent-bit", "fluentd"]},
    "output": {"enum": [*(name for name in OUTPUTS if name != "kafka-single-topic"), "custom"]},
    "replicaCount": {"type": "integer", "minimum": 0},
    "consumer.workers": {"type": "integer", "minimum": 1, "maximum": MOST_WORKERS},
    "kafka.brokers": {
        "type": ["array", "string"],
        "items": {"type": "string", "pattern": r"^[^\s,:/]+:[0-9]+$|^\[[0-9a-fA-F:]+\]:[0-9]+$"},
    },
    "kafka.securityProtocol": {"enum": ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]},
    "kafka.saslMechanism": {"enum": ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]},
    "nats.servers": TEXTS | {"minItems": 1, "items": {"type": "string", "pattern": "^(nats|tls)://"}},
    "jetstream.stream": {"type": "string", "pattern": r"^[^\s.*>/\\]*$"},
    "jetstream.durable": {"type": "string", "pattern": r"^[^\s.*>/\\]+$"},
    "jetstream.create": {"enum": ["bind", "create", "reconcile"]},
    "jetstream.ackWait": AMOUNT,
    "jetstream.maxAckPending": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    "spool.mode": {"enum": ["off", "overflow", "always", False]},
    "spool.maxBytes": AMOUNT,
    "spool.fsync": {"enum": ["on", "off", True, False]},
    "log.level": LEVELS,
    "global.log.level": LEVELS,
    "log.format": FORMATS,
    "global.log.format": FORMATS,
    "fluent.nativeSidecar": {"enum": ["auto", True, False, "true", "false"]},
    "consumer.http.host": {"type": "string", "minLength": 1},
    "consumer.http.port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "terminationGracePeriodSeconds": {"type": ["integer", "null"], "minimum": 1},
    "outputEnv": SCALARS,
    "handlers": MAP_OF_TEXT | {"propertyNames": {"pattern": "^[A-Za-z0-9_-]+$"}},
    "outputSecret.variables": MAP_OF_TEXT,
    "emptyDir.sizeLimit": AMOUNT,
    "emptyDir.spoolSizeLimit": AMOUNT,
    "persistence.size": AMOUNT,
    "podDisruptionBudget.minAvailable": {"type": ["integer", "string", "null"]},
    "podDisruptionBudget.maxUnavailable": {"type": ["integer", "string", "null"]},
    "global.imagePullSecrets": {"type": "array", "items": {"type": ["string", "object"]}},
    "extraContainers": TEMPLATES,
    "extraInitContainers": TEMPLATES,
    "extraObjects": {"type": "array", "items": {"type": ["object", "string"]}},
}
"""The schemas of values, where their default does not tell enough."""

BY_NAME: dict[str, dict[str, Any]] = {
    "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "repository": {"type": "string", "minLength": 1},
    "tag": {"type": ["string", "number"]},
    "readinessProbe": OBJECT_OR_NONE,
    "livenessProbe": OBJECT_OR_NONE,
    "startupProbe": OBJECT_OR_NONE,
    "resources": OBJECT_OR_NONE,
    "securityContext": OBJECT_OR_NONE,
    "podSecurityContext": OBJECT_OR_NONE,
    "updateStrategy": OBJECT_OR_NONE,
    "retentionPolicy": OBJECT_OR_NONE,
    "affinity": OBJECT_OR_NONE,
    "dnsConfig": OBJECT_OR_NONE,
    "behavior": OBJECT_OR_NONE,
    "labels": MAP_OF_TEXT,
    "annotations": MAP_OF_TEXT,
    "commonLabels": MAP_OF_TEXT,
    "commonAnnotations": MAP_OF_TEXT,
    "podLabels": MAP_OF_TEXT,
    "podAnnotations": MAP_OF_TEXT,
    "ruleLabels": MAP_OF_TEXT,
    "nodeSelector": MAP_OF_TEXT,
}
BY_TYPE = {
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0},
    str: {"type": "string"},
}


def described(text: str) -> dict[str, str]:
    """The description of each key that has one, by its path, in the order of the file."""
    found: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        words = line.strip()
        if words.startswith("# -- "):
            comment = [words.removeprefix("# -- ")]
        elif words.startswith("#") and comment:
            comment.append(words.removeprefix("#").strip())
        elif match := KEY.match(line):
            indent = len(match[1])
            parents = [*(parent for parent in parents if parent[0] < indent), (indent, match[2])]
            if comment:
                found[".".join(name for _, name in parents)] = " ".join(comment)
            comment = []
        else:
            comment = []
    return found


def value_at(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = values[name]
    return values


def table(text: str) -> str:
    """The table of values, in Markdown."""
    values = yaml.safe_load(text)
    rows = ["| value | default | what |", "| --- | --- | --- |"]
    for path, what in described(text).items():
        default = json.dumps(value_at(values, path), ensure_ascii=False)
        rows.append(f"| `{path}` | `{default}` | {what} |".replace("`|`", "`\\|`"))
    return "\n".join(rows)


def schema(text: str) -> dict[str, Any]:
    """The schema, JSON Schema of draft 7, which Helm 3 and 4 read."""
    made = _object(yaml.safe_load(text), "", described(text))
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "kafka-exporter"} | made


def _object(values: dict[str, Any], path: str, descriptions: dict[str, str]) -> dict[str, Any]:
    properties = {}
    for name, value in values.items():
        where = f"{path}.{name}".lstrip(".")
        properties[name] = _value(value, where, descriptions)
        if what := descriptions.get(where):
            properties[name] = {"description": what} | properties[name]
    # The platform that the original was for, and parent charts, have more in `global` than is for this chart.
    return {
        "type": "object",
        "additionalProperties": path == "global" or path.startswith("global."),
        "properties": properties,
    }


def _value(value: Any, path: str, descriptions: dict[str, str]) -> dict[str, Any]:
    name = path.rpartition(".")[2]
    if found := EXACT.get(path) or BY_NAME.get(name):
        return found
    if path == "settings":
        return _settings()
    match value:
        case dict():
            return _object(value, path, descriptions)
        case []:
            items = ITEMS.get(path, {"type": "object"})
            return {"type": "array", "items": items}
        case list():
            kind = "object" if isinstance(value[0], dict) else "string"
            return {"type": "array", "items": {"type": kind}}
    return BY_TYPE[type(value)]


def _settings() -> dict[str, Any]:
    sections: dict[str, Any] = {}
    for option in CATALOGUE:
        if not OURS.fullmatch(option.key):
            section = sections.setdefault(
                option.section, {"type": "object", "additionalProperties": False, "properties": {}}
            )
            section["properties"][option.name] = {"description": option.doc} | _setting(option.kind.metavar)
    return {"type": "object", "additionalProperties": False, "properties": sections}


def _setting(metavar: str) -> dict[str, Any]:
    match metavar:
        case "COUNT":
            return {"type": "integer"}
        case "SIZE" | "DURATION":
            return AMOUNT
        case str() if "|" in metavar:
            names = metavar.split("|")
            # YAML makes true and false of on and off.
            return {
                "enum": [
                    *names,
                    *({"on": True, "off": False}[name] for name in names if name in {"on", "off"}),
                ]
            }
    return {"type": "string"}


def readme(text: str, values: str) -> str:
    """The README with the table of these values."""
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    assert found, f"{BEGIN} is missing"
    assert ended, f"{END} is missing"
    return f"{before}{BEGIN}\n{table(values)}\n{END}{after}"


def files() -> dict[Path, str]:
    """What each of the files should be."""
    values = (CHART / "values.yaml").read_text("utf-8")
    head = CHART / "README.md"
    return {
        head: readme(head.read_text("utf-8"), values),
        CHART / "values.schema.json": json.dumps(schema(values), indent=2, ensure_ascii=False) + "\n",
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, "utf-8")
