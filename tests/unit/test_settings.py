from __future__ import annotations

import msgspec
import pytest
from loading import loaded, problems

from nats_fluent import settings
from nats_fluent.addresses import FluentUrl
from nats_fluent.settings import CATALOGUE, DEFAULT_TOPICS, Settings
from nats_fluent.topics import Topic

BY_KEY = {option.key: option for option in CATALOGUE}


@pytest.fixture
def write(tmp_path):
    def write(text, name="settings.toml"):
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


# The catalogue


def test_the_catalogue_has_every_field_of_the_model():
    keys = [
        f"{section.name}.{field.name}"
        for section in msgspec.structs.fields(Settings)
        if section.name not in ("topics", "workers", "transforms")
        for field in msgspec.structs.fields(section.type)
    ]
    assert sorted(BY_KEY) == sorted(
        [
            *keys,
            "topics",
            "workers",
            "transforms",
            *(f"{key}_file" for key in keys if BY_KEY[key].kind.secret),
        ]
    )


@pytest.mark.parametrize("key", BY_KEY)
def test_each_setting_is_described(key):
    option = BY_KEY[key]
    assert option.doc.endswith(".")
    assert option.doc.isprintable()
    assert option.env.startswith("NATS_FLUENT_")
    if option.default not in (None, ""):
        assert option.kind.parse(option.show(option.default)) == option.default


def test_names_are_unique():
    names = [name for option in CATALOGUE for name in (option.env, *option.aliases)]
    assert len(set(names)) == len(names)


def test_nothing_given_gives_the_defaults():
    found = loaded()
    assert found.settings == Settings()
    assert found.warnings == ()
    assert set(found.origins.values()) == {"default"}
    assert found.origins.keys() == BY_KEY.keys()


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        loaded().settings.batch.linger = 1.0


# The names of the original


def test_the_names_of_the_original(write):
    file = write("x")
    found = loaded(
        {
            "KAFKA_EXPORTER_PUBSUB_ADDRESS": "nats:4222",
            "KAFKA_EXPORTER_PUBSUB_USER": "joe",
            "KAFKA_EXPORTER_PUBSUB_PASS": "hunter2",
            "KAFKA_EXPORTER_CACERT": str(file),
            "KAFKA_EXPORTER_CLIENT_CERT": str(file),
            "KAFKA_EXPORTER_CLIENT_CERT_KEY": str(file),
            "KAFKA_EXPORTER_CLIENT_CERT_KEY_PASS": "open",
            "KAFKA_EXPORTER_LOG_LEVEL": "warn",
            "KAFKA_EXPORTER_LOG_FORMAT": "stackdriver",
            "KAFKA_EXPORTER_PUBSUB_CLIENT_ID": "me",
        }
    )
    nats = found.settings.nats
    assert (nats.servers, nats.user, nats.password.get()) == (("nats://nats:4222",), "joe", "hunter2")
    assert (nats.ca_file, nats.cert_file, nats.key_file, nats.key_password.get()) == (
        file,
        file,
        file,
        "open",
    )
    assert (found.settings.log.level, found.settings.log.format, nats.name) == (
        "warning",
        "stackdriver",
        "me",
    )
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("trace", "debug"), ("debug", "debug"), ("info", "info"), ("warn", "warning"), ("error", "error")],
)
def test_the_log_levels_of_the_original(theirs, ours):
    assert loaded({"KAFKA_EXPORTER_LOG_LEVEL": theirs}).settings.log.level == ours


@pytest.mark.parametrize(("name", "topic"), settings.FORMER_TOPICS.items())
def test_a_topic_of_the_original_is_another_subject_of_the_same_topic(name, topic):
    found = loaded({name: "x.>"})
    assert [each.subject for each in found.settings.topics if each.topic == topic] == ["x.>"]
    assert [each.topic for each in found.settings.topics] == list(DEFAULT_TOPICS)
    assert found.origins["topics"] == f"environment {name}"


def test_topics_of_the_original_are_between_the_environment_and_the_file(write):
    file = write('topics = ["from-the-file"]')
    older = {"KAFKA_EXPORTER_TOPIC_EVENTS": "older", "KAFKA_EXPORTER_TOPIC_ACTIVITIES": " "}
    assert loaded(older, file=file).settings.topics[0] == Topic("older", "squall-events")
    for found in (
        loaded(older | {"NATS_FLUENT_TOPICS": "mine"}, file=file),
        loaded(older, file=file, topics="mine"),
    ):
        assert found.settings.topics == (Topic("mine", "mine"),)
    assert loaded({"KAFKA_EXPORTER_TOPIC_EVENTS": ""}, file=file).settings.topics[0].topic == "from-the-file"


def test_a_topic_of_the_original_that_cannot_be_used():
    (problem,) = problems({"KAFKA_EXPORTER_TOPIC_EVENTS": "activities"})
    assert (
        problem
        == "environment KAFKA_EXPORTER_TOPIC_EVENTS: 'activities' is there more than once; write it once."
    )


def test_names_of_the_original_that_have_no_effect():
    found = loaded({"KAFKA_EXPORTER_PUBSUB_CLUSTER_ID": "test-cluster", "KAFKA_EXPORTER_BROKERS": "hunter2"})
    assert found.warnings == (
        "environment KAFKA_EXPORTER_BROKERS has no effect; leave it out.",
        "environment KAFKA_EXPORTER_PUBSUB_CLUSTER_ID has no effect; leave it out.",
    )


# What must fit together


def test_files_must_be_there(tmp_path):
    assert problems(nats_ca_file=str(tmp_path)) == [
        f"flag --nats-ca-file: {tmp_path} cannot be read (Is a directory); name a file that can be."
    ]


BOTH = "one is there without the other; give both or neither."
ONE = "each is a way to sign in, and the server takes one; give one of them."
SPOOL = "one is there without the other; give a directory, and the mode overflow or always."
LARGER = "the first is larger than the second; make it smaller, or the second larger."


@pytest.mark.parametrize(
    ("flags", "keys", "problem"),
    [
        ({"nats_user": "joe"}, "nats.user nats.password", BOTH),
        (
            {"workers": "2"},
            "workers fluent.url",
            "lines of several processes would be mixed on stdout; give a log shipper, or one worker.",
        ),
        (
            {"workers": "3", "batch_buffer_bytes": "2MB", "fluent_url": "unix:///a"},
            "workers batch.max_bytes batch.buffer_bytes",
            "the last is divided between the workers, and each must hold a chunk; make it larger.",
        ),
        ({"nats_password": "x"}, "nats.user nats.password", BOTH),
        ({"fluent_password": "x"}, "fluent.user fluent.password", BOTH),
        ({"nats_cert_file": "FILE"}, "nats.cert_file nats.key_file", BOTH),
        ({"fluent_key_file": "FILE"}, "fluent.cert_file fluent.key_file", BOTH),
        (
            {"nats_key_password": "x"},
            "nats.key_password nats.key_file",
            "a passphrase without a key; give the key_file.",
        ),
        ({"nats_user": "joe", "nats_password": "x", "nats_token": "x"}, "nats.user nats.token", ONE),
        ({"nats_user": "joe", "nats_password": "x", "nats_nkey": "x"}, "nats.user nats.nkey", ONE),
        ({"nats_user": "joe", "nats_password": "x", "nats_creds": "x"}, "nats.user nats.creds", ONE),
        ({"nats_token": "x", "nats_nkey": "x"}, "nats.token nats.nkey", ONE),
        ({"nats_token": "x", "nats_creds": "x"}, "nats.token nats.creds", ONE),
        ({"nats_nkey": "x", "nats_creds": "x"}, "nats.nkey nats.creds", ONE),
        (
            {"nats_ca_file": "FILE", "nats_servers": "ws://a"},
            "nats.ca_file nats.servers",
            "no address uses TLS, and a websocket cannot begin it later; write wss://.",
        ),
        (
            {"nats_tls_first": "on", "nats_servers": "wss://a"},
            "nats.tls_first nats.servers",
            "with wss:// TLS comes first in any case, with ws:// never; leave tls_first out.",
        ),
        (
            {"fluent_user": "joe", "fluent_password": "x"},
            "fluent.user fluent.shared_key",
            "a user needs the shared key of the handshake; give it, or leave the user out.",
        ),
        (
            {"fluent_ca_file": "FILE", "fluent_url": "forward://a"},
            "fluent.ca_file fluent.url",
            "no address uses TLS, so records would go out in the clear; write forward+tls://.",
        ),
        (
            {"fluent_mode": "forward", "fluent_compress": "gzip"},
            "fluent.compress fluent.mode",
            "only packed chunks can be compressed; write mode packed or compress off.",
        ),
        ({"record_max_bytes": "1.1MB"}, "record.max_bytes batch.max_bytes", LARGER),
        ({"batch_buffer_bytes": "999kB"}, "batch.max_bytes batch.buffer_bytes", LARGER),
        ({"spool_mode": "always"}, "spool.mode spool.dir", SPOOL),
        ({"spool_dir": "/var/spool/x"}, "spool.mode spool.dir", SPOOL),
        (
            {"spool_mode": "always", "spool_dir": "/var/spool/x", "jetstream_stream": "EVENTS"},
            "spool.mode jetstream.stream",
            "the stream keeps what is not acknowledged; leave the spool out.",
        ),
    ],
)
def test_what_does_not_fit_together(write, flags, keys, problem):
    file = write("x")
    given = {name: str(file) if value == "FILE" else value for name, value in flags.items()}
    secret = {option.param: option.env for option in CATALOGUE if option.kind.secret}
    origins = {name: f"environment {secret[name]}" if name in secret else "flag" for name in given}

    def origin(option):
        return origins.get(option.param, "default").replace("flag", f"flag {option.flag}")

    where = " and ".join(f"{key} ({origin(BY_KEY[key])})" for key in keys.split())
    environ = {secret[name]: value for name, value in given.items() if name in secret}
    found = problems(environ, **{name: value for name, value in given.items() if name not in secret})
    assert found == [f"{where}: {problem}"]


@pytest.mark.parametrize(
    ("servers", "environ", "key"),
    [
        ("nats://a", {"NATS_FLUENT_NATS_USER": "joe", "NATS_FLUENT_NATS_PASSWORD": "x"}, "nats.password"),
        ("ws://a", {"NATS_FLUENT_NATS_TOKEN": "x"}, "nats.token"),
        ("nats://[::1],nats://10.0.0.1", {"NATS_FLUENT_NATS_TOKEN": "x"}, "nats.token"),
        ("nats://127.0.0.9,nats://localhost,nats://[::1],a.localhost", {"NATS_FLUENT_NATS_TOKEN": "x"}, None),
        ("nats://a,tls://b", {"NATS_FLUENT_NATS_TOKEN": "x"}, None),
        ("wss://a", {"NATS_FLUENT_NATS_TOKEN": "x"}, None),
        ("nats://a", {"NATS_FLUENT_NATS_TLS_FIRST": "on", "NATS_FLUENT_NATS_TOKEN": "x"}, None),
        ("nats://a", {"NATS_FLUENT_NATS_NKEY": "x"}, None),
        ("nats://a", {"NATS_FLUENT_NATS_CREDS": "x"}, None),
    ],
)
def test_a_secret_that_others_can_read_on_the_way_is_warned_of_once(servers, environ, key):
    said = (
        f"nats.servers (flag --nats-servers): nothing asks for TLS, so who is on the way to the server can read {key}; "
        "write tls:// or wss://."
    )
    assert loaded(environ, nats_servers=servers).warnings == ((said,) if key else ())


def test_certificates_for_a_log_shipper_with_tls(write):
    file = write("x")
    found = loaded(
        {f"NATS_FLUENT_FLUENT_{name}_FILE": str(file) for name in ("CA", "CERT", "KEY")},
        fluent_url="forward+tls://a",
    )
    assert found.settings.fluent.url == (FluentUrl("forward+tls", "a", 24224),)
    assert found.settings.fluent.key_file == file


def test_all_problems_are_reported_at_once_and_what_follows_from_one_is_not(write):
    file = write("[nats]\nuser = 7\n[bath]\n")
    environ = {"NATS_FLUENT_BATCH_BUFFER_BYTES": "small", "NATS_FLUENT_LOG_LEVLE": "info"}
    size = "is not a size; write bytes, or 900k, 1MB or 64MiB"
    missing = "cannot be read (No such file or directory); name a file that can be"
    assert problems(environ, file=file, nats_cert_file="/nowhere") == [
        f"{file}: bath is not a setting; did you mean batch?",
        f"{file}: nats.user: 7 is not text; put it in quotes.",
        f"environment NATS_FLUENT_BATCH_BUFFER_BYTES: 'small' {size}.",
        f"flag --nats-cert-file: /nowhere {missing}.",
        "environment NATS_FLUENT_LOG_LEVLE is not a setting; did you mean NATS_FLUENT_LOG_LEVEL?",
    ]


# Warnings


@pytest.mark.parametrize(
    ("flag", "value", "warning"),
    [
        (
            "record_max_bytes",
            "1MB",
            "record.max_bytes ({}) is not below 1000000; Fluent Bit's Kafka output drops the chunk",
        ),
        (
            "batch_max_bytes",
            "7MB",
            "batch.max_bytes ({}) is not below 6144000; Fluent Bit never takes such a chunk",
        ),
    ],
)
def test_a_size_that_the_log_shipper_may_refuse(flag, value, warning):
    origin = f"flag --{flag.replace('_', '-')}"
    assert loaded(**{flag: value}).warnings == (f"{warning.format(origin)}, unless its own limit is raised.",)


def test_subjects_that_overlap():
    assert loaded(topics="a.>,b,a.c").warnings == (
        "topics (flag --topics): what matches both a.> and a.c is sent twice.",
    )
