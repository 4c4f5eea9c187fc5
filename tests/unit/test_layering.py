from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loading import loaded, problems

from nats_fluent.errors import SettingsError
from nats_fluent.settings import CATALOGUE, Settings
from nats_fluent.topics import Topic


@pytest.fixture
def write(tmp_path):
    def write(text, name="settings.toml"):
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


# What goes over what


def test_a_flag_goes_over_the_environment_over_the_older_name_over_the_file_over_the_default(write):
    file = write('[nats]\nname = "file"\n')
    older = {"KAFKA_EXPORTER_PUBSUB_CLIENT_ID": "older"}
    environ = {"NATS_FLUENT_NATS_NAME": "environment"}
    for found, value, origin in (
        (loaded(environ | older, file=file, nats_name="flag"), "flag", "flag --nats-name"),
        (loaded(environ | older, file=file), "environment", "environment NATS_FLUENT_NATS_NAME"),
        (loaded(older, file=file), "older", "environment KAFKA_EXPORTER_PUBSUB_CLIENT_ID"),
        (loaded(file=file), "file", f"{file}: nats.name"),
        (loaded(), "nats-fluent", "default"),
    ):
        assert found.settings.nats.name == value
        assert found.origins["nats.name"] == origin


def test_what_is_blank_counts_as_not_given(write):
    file = write('topics = ""\n[nats]\nname = "file"\nuser = " "\n')
    found = loaded({"NATS_FLUENT_NATS_NAME": " "}, file=file, nats_name="").settings
    assert found.nats.name == "file"
    assert found.nats.user is None
    assert found.topics == Settings().topics


SAMPLES = {
    "TEXT": "some text",
    "WORD": "word",
    "DURATION": "2s",
    "SIZE": "1MB",
    "COUNT": "7",
    "URL,...": "tls://a:1",
    "TEMPLATE": "t.{topic}",
    "SUBJECT[=TOPIC],...": "a.>=b,c",
}


@pytest.mark.parametrize(
    "option",
    [o for o in CATALOGUE if o.kind.metavar in SAMPLES and not o.key.endswith("user")],
    ids=lambda o: o.key,
)
def test_each_setting_is_read_from_all_three(option, write):
    sample = "unix:///a" if option.key == "fluent.url" else SAMPLES[option.kind.metavar]
    line = f'{option.name or option.section} = "{sample}"\n'
    file = write(f"[{option.section}]\n{line}" if option.name else line)
    more = {"fluent_url": "unix:///a"} if option.key == "workers" else {}  # more than one cannot share stdout
    for found in (
        loaded(file=file, **more),
        loaded({option.env: sample}, **more),
        loaded(**{option.param: sample} | more),
    ):
        value = getattr(found.settings, option.section)
        value = getattr(value, option.name) if option.name else value
        assert value == option.kind.parse(sample)
        assert found.origins[option.key] != "default"


@given(st.dictionaries(st.sampled_from([option.env for option in CATALOGUE]), st.text(), max_size=8))
def test_any_environment_gives_settings_or_sentences(environ):
    try:
        found = loaded(environ)
    except SettingsError:
        found = problems(environ)
    assert found


# The file


def test_the_file_may_be_named_in_the_environment(write):
    environ = {"NATS_FLUENT_CONFIG": f" {write('[batch]' + chr(10) + 'max_records = 7')} "}
    assert loaded(environ).settings.batch.max_records == 7
    assert loaded({"NATS_FLUENT_CONFIG": " "}).settings == Settings()
    other = write("[batch]\nmax_records = 9\n", "other.toml")
    assert loaded(environ, file=other).settings.batch.max_records == 9


def test_a_file_that_is_not_there():
    assert problems(file=Path("/nowhere/x.toml")) == [
        "/nowhere/x.toml: cannot be read (No such file or directory); name a TOML file that can be."
    ]


@pytest.mark.parametrize("content", [b"[nats\n", b"\xff"])
def test_a_file_that_is_not_toml(tmp_path, content):
    file = tmp_path / "x.toml"
    file.write_bytes(content)
    (problem,) = problems(file=file)
    assert problem.startswith(f"{file}: is not TOML; ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[nats]\nservrs = 1", "nats.servrs is not a setting; did you mean nats.servers?"),
        ("[batch]\nqueue_group = 1", "batch.queue_group is not a setting; did you mean nats.queue_group?"),
        ("[nat]\nuser = 1", "nat is not a setting; did you mean nats?"),
        ("topic = 1", "topic is not a setting; did you mean topics?"),
        ("zzzzzz = 1", "zzzzzz is not a setting; leave it out."),
        ("nats = 1", "nats is not a table; write [nats] above its settings."),
        (
            "[topics]\nevents = 1",
            "topics: {'events': 1} is not a list; write one or more, with commas between.",
        ),
        (
            "[batch]\nlinger = true",
            "batch.linger: True is not a duration; write seconds, or 500ms, 5s or 1m.",
        ),
    ],
)
def test_what_is_wrong_in_a_file(write, text, problem):
    file = write(text)
    assert problems(file=file) == [f"{file}: {problem}"]


def test_topics_as_tables(write):
    file = write('[[topics]]\nsubject = "events.>"\ntopic = "squall-events"\n[[topics]]\nsubject = "a.*"\n')
    assert loaded(file=file).settings.topics == (Topic("events.>", "squall-events"), Topic("a.*", "a"))


def test_numbers_and_lists_of_toml(write):
    file = write('[nats]\nservers = ["a", "b:1"]\nconnect_timeout = 0.5\n[batch]\nmax_records = 1_000\n')
    settings = loaded(file=file).settings
    nats = settings.nats
    assert nats.servers == ("nats://a:4222", "nats://b:1")
    assert (nats.connect_timeout, settings.batch.max_records) == (0.5, 1000)


# The environment


def test_an_unknown_name_in_the_environment():
    assert problems({"NATS_FLUENT_NATS_SERVER": "hunter2", "NATS_FLUENT_ZZZZZZZZZZZZZZZZ": ""}) == [
        "environment NATS_FLUENT_NATS_SERVER is not a setting; did you mean NATS_FLUENT_NATS_SERVERS?",
        "environment NATS_FLUENT_ZZZZZZZZZZZZZZZZ is not a setting; leave it out.",
    ]


def test_what_kubernetes_adds_for_services_of_that_name_is_let_be():
    links = {
        f"{service}{name}": value
        for service in ("NATS_FLUENT", "NATS_FLUENT_METRICS", "KAFKA_EXPORTER")
        for name, value in (
            ("_SERVICE_HOST", "10.0.0.1"),
            ("_SERVICE_PORT", "24224"),
            ("_SERVICE_PORT_HTTP", "24224"),
            ("_PORT", "tcp://10.0.0.1:24224"),
            ("_PORT_24224_TCP", "tcp://10.0.0.1:24224"),
            ("_PORT_24224_TCP_PROTO", "tcp"),
            ("_PORT_24224_TCP_PORT", "24224"),
            ("_PORT_24224_TCP_ADDR", "10.0.0.1"),
        )
    }
    assert loaded(links) == loaded()
    assert problems({"NATS_FLUENT_FLUENT_PORT": "24224"})


def test_the_switch_of_the_test_suite_is_known():
    assert loaded({"NATS_FLUENT_REQUIRE": "fluent-bit"}).warnings == ()


# Secrets

SECRETS = [option for option in CATALOGUE if option.kind.secret]
COMPANY = {
    "nats.password": {"NATS_FLUENT_NATS_USER": "joe"},
    "fluent.password": {"NATS_FLUENT_FLUENT_USER": "joe", "NATS_FLUENT_FLUENT_SHARED_KEY": "key"},
    "redact.key": {"NATS_FLUENT_REDACT_ACTION": "hash"},
}


def company(option, file):
    """The environment that the secret needs around it."""
    if option.name != "key_password":
        return COMPANY.get(option.key, {})
    section = option.section.upper()
    pair = {f"NATS_FLUENT_{section}_{name}_FILE": str(file) for name in ("CERT", "KEY")}
    return pair | {"NATS_FLUENT_FLUENT_URL": "forward+tls://a"}


@pytest.mark.parametrize("option", SECRETS, ids=lambda option: option.key)
def test_a_secret_as_a_value_and_from_a_file(option, write):
    file = write("hunter2-hunter2-hunter2\n")
    for environ, origin in (
        ({option.env: "hunter2-hunter2-hunter2"}, f"environment {option.env}"),
        ({f"{option.env}_FILE": str(file)}, f"environment {option.env}_FILE"),
    ):
        found = loaded(environ | company(option, file))
        secret = getattr(getattr(found.settings, option.section), option.name)
        assert secret.get() == "hunter2-hunter2-hunter2"
        assert found.origins[option.key] == origin
        assert "hunter2-hunter2-hunter2" not in repr(found)


@pytest.mark.parametrize("option", SECRETS, ids=lambda option: option.key)
def test_a_secret_is_in_no_message(option, write):
    file = write("hunter2")
    text = write(f"[{option.section}]\n{option.name} = 271828\n", "number.toml")
    bad = {"NATS_FLUENT_BATCH_LINGER": "soon"}
    found = [
        *problems({option.env: "hunter2", f"{option.env}_FILE": str(file)} | bad),
        *problems({option.env: "hunter2"} | bad),
        *problems(bad, file=text),
    ]
    where = f"environment {option.env} and environment {option.env}_FILE"
    assert f"{where}: both are given; give the value or the file." in found
    assert f"{text}: {option.key}: what is there is not text; put it in quotes." in found
    assert not any("hunter2" in problem or "271828" in problem for problem in found)


def test_the_file_of_a_secret_that_cannot_be_used(write):
    empty = write("")
    assert problems(fluent_shared_key_file="/nowhere") == [
        "flag --fluent-shared-key-file: /nowhere: cannot be read (No such file or directory)."
    ]
    assert problems(fluent_shared_key_file=str(empty)) == [
        f"flag --fluent-shared-key-file: {empty}: is empty; write the secret into it."
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = " + "[" * 5_000, "is nested too deeply; settings are tables of values."),
        ("a = " + "9" * 5_000, "is not TOML; Exceeds the limit"),
        ("a = 1\n\x00", "is not TOML; "),
    ],
)
def test_a_file_that_no_reader_takes_is_a_problem_like_any_other(tmp_path, text, why):
    file = tmp_path / "nats-fluent.toml"
    file.write_text(text)
    (problem,) = problems(file=file)
    assert f"{file}: {why}" in f"{problem}"


def test_a_secret_that_is_no_text_is_refused_and_not_shown():
    environ = {"NATS_FLUENT_FLUENT_SHARED_KEY": b"hunter2\xff".decode("utf-8", "surrogateescape")}
    assert problems(environ) == [
        "environment NATS_FLUENT_FLUENT_SHARED_KEY: what is there is not UTF-8; write the secret as text."
    ]


def test_topics_that_are_nested_too_deeply_are_a_problem():
    (problem,) = problems({"NATS_FLUENT_TOPICS": "[" * 100_000})
    assert "is not an array of JSON" in problem
