"""How a release is watched: probes, ports, what Prometheus scrapes, and the alerts of deploy/ for its pods alone."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import helm
import pytest
import yaml
from deploy import expressions, pods

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus-rules.yaml"
ON = {"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}
PODS = '{namespace="events", pod=~"kafka-exporter-.+"}'


@pytest.mark.parametrize("name", pods.CI)
def test_the_consumer_is_probed_over_http_at_the_port_where_it_listens(name):
    documents = pods.ci(name)
    consumer = pods.container(documents, "consumer")
    (port,) = consumer["ports"]
    assert port["name"] == "metrics"
    assert (
        pods.environ(documents, "consumer")["NATS_FLUENT_HTTP_LISTEN"] == f"0.0.0.0:{port['containerPort']}"
    )
    paths = {probe: consumer[probe]["httpGet"] for probe in consumer if probe.endswith("Probe")}
    assert paths == {
        "startupProbe": {"path": "/livez", "port": "metrics"},
        "livenessProbe": {"path": "/livez", "port": "metrics"},
        "readinessProbe": {"path": "/readyz", "port": "metrics"},
    }


def test_a_probe_can_be_another_or_none():
    probes = {"livenessProbe": None, "readinessProbe": {"exec": {"command": ["nats-fluent", "check"]}}}
    consumer = pods.container(pods.rendered({"consumer": probes}), "consumer")
    assert "livenessProbe" not in consumer
    assert "httpGet" not in consumer["readinessProbe"]
    assert consumer["readinessProbe"]["exec"] == {"command": ["nats-fluent", "check"]}


def test_another_port_is_another_everywhere():
    values = ON | {"consumer": {"http": {"host": "[::]", "port": 9999}}, "persistence": {"enabled": True}}
    documents = pods.rendered(values | {"networkPolicy": {"enabled": True}})
    assert pods.environ(documents, "consumer")["NATS_FLUENT_HTTP_LISTEN"] == "[::]:9999"
    assert pods.container(documents, "consumer")["ports"] == [{"name": "metrics", "containerPort": 9999}]
    ports = pods.of_kind(documents, "Service")["spec"]["ports"]
    assert {"name": "metrics", "port": 9999, "targetPort": "metrics"} in ports
    (rule,) = pods.of_kind(documents, "NetworkPolicy")["spec"]["ingress"]
    assert {port["port"] for port in rule["ports"]} == {"metrics", "fluent-http"}


@pytest.mark.parametrize("flavor", pods.FLAVORS)
def test_prometheus_scrapes_the_consumer_and_fluent_bit(flavor):
    documents = pods.rendered(ON | {"flavor": flavor})
    endpoints = pods.of_kind(documents, "PodMonitor")["spec"]["podMetricsEndpoints"]
    paths = {one["port"]: one["path"] for one in endpoints}
    fluent_bit = {"fluent-http": "/api/v2/metrics/prometheus"} if flavor == "fluent-bit" else {}
    assert paths == {"metrics": "/metrics"} | fluent_bit
    names = [one["name"] for one in pods.of_kind(documents, "PrometheusRule")["spec"]["groups"]]
    assert names == ["kafka-exporter.nats-fluent"] + ["kafka-exporter.log-shipper"] * bool(fluent_bit)


def test_what_a_value_says_of_scrapes_is_for_both():
    endpoints = pods.of_kind(pods.ci("everything"), "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert [one["relabelings"] for one in endpoints] == [[{"action": "labeldrop", "regex": "x"}]] * 2


def test_the_alerts_are_those_of_deploy_for_the_pods_of_the_release():
    documents = pods.rendered(ON)
    first = pods.of_kind(documents, "PrometheusRule")["spec"]["groups"][0]
    source = yaml.safe_load(RULES.read_text("utf-8"))["groups"][0]
    assert first["name"] == f"kafka-exporter.{source['name']}"
    for rule in first["rules"]:
        selections = re.findall(r"nats_fluent_\w+({[^}]*})?", rule["expr"])
        assert set(selections) == {PODS}
        rule["expr"] = rule["expr"].replace(PODS, "").replace("(namespace, pod", "(job, instance")
        for name, text in rule["annotations"].items():
            rule["annotations"][name] = text.replace("$labels.pod", "$labels.instance")
    assert first["rules"] == source["rules"]


def test_every_alert_has_the_labels_that_are_asked_for_and_those_of_users_are_there():
    groups = pods.of_kind(pods.ci("everything"), "PrometheusRule")["spec"]["groups"]
    assert groups[-1] == {"name": "exporter.extra", "rules": [{"alert": "Mine", "expr": "vector(1)"}]}
    rules = [rule for group in groups[:-1] for rule in group["rules"]]
    assert {rule["labels"]["team"] for rule in rules} == {"events"}
    assert {rule["labels"]["severity"] for rule in rules} == {"critical", "warning"}


@pytest.mark.parametrize("name", ["everything", "fluentd"])
def test_promtool_takes_the_alerts(tmp_path, name):
    values = yaml.safe_load(pods.CI[name].read_text("utf-8"))
    spec = pods.of_kind(pods.rendered(values | ON), "PrometheusRule")["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    assert expressions.check_file(tmp_path / "rules.yaml") == ""


def test_the_link_to_deploy_is_one_and_its_tests_stay_here(tmp_path):
    """Not a copy that drifts."""
    link = pods.CHART / "deploy"
    assert link.is_symlink()
    assert link.resolve() == RULES.parent
    archive = helm.find().package(pods.CHART, tmp_path, version="1.0.0")
    with tarfile.open(archive) as tar:
        packed = {Path(name).name for name in tar.getnames() if "/deploy/" in name}
    assert packed == {"grafana-dashboard.json", "prometheus-rules.yaml"}
