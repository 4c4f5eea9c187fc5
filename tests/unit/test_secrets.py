"""No secret is in what this program says of its settings, whichever is given how, and however wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hiding import SECRETS, SIGN_IN, environ, found_in, value

from nats_fluent import check, cli
from nats_fluent.errors import SettingsError
from nats_fluent.settings import load

NAMES = [option.key for option in SECRETS]
WRONG = {
    "a list": lambda text: [text],
    "a table": lambda text: {"value": text},
    "in a list of tables": lambda text: [{"value": [text]}],
    "a table's key": lambda text: {text: 1},
}


def toml(raw):
    match raw:
        case list():
            return f"[{', '.join(map(toml, raw))}]"
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in raw.items()) + "}"
    return json.dumps(raw)


def test_there_are_secrets():
    assert {*SIGN_IN, "nats.key_password", "fluent.shared_key", "fluent.password"} <= set(NAMES)


@pytest.mark.parametrize("sign_in", SIGN_IN)
@pytest.mark.parametrize("by_file", [False, True])
def test_settings_show_no_secret(tmp_path, capsys, monkeypatch, sign_in, by_file):
    monkeypatch.chdir(tmp_path)
    given = environ(Path(), sign_in=sign_in, by_file=by_file)  # a long path would be cut
    given["NATS_FLUENT_FLUENT_URL"] = "forward+tls://localhost:1"
    loaded = load(flags={}, environ=given, file=None)
    assert check.run(loaded, timeout=None) == 0
    shown = capsys.readouterr().out
    for option in SECRETS:
        (row,) = [line for line in shown.splitlines() if line.split()[0] == option.key]
        is_set = option.key not in SIGN_IN or option.key == sign_in
        assert ("***" in row or f"{option.param}.secret" in row) is is_set
    assert found_in(f"{shown}{loaded!r}{loaded.settings}") == []


def test_settings_are_shown_unless_asked_not_to(capsys, monkeypatch):
    monkeypatch.setenv("NATS_FLUENT_FLUENT_SHARED_KEY", value("fluent.shared_key"))
    said = {}
    for flag in ("--show", "--no-show", None):
        with pytest.raises(SystemExit) as ended:
            cli.app(["check", *([flag] if flag else [])])
        assert ended.value.code == 0
        said[flag] = capsys.readouterr().out
    assert said["--show"] == said[None]
    assert "fluent.shared_key" in said["--show"]
    assert said["--no-show"] == ""
    assert found_in(f"{said}") == []


@pytest.mark.parametrize("option", SECRETS, ids=NAMES)
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_secret_of_the_wrong_type_is_not_repeated(tmp_path, option, wrong):
    file = tmp_path / "nats-fluent.toml"
    file.write_text(f"[{option.section}]\n{option.name} = {toml(wrong(value(option.key)))}\n")
    with pytest.raises(SettingsError) as caught:
        load(flags={}, environ={}, file=file)
    assert found_in(f"{caught.value}{caught.value!r}") == []


@pytest.mark.parametrize("option", SECRETS, ids=NAMES)
def test_nor_is_one_beside_its_file_or_under_a_name_that_is_none(tmp_path, option):
    secret = tmp_path / "secret"
    secret.write_text(value(option.key))
    for given in (
        {option.env: value(option.key), f"{option.env}_FILE": str(secret)},
        {f"{option.env}X": value(option.key)},
        {f"{option.env}_FILE": value(option.key).splitlines()[0] if option.key != "nats.nkey" else "x"},
    ):
        with pytest.raises(SettingsError) as caught:
            load(flags={}, environ=given, file=None)
        if f"{option.env}_FILE" not in given or option.env in given:
            assert found_in(f"{caught.value}") == []


@pytest.mark.parametrize("name", ["NATS_SERVERS", "FLUENT_URL", "HTTP_LISTEN"])
@pytest.mark.parametrize(
    "url", ["nats://me:{}@host:1", "forward://{}@host", "me:{}@host:1", "nats://a:1,me:{}@b:1"]
)
def test_nor_is_one_within_an_address(name, url):
    given = {f"NATS_FLUENT_{name}": url.format(value("nats.password"))}
    with pytest.raises(SettingsError) as caught:
        load(flags={}, environ=given, file=None)
    assert found_in(f"{caught.value}") == []
