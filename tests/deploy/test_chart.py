"""What the chart renders: what Kubernetes' own schemas accept, with the files of conf/, locked down, in order."""

from __future__ import annotations

import re
from pathlib import Path

import helm
import kubernetes_validate
import pytest
import yaml
from deploy import pods, reference

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
VERSION = re.search(r"^PROJECT_VERSION \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
"""What `make image` calls the image."""
KUBES = ["1.25.0", "1.29.0", "1.34.0"]
OPERATORS = {"PodMonitor", "PrometheusRule", "ScaledObject"}
"""Kinds that are not Kubernetes' own."""
OWN_CONFIG = [name for name in pods.CI if name != "existing-configmap"]


@pytest.mark.parametrize("kube", KUBES)
@pytest.mark.parametrize("name", pods.CI)
def test_every_manifest_is_one_that_kubernetes_knows(name, kube):
    documents = pods.ci(name, kube)
    for document in documents:
        if document["kind"] not in OPERATORS:
            kubernetes_validate.validate(document, kube, strict=True)
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(set(names)) == len(names)


def test_a_field_that_kubernetes_does_not_know_would_be_found():
    """The original had this one, and `helm lint` took it."""
    (deployment,) = [one for one in pods.ci("stdout") if one["kind"] == "Deployment"]
    wrong = yaml.safe_load(yaml.safe_dump(deployment))
    wrong["spec"]["template"]["spec"]["securityContext"]["allowPrivilegeEscalation"] = False
    with pytest.raises(kubernetes_validate.ValidationError, match="allowPrivilegeEscalation"):
        kubernetes_validate.validate(wrong, helm.KUBE, strict=True)


@pytest.mark.parametrize("name", pods.CI)
def test_helm_finds_nothing_to_complain_of(name):
    assert helm.find().lint(pods.CHART, yaml.safe_load(pods.CI[name].read_text())) == []


@pytest.mark.parametrize("name", OWN_CONFIG)
def test_the_configuration_is_that_of_conf_but_for_one_line(name):
    fluentd = name.startswith("fluentd")
    main, directory = ("fluentd.conf", "fluentd.d") if fluentd else ("fluent-bit.conf", "output.d")
    documents = pods.ci(name)
    (config,) = [one for one in documents if one["metadata"]["name"].endswith("-config")]
    line = rf"\n(?:@include secrets.conf\n)?@include {directory}/(\S+)\n"
    (output,) = re.findall(line, config["data"][main], re.IGNORECASE)
    assert config["data"].keys() - {"secrets.conf"} == {main, output}
    assert without(line, config["data"][main]) == without(line, (CONF / main).read_text())
    if output != "custom.conf":
        assert config["data"][output] == (CONF / directory / output).read_text()
    (volume,) = [one for one in pods.pod(documents)["volumes"] if one["name"] == "config"]
    assert {item["key"] for item in volume["configMap"]["items"]} == set(config["data"])


def without(line, text):
    """The text without that line, which must be there once."""
    rest, count = re.subn(line, "\n", text, flags=re.IGNORECASE)
    assert count == 1
    return rest


def test_the_link_to_conf_is_one():
    """Not a copy that drifts."""
    link = pods.CHART / "conf"
    assert link.is_symlink()
    assert link.resolve() == CONF


@pytest.mark.parametrize("name", ["stdout", "everything", "fluentd-kafka"])
def test_a_packed_chart_renders_the_same(tmp_path, name):
    archive = helm.find().package(pods.CHART, tmp_path, version=VERSION)
    values = yaml.safe_load(pods.CI[name].read_text())
    assert helm.documents(helm.find().render(archive, values)) == list(pods.ci(name))


@pytest.mark.parametrize("file", reference.files(), ids=lambda path: path.name)
def test_readme_and_schema_are_made_of_the_values(file):
    assert file.read_text() == reference.files()[file], "run: python tests/deploy/reference.py"


def test_every_value_that_needs_it_is_described():
    described = reference.described((pods.CHART / "values.yaml").read_text())
    values = yaml.safe_load((pods.CHART / "values.yaml").read_text())

    def missing(value, path):
        where = ".".join(path)
        if where in described:
            return []
        if isinstance(value, dict) and value:
            return [found for name, below in value.items() for found in missing(below, [*path, name])]
        return [where]

    assert missing(values, []) == []


def test_versions_and_images_are_those_of_the_rest():
    chart = yaml.safe_load((pods.CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == VERSION
    values = yaml.safe_load((pods.CHART / "values.yaml").read_text())
    images = {one: "{repository}:{tag}".format(**values[one]["image"]) for one in ("fluentBit", "fluentd")}
    compose = (ROOT / "docker-compose.yml").read_text()
    assert f"image: {images['fluentBit']}\n" in compose
    assert f"FROM {images['fluentd']}\n" in (CONF / "Dockerfile.fluentd").read_text()


@pytest.mark.parametrize("name", pods.CI)
def test_it_is_locked_down(name):
    documents = pods.ci(name)
    spec = pods.pod(documents)
    test = pods.of_kind(documents, "Pod")["spec"]
    for each in (spec, test):
        assert each["automountServiceAccountToken"] is False
        assert each["enableServiceLinks"] is False
        context = each["securityContext"]
        assert context["runAsNonRoot"]
        assert context["runAsUser"] == context["fsGroup"] == 65532
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    flavor = "fluentd" if name.startswith("fluentd") else "fluent-bit"
    ours = [pods.container(documents, "consumer"), pods.container(documents, flavor), *test["containers"]]
    for each in ours:
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert each["resources"]["requests"]
        assert each["resources"]["limits"]["memory"]


@pytest.mark.parametrize(
    ("kube", "wanted", "native"),
    [
        ("1.25.0", "auto", False),
        ("1.28.9", "auto", False),
        ("1.29.0", "auto", True),
        ("v1.29.3-gke.100", "auto", True),
        ("1.34.0", "auto", True),
        ("1.34.0", False, False),
        ("1.29.0", True, True),
    ],
)
@pytest.mark.parametrize("flavor", ["fluent-bit", "fluentd"])
def test_the_log_shipper_outlives_the_consumer(kube, wanted, native, flavor):
    documents = pods.rendered({"flavor": flavor, "fluent": {"nativeSidecar": wanted}}, kube=kube)
    spec = pods.pod(documents)
    shipper = pods.container(documents, flavor)
    if native:
        assert [one["name"] for one in spec["initContainers"]] == [flavor]
        assert shipper["restartPolicy"] == "Always"
        assert "lifecycle" not in shipper
    else:
        assert "initContainers" not in spec
        assert [one["name"] for one in spec["containers"]] == ["consumer", flavor]
        waits = shipper["lifecycle"]["preStop"]["exec"]["command"]
        assert int(re.search(r"\d+", " ".join(waits))[0]) > 15


@pytest.mark.parametrize("flavor", ["fluent-bit", "fluentd"])
def test_the_time_to_stop_is_enough_for_both(flavor):
    (grace,) = re.findall(r"^ +Grace +(\d+)$", (CONF / "fluent-bit.conf").read_text(), re.MULTILINE)
    drains = {"fluent-bit": 2 * int(grace) + 1, "fluentd": 30}[flavor]
    documents = pods.rendered({"flavor": flavor, "consumer": {"shutdownTimeoutSeconds": 40}})
    assert pods.environ(documents, "consumer")["NATS_FLUENT_SHUTDOWN_TIMEOUT"] == "40s"
    assert pods.pod(documents)["terminationGracePeriodSeconds"] == 40 + drains + 10


@pytest.mark.parametrize("name", pods.CI)
def test_helm_test_asks_as_the_consumer_does(name):
    documents = pods.ci(name)
    (test,) = pods.of_kind(documents, "Pod")["spec"]["containers"]
    consumer = pods.container(documents, "consumer")
    assert test["image"] == consumer["image"]
    # As who it signs in, to where, and what it wants there.
    its = [
        one
        for one in consumer["env"]
        if re.match("NATS_FLUENT_(NATS|TOPICS|JETSTREAM)|KAFKA_EXPORTER", one["name"])
    ]
    own = [one for one in its if one["name"] in settings_of(name) or one["name"] == "NATS_FLUENT_NATS_NAME"]
    assert [one for one in its if one not in own] == [one for one in test["env"] if one["name"] != "TZ"]
    mounted = [one for one in consumer.get("volumeMounts", ()) if one["name"] == "nats"]
    assert test.get("volumeMounts", []) == mounted


def settings_of(name):
    """The variables that are made of `settings`."""
    given = yaml.safe_load(pods.CI[name].read_text()).get("settings", {})
    return {f"NATS_FLUENT_{section}_{name}".upper() for section in given for name in given[section]}


def test_an_autoscaler_and_replicas_do_not_fight():
    for name in ("autoscaling", "jetstream-keda", "everything"):
        documents = pods.ci(name)
        found = pods.workload(documents)
        assert "replicas" not in found["spec"]
        (scaler,) = [one for one in documents if one["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}]
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == (found["kind"], found["metadata"]["name"])


def test_workers_are_those_of_one_container():
    assert "NATS_FLUENT_WORKERS" not in pods.environ(pods.rendered({}), "consumer")
    found = pods.environ(pods.rendered({"consumer": {"workers": 3}}), "consumer")
    assert found["NATS_FLUENT_WORKERS"] == "3"


def test_keda_asks_for_the_lag_of_the_durable_consumer():
    (trigger,) = pods.of_kind(pods.ci("jetstream-keda"), "ScaledObject")["spec"]["triggers"]
    assert trigger == {
        "type": "nats-jetstream",
        "metadata": {
            "natsServerMonitoringEndpoint": "nats.nats.svc:8222",
            "account": "$G",
            "stream": "EVENTS",
            "consumer": "exporter",
            "lagThreshold": "20000",
            "useHttps": "false",
        },
    }


def test_each_pod_has_its_own_volume_or_the_one_has_the_claim():
    found = pods.workload(pods.ci("spool-persistence"))
    assert found["kind"] == "StatefulSet"
    (claim,) = found["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["annotations"] == {"team": "events"}
    mounts = {
        name: [
            mount
            for mount in pods.container(pods.ci("spool-persistence"), name)["volumeMounts"]
            if mount["name"] == "data"
        ]
        for name in ("consumer", "fluent-bit")
    }
    assert [(one["mountPath"], one["subPath"]) for (one,) in mounts.values()] == [
        ("/var/lib/nats-fluent", "spool"),
        ("/var/lib/fluent-bit", "fluent-bit"),
    ]
    found = pods.workload(pods.ci("existing-claim"))
    assert "volumeClaimTemplates" not in found["spec"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "records"}} in found["spec"]["template"][
        "spec"
    ]["volumes"]


def test_a_change_of_configuration_or_secret_rolls_the_pods():
    def sums(**values):
        documents = pods.rendered({"output": "kafka", **values})
        annotations = pods.workload(documents)["spec"]["template"]["metadata"]["annotations"]
        return annotations["checksum/config"], annotations["checksum/secrets"]

    one = {"brokers": ["a:1"], "securityProtocol": "sasl_ssl", "username": "u", "password": "p"}
    before = sums(kafka=one)
    assert sums(kafka=one, replicaCount=2) == before
    config, secrets = sums(kafka=one | {"password": "q"})
    assert (config == before[0], secrets == before[1]) == (True, False)
    config, secrets = sums(kafka=one | {"topic": "t"})
    assert (config == before[0], secrets == before[1]) == (False, True)

    def handlers(text):
        documents = pods.rendered({"handlers": {"mine": text}})
        return pods.workload(documents)["spec"]["template"]["metadata"]["annotations"]["checksum/handlers"]

    assert handlers("a = 1") == handlers("a = 1") != handlers("a = 2")


def test_no_password_is_in_the_environment_or_in_a_configmap():
    for name in ("kafka-inline", "everything", "original", "kafka-sasl", "nats-tls"):
        documents = pods.ci(name)
        seen = yaml.safe_dump([one for one in documents if one["kind"] != "Secret"])
        for secret in ("se$cret", "nats-pass", "bootstrap-pass"):
            assert secret not in seen
        for spec in (pods.pod(documents), pods.of_kind(documents, "Pod")["spec"]):
            for each in [*spec.get("initContainers", ()), *spec["containers"]]:
                keys = [
                    variable["name"]
                    for variable in each.get("env", ())
                    if "secretKeyRef" in variable.get("valueFrom", {})
                ]
                assert set(keys) <= {"NATS_FLUENT_NATS_USER"}


def test_the_original_s_values_do_what_they_did():
    documents = pods.ci("original")
    spec = pods.pod(documents)
    assert (
        pods.container(documents, "consumer")["image"] == f"registry.example/aporeto/kafka-exporter:{VERSION}"
    )
    assert pods.container(documents, "fluent-bit")["image"] == "fluent/fluent-bit:5.1.1"
    assert spec["imagePullSecrets"] == [{"name": "registry"}, {"name": "another"}]
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term == {"matchExpressions": [{"key": "type", "operator": "In", "values": ["service"]}]}


def test_an_upgrade_says_nothing_that_the_cluster_would_refuse():
    """What selects the pods, and the claims, cannot be changed: it must not depend on versions."""
    values = yaml.safe_load(pods.CI["everything"].read_text())
    spec = pods.workload(pods.rendered(values, upgrade=True))["spec"]
    assert spec["selector"] == {
        "matchLabels": {
            "app.kubernetes.io/name": "kafka-exporter",
            "app.kubernetes.io/instance": "kafka-exporter",
        }
    }
    assert VERSION not in yaml.safe_dump(spec["volumeClaimTemplates"])


def test_names_are_those_that_users_of_charts_expect():
    def name(release, **values):
        return helm.documents(helm.find().render(pods.CHART, values, name=release))[0]["metadata"]["name"]

    assert name("kafka-exporter") == "kafka-exporter-config"
    assert name("events") == "events-kafka-exporter-config"
    assert name("events", nameOverride="x") == "events-x-config"
    assert name("events", fullnameOverride="x") == "x-config"


@pytest.mark.parametrize(
    ("values", "sentences"),
    [
        (
            {},
            [
                "core NATS\n",
                "at most once",
                "Deployment kafka-exporter",
                "loses it with the pod",
                "has no registry",
            ],
        ),
        (
            {"output": "kafka", "kafka": {"brokers": ["k:9092"]}},
            ["to Kafka: weaker", "kafka at k:9092", "brokers are down"],
        ),
        (
            yaml.safe_load(pods.CI["fluentd-kafka"].read_text()),
            ["Fluentd to Kafka: at least once", "on a persistent volume"],
        ),
        (
            {"jetstream": {"stream": "EVENTS"}},
            ["JetStream stream EVENTS", "NATS to nats-fluent: at least once"],
        ),
        ({"spool": {"mode": "overflow"}}, ["goes to disk, up to 1GiB"]),
        ({"output": "file", "fluent": {"extraVolumeMounts": [{}]}}, ["lost without a word"]),
        ({"output": "loki"}, ["Fluent Bit to loki: kept"]),
    ],
)
def test_the_notes_say_what_was_installed_and_what_it_promises(values, sentences):
    notes = helm.find().notes(pods.CHART, values)
    assert [sentence for sentence in sentences if sentence not in notes] == []
    assert "<no value>" not in notes
