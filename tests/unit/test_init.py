"""`nats-fluent init`: what it writes for what it is told, and what it leaves alone."""

from __future__ import annotations

import os
import stat
import tomllib
from itertools import product
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from nats_fluent import cli, init, scaffold
from nats_fluent.composing import SHIPPERS
from nats_fluent.errors import SettingsError
from nats_fluent.scaffold import File, Variable
from nats_fluent.settings import DEFAULT_TOPICS, load

ROOT = Path(__file__).parents[2]
NEEDS = {
    "kafka": {"KAFKA_BROKERS": "kafka:9092"},
    "kafka-single-topic": {"KAFKA_BROKERS": "kafka:9092"},
    "s3": {"S3_BUCKET": "events"},
}
EVERY = [(shipper, output) for shipper in SHIPPERS for output in init.outputs(shipper)]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(*args, stdin=None, ask=False, monkeypatch=None):
    """Invoke `init` for the directory `out`; return what the settings and the compose file are, and what it said."""
    if ask:
        monkeypatch.setattr(init, "asked_on_a_terminal", lambda: True)
    result = CliRunner().invoke(cli.app, ["init", "out", *args], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def settings():
    os.chdir("out")
    return load(flags={}, environ={}, file=Path("nats-fluent.toml")).settings


def compose():
    return yaml.safe_load(Path("out/docker-compose.yml").read_text("utf-8"))


def mode(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


def pairs(values):
    return [part for name, value in values.items() for part in ("--set", f"{name}={value}")]


@pytest.mark.parametrize(("shipper", "output"), EVERY)
def test_every_output_of_each_log_shipper(shipper, output):
    told = NEEDS.get(output, {})
    written(f"--{shipper}", "--output", output, *pairs(told))
    services = compose()["services"]
    assert services.keys() == {"nats", "nats-fluent", shipper}
    environment = services["nats-fluent"]["environment"]
    assert environment["NATS_FLUENT_FLUENT_URL"] == f"forward://{shipper}:24224"
    assert services["nats-fluent"]["depends_on"].keys() == {"nats", shipper}
    # What is included is what was chosen, and there.
    main = Path(f"out/conf/{shipper}.conf").read_text("utf-8")
    (include,) = [line.split()[1] for line in main.splitlines() if line.lower().startswith("@include")]
    assert include == f"{SHIPPERS[shipper]}/{output}.conf"
    assert Path("out/conf", include).read_bytes() == (ROOT / "conf" / include).read_bytes()
    # All that the file names can be set in the file for it.
    known = scaffold.variables((ROOT / "conf" / include).read_text("utf-8"))
    assert bool(known) is (output != "stdout")
    if known:
        assert services[shipper]["env_file"] == [f"{shipper}.env"]
        assert mode(f"out/{shipper}.env") == 0o600
        lines = Path(f"out/{shipper}.env").read_text("utf-8").splitlines()
        assert all(f"{one.name}={told[one.name]}" in lines for one in known if one.name in told)
        assert all(f"#{one.name}=" in lines for one in known if one.name not in told)
    assert settings().nats.servers == ("nats://127.0.0.1:4222",)


@pytest.mark.parametrize("name", sorted(file.name for file in (ROOT / "conf" / "output.d").glob("*.conf")))
def test_the_variables_are_those_that_the_file_uses(name):
    text = (ROOT / "conf" / "output.d" / name).read_text("utf-8")
    used = {part.split("}")[0].split(":-")[0] for part in text.split("${")[1:]} - {"STORAGE_PATH"}
    known = {one.name for one in scaffold.variables(text)}
    # Credentials of AWS are read by its own library.
    assert {one for one in known if not one.startswith("AWS_") or one == "AWS_REGION"} == used


def test_the_package_brings_conf():
    assert init.CONF.is_symlink() or init.CONF.is_dir()
    theirs = {
        file.relative_to(init.CONF): file.read_bytes() for file in init.CONF.rglob("*") if file.is_file()
    }
    ours = ROOT / "conf"
    assert theirs == {file.relative_to(ours): file.read_bytes() for file in ours.rglob("*") if file.is_file()}


def test_settings_that_are_given_are_in_force_and_the_others_stay_comments():
    written(
        *("--servers", "nats.example,tls://[::1]:5222", "--subjects", "orders.>=orders,it's=its"),
        *("--stream", "ORDERS", "--jetstream-ack-wait", "10s", "--jetstream-max-ack-pending", "7"),
        *("--nats-name", 'say "ü"'),
    )
    document = tomllib.loads(Path("out/nats-fluent.toml").read_text("utf-8"))
    assert {name: table for name, table in document.items() if table} == {
        "topics": ["orders.>", "it's=its"],
        "nats": {"servers": ["nats://nats.example:4222", "tls://[::1]:5222"], "name": 'say "ü"'},
        "jetstream": {"stream": "ORDERS", "ack_wait": "10s", "max_ack_pending": 7},
        "fluent": {"url": ["forward://127.0.0.1:24224"]},
    }
    template = (ROOT / "conf/nats-fluent.toml").read_text("utf-8").splitlines()
    ours = Path("out/nats-fluent.toml").read_text("utf-8").splitlines()
    changed = [(old, new) for old, new in zip(template, ours, strict=True) if old != new]
    assert len(changed) == 7
    assert all(old[1:].partition(" = ")[0] == new.partition(" = ")[0] for old, new in changed)
    assert settings().topics[0].topic == "orders"


def test_topics_with_more_than_a_name_are_written_too():
    written("--subjects", '[{"subject": "a.>", "exclude": {"operation": ["update"]}}]')
    (topic,) = settings().topics
    assert topic.exclude.operation == ("update",)


def test_a_server_elsewhere_is_not_brought_along():
    written("--servers", "nats.example")
    services = compose()["services"]
    assert services.keys() == {"nats-fluent", "fluent-bit"}
    assert "NATS_FLUENT_NATS_SERVERS" not in services["nats-fluent"]["environment"]


@pytest.mark.parametrize(("server", "shipper"), list(product(["localhost", "127.0.0.1", "[::1]"], SHIPPERS)))
def test_a_server_on_this_machine_is_reached_by_its_network(server, shipper):
    written("--servers", server, f"--{shipper}")
    services = compose()["services"]
    for service in services.values():
        assert service["network_mode"] == "host"
        assert not {"environment", "ports"} & service.keys()


def test_its_own_server_gets_the_stream_first():
    written("--stream", "A$", "--subjects", "a.>,b$=b")
    file = compose()
    services = file["services"]
    assert "--jetstream" in services["nats"]["command"]
    assert file["volumes"].keys() == {"nats", "fluent-bit"}
    assert services["nats-fluent"]["depends_on"]["stream"] == {"condition": "service_completed_successfully"}
    (program,) = services["stream"]["command"]
    assert 'add_stream(name="A$$", subjects=["a.>", "b$$"])' in program
    compile(program, "stream", "exec")


def test_the_stream_has_the_subjects_that_are_consumed():
    written("--stream", "A", "--jetstream-filter-subjects", "a.x")
    assert 'subjects=["a.x"]' in compose()["services"]["stream"]["command"][0]


def test_kafka_knows_the_topics():
    written("--output", "kafka", "--subjects", "a.>,b.>=c", *pairs(NEEDS["kafka"]))
    assert "\nKAFKA_TOPICS=a,c\n" in Path("out/fluent-bit.env").read_text()
    written(
        "--force", "--output", "kafka", "--subjects", "a.>", *pairs(NEEDS["kafka"] | {"KAFKA_TOPICS": "x y"})
    )
    assert "\nKAFKA_TOPICS='x y'\n" in Path("out/fluent-bit.env").read_text()


def test_files_of_the_settings_are_mounted_for_who_may_read_them():
    Path("out").mkdir()
    Path("out/inside").write_text("hunter2\n")
    Path("ca.pem").touch()
    written(
        *("--servers", "nats.example", "--nats-user", "joe", "--nats-password-file", "out/inside"),
        *("--nats-ca-file", "ca.pem"),
    )
    service = compose()["services"]["nats-fluent"]
    mounts = [(one["source"], one["target"]) for one in service["volumes"]]
    outside = str(Path("ca.pem").resolve())
    assert sorted(mounts[1:]) == [("./inside", "/etc/nats-fluent/inside"), (outside, outside)]
    assert all(one["read_only"] for one in service["volumes"])
    assert service["user"] == f"{os.getuid()}:{os.getgid()}"
    assert settings().nats.password.get() == "hunter2"


def test_it_asks_what_it_was_not_told(monkeypatch):
    answers = [
        "nats.example:x",
        "nats.example",
        "joe",
        "hun'ter$2",
        "a.>=a",
        "json",
        "",
        "fluent-bit",
        "kafak",
        "kafka",
        "k:9092",
    ]
    result = written(stdin="\n".join([*answers, ""]), ask=True, monkeypatch=monkeypatch)
    assert "'nats://nats.example:x' is not an address" in result.stderr
    assert "write one of" in result.stderr
    assert "hun'ter$2" not in result.output
    secret = Path("out/nats-password")
    assert (secret.read_text(), mode(secret)) == ("hun'ter$2\n", 0o600)
    others = [file for file in Path("out").rglob("*") if file.is_file() and file != secret]
    assert all("hun'ter" not in file.read_text("utf-8") for file in others)
    assert "\nKAFKA_BROKERS=k:9092\n" in Path("out/fluent-bit.env").read_text()
    assert {
        "type": "bind",
        "source": "./nats-password",
        "target": "/etc/nats-fluent/nats-password",
        "read_only": True,
    } in (compose()["services"]["nats-fluent"]["volumes"])
    found = settings()
    assert (found.nats.user, found.nats.password.get()) == ("joe", "hun'ter$2")
    assert ([topic.topic for topic in found.topics], found.record.format) == (["a"], "json")


def test_every_question_has_a_default(monkeypatch):
    written(stdin="\n" * 5, ask=True, monkeypatch=monkeypatch)
    assert compose()["services"].keys() == {"nats", "nats-fluent", "fluent-bit"}
    assert [topic.subject for topic in settings().topics] == list(DEFAULT_TOPICS)


def test_it_asks_nothing_that_was_given_or_when_told_not_to(monkeypatch):
    told = [
        "--servers",
        "a",
        "--subjects",
        "b",
        "--stream",
        "C",
        "--fluentd",
        "--output",
        "kafka",
        *pairs(NEEDS["kafka"]),
    ]
    assert "?" not in written(*told, ask=True, monkeypatch=monkeypatch).stderr
    assert written("--force", "--defaults", ask=True, monkeypatch=monkeypatch).stderr == ""


def test_who_goes_away_while_asked_leaves_nothing(monkeypatch):
    result = written(stdin="nats.example\n", ask=True, monkeypatch=monkeypatch)
    assert result.exit_code == 1
    assert not Path("out").exists()


def test_nothing_is_overwritten_but_by_force():
    Path("out").mkdir()
    Path("out/docker-compose.yml").write_text("mine")
    with pytest.raises(
        SettingsError, match=r"^out/docker-compose\.yml is there already; give another directory, or"
    ):
        written()
    assert [file.name for file in Path("out").iterdir()] == ["docker-compose.yml"]
    assert Path("out/docker-compose.yml").read_text() == "mine"
    Path("elsewhere").write_text("theirs")
    Path("out/nats-fluent.toml").symlink_to("../elsewhere")
    written("--force")
    assert compose()
    # Not through a link.
    assert Path("elsewhere").read_text() == "theirs"


def test_what_cannot_be_written_is_said():
    Path("out").write_text("a file")
    with pytest.raises(SettingsError, match=r"^out/nats-fluent\.toml: cannot be written \("):
        written()


def test_modes_do_not_depend_on_the_umask():
    before = os.umask(0o077)
    try:
        written("--output", "http")
    finally:
        os.umask(before)
    assert (mode("out/nats-fluent.toml"), mode("out/conf/output.d/http.conf")) == (0o644, 0o644)
    assert (mode("out/conf"), mode("out/conf/output.d"), mode("out/fluent-bit.env")) == (0o755, 0o755, 0o600)


def test_it_says_the_next_commands():
    said = written("--output", "http").stdout
    assert "\n  cd out && docker compose up -d && docker compose logs -f fluent-bit\n" in said
    assert (
        "set -a && . ./fluent-bit.env && set +a && STORAGE_PATH=$PWD/storage fluent-bit -c conf/fluent-bit.conf"
        in said
    )
    assert "fluent-bit.env is for you alone (mode 0600)" in said
    assert "cd " not in CliRunner().invoke(cli.app, ["init"]).stdout


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--output", "kafak"], "--output kafak: fluent-bit has no such output; did you mean kafka?"),
        (["--output", "zz", "--fluentd"], "--output zz: fluentd has no such output; it has kafka, stdout."),
        (["--output", "s3"], "the output s3 needs S3_BUCKET; give --set S3_BUCKET=VALUE."),
        (["--set", "X"], "--set X: is not NAME=VALUE, as in --set KAFKA_BROKERS=kafka:9092."),
        (["--set", "X=1"], "--set X: the output stdout has no such variable; leave it out."),
        (
            ["--output", "file", "--set", "X=1"],
            "--set X: the output file has no such variable; it has FILE_PATH.",
        ),
        (
            ["--output", "file", "--set", "FILE_PAHT=1"],
            "--set FILE_PAHT: the output file has no such variable; did you mean FILE_PATH?",
        ),
        (
            ["--output", "loki", "--set", "LOKI_TOKEN=hunter2"],
            "--set LOKI_TOKEN: others on this machine can see a flag; write it into fluent-bit.env afterwards.",
        ),
        (
            ["--output", "file", "--set", "FILE_PATH=it's"],
            "--set FILE_PATH: has a quote or what cannot be printed; write it into fluent-bit.env.",
        ),
        (
            ["--nats-ca-file", "/dev/null"],
            "nats.ca_file is of no use to the NATS server of the compose file; give --servers.",
        ),
        (
            ["--servers", "http://a"],
            "flag --nats-servers: 'http://a' is not an address; write nats://host:4222, ",
        ),
        (
            ["--nats-password", "hunter2"],
            "flag --nats-password: others on this machine can see a flag; give ",
        ),
    ],
)
def test_what_cannot_be_is_a_sentence_and_nothing_is_written(args, sentence):
    with pytest.raises(SettingsError) as refused:
        written(*args)
    assert refused.value.problems[0].startswith(sentence)
    assert not Path("out").exists()


def test_secrets_and_what_is_needed_are_told_by_name_and_sentence():
    assert [
        name for name in ("A_PASSWORD", "A_API_KEY", "A_TOKEN", "A_HEADER") if not Variable(name, "").secret
    ] == []
    assert not any(Variable(name, "").secret for name in ("A_KEY_FILE", "AWS_ACCESS_KEY_ID", "KAFKA_BROKERS"))
    assert not File("x").private


def test_a_head_without_variables():
    assert scaffold.variables("# Records.\n") == []
    assert scaffold.variables("# x\n# Environment:\n#     AA  b\n#         c\n#     DD\n") == [
        Variable("AA", "b c"),
        Variable("DD", ""),
    ]
