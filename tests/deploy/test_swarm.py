"""The stack that the chart renders, as Docker and Fluent Bit read it, and the one without Helm held to it."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
from pathlib import Path

import engine
import helm
import pytest
import yaml
from commands import COMMAND, ENVIRON
from programs import FluentBit, find, free_port, started

from nats_fluent.healthcheck import LISTEN
from nats_fluent.sections import ShutdownSettings

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
CHART = ROOT / "swarm" / "swarm-aporeto-kafka-exporter"
PLAIN = ROOT / "swarm" / "docker-stack.yml"
EXAMPLES = {path.name.removesuffix("-values.yaml"): path for path in CHART.glob("ci/*-values.yaml")}
CONSUMER, SHIPPER = "kafka-exporter", "kafka-exporter-log-shipper"


def values(example):
    return yaml.safe_load(EXAMPLES[example].read_text())


def rendered(given, **more):
    (text,) = helm.find().render(CHART, given | more).values()
    return text


def stack(given):
    return engine.stack(rendered(given))


def objects(given):
    """What there is to make, by kind and name."""
    found = yaml.safe_load(rendered(given, show="objects"))
    return {tuple(key.split(".", 1)): base64.b64decode(text) for key, text in found.items()}


def named(read):
    """The names of the configs and secrets that a stack needs, each with its kind."""
    return {
        (kind, one["name"])
        for kind, key in (("config", "configs"), ("secret", "secrets"))
        for one in read[key].values()
    }


def files(given):
    """The files of Fluent Bit, by their path under /fluent-bit/etc."""
    read, made = stack(given), objects(given)
    return {
        mount["target"].removeprefix("/fluent-bit/etc/"): made[
            "config", read["configs"][mount["source"]]["name"]
        ]
        for mount in read["services"][SHIPPER]["configs"]
    }


def existing(given):
    """Every name that the values say is there already."""
    return set(re.findall(r"existingSecret: ([\w-]+)", yaml.safe_dump(given))) | {
        name for name in given.get("existingSecrets", {}).values() if name
    }


def secret_values(given):
    """Every value that must not be seen."""
    secret = re.compile(r"(password|pass|key|sharedKey|keyPassword|value)$")
    stems = [
        (name, given[name]) for name in given if name not in {"existingSecrets", "outputEnv", "environment"}
    ]
    while stems:
        name, value = stems.pop()
        if isinstance(value, dict):
            stems += value.items()
        elif isinstance(value, str) and secret.search(name):
            yield value


@pytest.mark.parametrize("example", EXAMPLES)
def test_docker_takes_the_stack_and_nothing_of_it_is_ignored(example):
    read = stack(values(example))
    assert read["services"].keys() == {CONSUMER, SHIPPER}
    for service in read["services"].values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["deploy"]["update_config"]["failure_action"] == "rollback"


@pytest.mark.parametrize("example", EXAMPLES)
def test_what_the_stack_needs_is_there_or_made(example):
    given = values(example)
    made = objects(given)
    assert named(stack(given)) == made.keys() | {("secret", name) for name in existing(given)}
    assert all(re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", name) for _, name in made)


@pytest.mark.parametrize("example", EXAMPLES)
def test_no_secret_is_in_the_stack(example):
    given = values(example)
    text = rendered(given)
    # The original's values are the names of what they stand for.
    hidden = set(secret_values(given)) - stack(given)["secrets"].keys()
    assert hidden or example == "existing-secrets"
    assert not [value for value in hidden if value in text]


@pytest.mark.parametrize("example", EXAMPLES)
def test_fluent_bit_takes_its_files(tmp_path, example):
    given = values(example)
    environ = stack(given)["services"][SHIPPER]["environment"]
    for path, content in files(given).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    done = subprocess.run(
        [find("fluent-bit"), "-c", str(tmp_path / "fluent-bit.conf"), "--dry-run"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": "/usr/bin:/bin"} | environ,
    )
    assert "configuration test is successful" in done.stdout + done.stderr, done.stderr


def test_the_files_are_those_of_conf():
    found = files(values("kafka"))
    assert found["nats-fluent.conf"] == (CONF / "fluent-bit.conf").read_bytes()
    assert found["output.d/stdout.conf"] == (CONF / "output.d" / "kafka.conf").read_bytes()
    assert b"@INCLUDE output.d/stdout.conf" in found["nats-fluent.conf"]


def test_a_name_says_what_is_in_it():
    given = values("kafka")
    for (kind, name), content in objects(given).items():
        assert name.endswith("-" + hashlib.sha256(content).hexdigest()[:8]), (kind, name)
    other = given | {"nats": given["nats"] | {"password": "another"}}
    changed = named(stack(given)) ^ named(stack(other))
    assert {name.rpartition("-")[0] for _, name in changed} == {"nats-pass"}


def test_the_certificates_have_the_names_and_the_form_that_the_platform_gives_them():
    """Their names are made of the value as it is given; a value in base64 is made a secret of what it stands for."""
    given = values("original")
    pem = "-----BEGIN CERTIFICATE-----\n"
    encoded = base64.b64encode(pem.encode()).decode()
    given["global"]["certs"]["ca"]["system"]["chain"] = encoded
    name = f"ca-chain-system-{hashlib.sha256(encoded.encode()).hexdigest()[:8]}"
    assert objects(given)["secret", name].decode() == pem


def test_the_shared_key_comes_from_the_private_key_when_none_is_given():
    given = values("original")
    (first,) = [text for (_, name), text in objects(given).items() if name.startswith("forward-shared-key")]
    given["global"]["certs"]["bootstrap"]["key"] = "another"
    (second,) = [text for (_, name), text in objects(given).items() if name.startswith("forward-shared-key")]
    assert first != second
    assert re.fullmatch("[0-9a-f]{64}", first.decode())


def test_a_dollar_and_a_million_stay_what_they_are():
    given = values("everything")
    given["outputEnv"] |= {"BYTES": 2_000_000, "SHARE": 0.5}
    environ = stack(given)["services"][SHIPPER]["environment"]
    assert (environ["BYTES"], environ["SHARE"], environ["SWITCH"]) == ("2000000", "0.5", "true")
    assert environ["MORE"].replace("$$", "$") == "a $variable"


def test_fluent_bit_is_on_the_networks_that_it_is_to_reach():
    """And on no other: that of NATS only if it is among them."""
    given = values("everything")
    backbone = given["global"]["networking"]["backbone"]["name"]
    for names in ([], ["kafka"], [backbone, "forward"]):
        read = stack(given | {"fluentBit": {"networks": names}})
        networks = {read["networks"][key].get("name", key) for key in read["services"][SHIPPER]["networks"]}
        assert networks == {"forward", *names}
        assert read["services"][CONSUMER]["networks"].keys() == {"backbone", "forward"}
        assert read["networks"]["backbone"]["name"] == backbone


@pytest.mark.parametrize("name", ["Token", "Nkey", "Creds"])
def test_what_is_in_place_of_a_password_is_a_file_too(name):
    given = values("existing-secrets")
    del given["nats"]["user"], given["existingSecrets"]["natsPassword"]
    given["existingSecrets"][f"nats{name}"] = "mine"
    read = stack(given)
    consumer = read["services"][CONSUMER]
    path = consumer["environment"][f"NATS_FLUENT_NATS_{name.upper()}_FILE"]
    (secret,) = [each["source"] for each in consumer["secrets"] if each["target"] == path]
    assert read["secrets"][secret]["name"] == "mine"


def test_a_spool_is_for_one_consumer_at_a_time():
    read = stack(values("spool"))
    consumer = read["services"][CONSUMER]
    (volume,) = consumer["volumes"]
    assert volume["target"] == consumer["environment"]["NATS_FLUENT_SPOOL_DIR"]
    assert consumer["environment"]["NATS_FLUENT_SPOOL_MAX_BYTES"] == "2000000000"
    assert volume["source"] in read["volumes"]
    orders = [consumer["deploy"][key]["order"] for key in ("update_config", "rollback_config")]
    assert orders == ["stop-first", "stop-first"]


def test_every_service_has_the_time_that_it_takes_to_stop():
    grace = int(re.search(r"^ +Grace +(\d+)$", (CONF / "fluent-bit.conf").read_text(), re.MULTILINE).group(1))
    for read, timeout in (
        (stack(values("everything")), values("everything")["shutdownSeconds"]),
        (stack(values("stdout")), ShutdownSettings().timeout),
        (engine.stack_of(PLAIN), ShutdownSettings().timeout),
    ):
        stop = {
            name: int(one["stop_grace_period"].removesuffix("s")) for name, one in read["services"].items()
        }
        assert stop[CONSUMER] == timeout + 5
        # Once for its chunks, once for what its Kafka client has queued, and ten for chunks that find no room there.
        assert stop[SHIPPER] > 2 * grace + 10


@pytest.mark.parametrize("read", [lambda: stack(values("stdout")), lambda: engine.stack_of(PLAIN)])
def test_a_consumer_is_started_when_it_was_ready_and_ended_when_it_stands_still(read):
    """And for nothing else: tests/integration/test_healthcheck.py has what the check asks."""
    consumer = read()["services"][CONSUMER]
    check = consumer["healthcheck"]
    assert check["test"] == ["CMD", "python", "-m", "nats_fluent.healthcheck", "/healthz"]
    assert check["retries"] == 6
    assert check["start_period"] == "8760h0m0s"
    assert consumer["environment"][LISTEN] == "0.0.0.0:9464"


def test_the_stack_without_helm_says_the_same():
    ours, plain = stack(values("stdout")), engine.stack_of(PLAIN)
    for name in (CONSUMER, SHIPPER):
        one, other = ours["services"][name], plain["services"][name]
        same = one.keys() - {"labels", "environment", "configs", "secrets", "deploy"}
        assert same >= {"image", "read_only", "user" if name == CONSUMER else "volumes", "networks"}
        assert {key: one[key] for key in same} == {key: other[key] for key in same}
        assert other["environment"].items() - {("KAFKA_BROKERS", "")} <= one["environment"].items()
        assert one["deploy"]["update_config"].items() >= other["deploy"]["update_config"].items()
        assert one["deploy"].get("endpoint_mode") == other["deploy"].get("endpoint_mode")
        targets = [{mount["target"] for mount in service["secrets"]} for service in (one, other)]
        assert targets[0] == targets[1]
    assert (ours["networks"], ours["volumes"]) == (plain["networks"], plain["volumes"])
    first = (ROOT / "swarm" / "fluent-bit.conf").read_text().splitlines()
    theirs = files(values("stdout"))["fluent-bit.conf"].decode().splitlines()
    assert [line for line in first if line[0] != "#"] == [line for line in theirs if line[0] != "#"]


def test_who_does_not_know_the_shared_key_is_turned_away(tmp_path):
    """conf/fluent-bit.conf, as the stack has it and as everything else has it."""
    (tmp_path / "key").write_text("sesame\n")
    for path, content in files(values("stdout")).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        text = content.decode()
        (tmp_path / path).write_text(text.replace("/run/secrets/forward-shared-key", f"{tmp_path}/key"))
    assert str(tmp_path) in (tmp_path / "fluent-bit.conf").read_text()
    for conf, knows in ((tmp_path / "fluent-bit.conf", "sesame"), (tmp_path / "nats-fluent.conf", "")):
        port = free_port()
        environ = ENVIRON | {"FORWARD_PORT": str(port), "HTTP_PORT": str(free_port())}
        environ |= {"STORAGE_PATH": str(tmp_path / "storage")}
        with started(FluentBit(tmp_path, conf=conf, port=port, env=environ)):
            for key in ("", "sesame", "simsim"):
                within = (
                    "30" if key == knows else "2"
                )  # one that waits for what does not come waits that long
                assert reaches(port, key, within) == (key == knows), (conf, key)


def reaches(port, key, within):
    """Whether `nats-fluent check` says that the log shipper answers within so many seconds."""
    done = subprocess.run(
        [*COMMAND, "check", "--connect", "--timeout", within],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=ENVIRON
        | {"NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{port}", "NATS_FLUENT_FLUENT_SHARED_KEY": key}
        | {"NATS_FLUENT_NATS_SERVERS": f"nats://127.0.0.1:{free_port()}"},
    )
    return f"\nok      forward://127.0.0.1:{port}" in done.stdout


def test_the_handlers_of_the_documentation_go_with_the_stack(tmp_path):
    shown = (ROOT / "docs" / "transforms.md").read_text()
    (text,) = re.findall(r"```yaml\n(# handlers\.yml.*?)```", shown, re.DOTALL)
    (tmp_path / "handlers.yml").write_text(text)
    read = engine.stack_of(PLAIN, tmp_path / "handlers.yml")
    consumer = read["services"][CONSUMER]
    (mounted,) = consumer["configs"]
    assert mounted["target"] == consumer["environment"]["NATS_FLUENT_TRANSFORMS"]
    assert read["configs"][mounted["source"]]["file"] == str(ROOT / "swarm" / "my.py")
