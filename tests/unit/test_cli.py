from __future__ import annotations

import json
import logging
import platform
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from nats_fluent import __main__, __version__, build, check, cli, compiled, demo, runtime
from nats_fluent.errors import RunFailed
from nats_fluent.log import direct
from nats_fluent.settings import CATALOGUE, Settings
from nats_fluent.source.parser import frames

WIDE = {"COLUMNS": "400", "TERM": "dumb"}


@pytest.fixture(autouse=True)
def untouched():
    """The log as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    direct(None)


@pytest.fixture
def invoke():
    def invoke(*args, **options):
        return CliRunner(env=WIDE).invoke(cli.app, args, **options)

    return invoke


@pytest.fixture
def ran(monkeypatch):
    """The settings that `run` was called with."""
    calls = []

    def run(settings):
        calls.append(settings)
        return 0

    monkeypatch.setattr(runtime, "run", run)
    return calls


def main(monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", ["nats-fluent", *args])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    return ended.value.code


@pytest.mark.parametrize("command", ["run", "check"])
def test_help_has_every_setting_with_its_names_default_and_sentence(invoke, command):
    shown = " ".join(invoke(command, "--help").stdout.split())
    for option in CATALOGUE:
        default = f"; default {option.show(option.default)}" if option.show(option.default) else ""
        there = not option.kind.secret
        assert (f" {option.flag} {option.kind.metavar} {option.doc}" in shown) is there
        assert (f"(env {option.env}{default})" in shown) is there


@pytest.mark.parametrize(
    "option", [option for option in CATALOGUE if option.kind.secret], ids=lambda one: one.key
)
def test_a_secret_is_no_flag(option, monkeypatch, capsys):
    assert main(monkeypatch, "run", option.flag, "hunter2") == 2
    assert capsys.readouterr().err.splitlines()[0] == (
        f"nats-fluent: flag {option.flag}: others on this machine can see a flag; give {option.flag}-file, or "
        f"{option.env} in the environment."
    )


def test_decode_has_the_settings_of_records_only(invoke):
    shown = invoke("decode", "--help").stdout
    assert "--record-tag" in shown
    assert "--topics" in shown
    assert "--nats-servers" not in shown


def test_version(invoke):
    result = invoke("--version", env={"NATS_FLUENT_REVISION": None})
    assert result.exit_code == 0
    first, python, compiled_part, libraries = result.stdout.splitlines()
    # The first is for scripts.
    assert first == f"nats-fluent {__version__}"
    assert python.startswith(f"Python {platform.python_version()} (")
    assert compiled_part == f"compiled part: {'yes' if compiled.splice and frames else 'no'}"
    assert libraries == "libraries: " + ", ".join(
        f"{name} {version(name)}" for name in ("nats-py", "msgspec", "ormsgpack", "uvloop")
    )


def test_version_has_the_revision_that_the_image_brings(invoke):
    shown = invoke("--version", env={"NATS_FLUENT_REVISION": "0123abc"}).stdout
    assert shown.splitlines()[-1] == "revision: 0123abc"


def test_version_says_what_is_missing(invoke, monkeypatch):
    monkeypatch.setattr(build, "LIBRARIES", ("no-such-distribution",))
    assert "libraries: no-such-distribution missing\n" in invoke("--version").stdout


def test_the_revision_is_no_unknown_setting(invoke, ran):
    assert invoke("run", env={"NATS_FLUENT_REVISION": "0123abc"}).exit_code == 0
    assert ran == [Settings()]


def test_help_needs_none_of_the_heavy_modules():
    code = "import sys, nats_fluent.cli; print(*({'asyncio', 'nats', 'rich', 'ssl'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "\n"


def test_run_hands_over_the_settings_and_returns_its_code(invoke, ran, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("[batch]\nmax_records = 7\nlinger = 1\n")
    result = invoke(
        "run", "--config", str(file), "--batch-linger", "2s", env={"NATS_FLUENT_BATCH_LINGER": "3s"}
    )
    assert result.exit_code == 0
    (settings,) = ran
    assert (settings.batch.max_records, settings.batch.linger) == (7, 2.0)


def test_run_fails_with_its_code(invoke, monkeypatch):
    monkeypatch.setattr(runtime, "run", lambda _: 1)
    assert invoke("run").exit_code == 1


def test_run_logs_what_the_settings_warn_of(invoke, ran):
    result = invoke("run", "--log-format", "json", env={"KAFKA_EXPORTER_PUBSUB_CLUSTER_ID": "x"})
    assert ran == [Settings(log=Settings().log.__class__(format="json"))]
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert json.loads(line)["reason"].startswith("environment KAFKA_EXPORTER_PUBSUB_CLUSTER_ID has no effect")


def test_check_hands_over_a_timeout_only_to_connect_and_whether_to_show(invoke, monkeypatch):
    calls = []
    monkeypatch.setattr(check, "run", lambda _, *, timeout, show: calls.append((timeout, show)) or 0)
    for flags in ((), ("--connect",), ("--connect", "--timeout", "2", "--no-show")):
        assert invoke("check", *flags).exit_code == 0
    assert calls == [(None, True), (10.0, True), (2.0, False)]


def test_check_shows_settings_and_where_they_come_from_and_no_secret(invoke):
    result = invoke(
        "check",
        "--fluent-url",
        "forward://[::1]",
        "--record-max-bytes",
        "1MB",
        env={"NATS_FLUENT_NATS_USER": "joe", "NATS_FLUENT_NATS_PASSWORD": "hunter2"},
    )
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["fluent.url", "forward://[::1]:24224", "flag", "--fluent-url"] in rows
    assert ["nats.password", "***", "environment", "NATS_FLUENT_NATS_PASSWORD"] in rows
    assert ["batch.linger", "10ms", "default"] in rows
    assert "hunter2" not in result.output
    assert "warning: record.max_bytes (flag --record-max-bytes) is not below" in result.stdout


def test_decode_shows_a_record_a_line(invoke, monkeypatch, tmp_path):
    calls = []

    def decode_payload(payload, *, subject, settings):
        calls.append((payload, subject, settings.record.max_bytes))
        return [{"size": len(payload), "name": "é"}], payload != b"bad"

    monkeypatch.setattr(runtime, "decode_payload", decode_payload)
    file = tmp_path / "payload"
    file.write_bytes(b"good")
    result = invoke("decode", str(file), "--subject", "s", "--record-max-bytes", "9")
    assert (result.exit_code, result.stdout) == (0, '{"size":4,"name":"é"}\n')
    result = invoke("decode", "-", str(file), input=b"bad")
    assert (result.exit_code, result.stdout) == (1, '{"size":3,"name":"é"}\n{"size":4,"name":"é"}\n')
    assert calls == [(b"good", "s", 9), (b"bad", None, 900_000), (b"good", None, 900_000)]


def test_demo_hands_over_its_options(invoke, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(demo, "run_demo", lambda **options: calls.append(options) or 0)
    assert invoke("demo").exit_code == 0
    assert invoke("demo", "--count", "3", "--rate", "2", "--conf", str(tmp_path)).exit_code == 0
    assert calls == [{"count": None, "rate": 5.0, "conf": None}, {"count": 3, "rate": 2.0, "conf": tmp_path}]


def test_usage_errors(invoke):
    for args in (
        ("run", "--no-such"),
        ("decode",),
        ("decode", "/nowhere"),
        ("check", "--timeout", "x"),
        ("nothing",),
    ):
        assert invoke(*args).exit_code == 2


def test_settings_errors_are_sentences(monkeypatch, capsys):
    assert main(monkeypatch, "run", "--batch-linger", "soon", "--nats-user", "joe") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    both = "one is there without the other; give both or neither."
    assert captured.err.splitlines() == [
        "nats-fluent: flag --batch-linger: 'soon' is not a duration; write seconds, or 500ms, 5s or 1m.",
        f"nats-fluent: nats.user (flag --nats-user) and nats.password (default): {both}",
    ]


def test_other_errors_are_a_sentence_too(monkeypatch, capsys):
    def run(_):
        raise RunFailed("sink: it died")

    monkeypatch.setattr(runtime, "run", run)
    assert main(monkeypatch, "run") == 1
    assert capsys.readouterr().err == "nats-fluent: sink: it died\n"


def test_bugs_are_not_hidden(monkeypatch):
    monkeypatch.setattr(runtime, "run", lambda _: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["nats-fluent", "run"])
    with pytest.raises(ZeroDivisionError):
        __main__.main()
