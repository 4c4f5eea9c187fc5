"""`nats-fluent run` takes its flags as typer would, and leaves to typer what is for a reader."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nats_fluent import __main__, cli, running
from nats_fluent.settings import CATALOGUE

EACH = [option.flag for option in CATALOGUE]


@pytest.fixture
def by_typer(monkeypatch):
    """What typer makes of the arguments: the file and the flags that were given."""
    got = []

    def run(config, flags):
        got.append((config, {name: value for name, value in flags.items() if value is not None}))
        return 0

    monkeypatch.setattr(running, "run", run)

    def asked(*args):
        result = CliRunner().invoke(cli.app, ["run", *args])
        assert result.exit_code == 0, result.output
        return got.pop()

    return asked


@pytest.mark.parametrize(
    "args",
    [
        (),
        tuple(word for flag in EACH for word in (flag, f"x {flag}")),
        tuple(f"{flag}=x=y" for flag in EACH),
        ("--config", "a b.toml", "--nats-user", ""),
        ("--config=a.toml", "--config", "b.toml", "--nats-user", "a", "--nats-user=b"),
        ("--config", "", "--nats-user="),
    ],
)
def test_flags_are_as_typer_takes_them(by_typer, args):
    assert running.read(args) == by_typer(*args)


@pytest.mark.parametrize(
    "args",
    [
        ("--help",),
        ("--nats-user", "joe", "--help"),
        ("--nats-user",),
        ("--nats-user", "--nats-password"),
        ("--nats-user", "-x"),
        ("--nats-use", "joe"),
        ("--", "joe"),
        ("joe",),
        ("-c", "x"),
    ],
)
def test_the_rest_is_for_typer(args):
    assert running.read(args) is None


def ended(monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", ["nats-fluent", *args])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    return ended.value.code


def test_the_program_runs_by_flags_alone(monkeypatch):
    got = []
    monkeypatch.setattr(running, "run", lambda *given: got.append(given) or 7)
    monkeypatch.setattr(cli, "app", None)
    assert ended(monkeypatch, "run", "--config", "a.toml", "--nats-user", "joe") == 7
    assert got == [(Path("a.toml"), {"nats_user": "joe"})]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("run", "--help"), 0, "Usage: nats-fluent run [OPTIONS]"),
        (("run", "--nats-usr", "joe"), 2, "No such option: --nats-usr"),
        (("run", "joe"), 2, "unexpected extra argument"),
        ((), 2, "Usage: nats-fluent [OPTIONS] COMMAND"),
    ],
)
def test_the_program_helps(monkeypatch, capsys, args, code, says):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "200")
    assert ended(monkeypatch, *args) == code
    said = capsys.readouterr()
    assert says in said.out + said.err


def test_a_signal_that_does_not_wait_is_no_traceback(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run", interrupted)
    assert ended(monkeypatch, "run") == 130
