"""``nats-fluent test``: files of cases, what is said of each, and the exit code."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nats_fluent import cases, cli
from nats_fluent.errors import SettingsError
from nats_fluent.settings import Settings
from nats_fluent.testing import publication

DOC = Path(__file__).parents[2] / "docs" / "transforms.md"
HANDLERS = """\
from nats_fluent import Record, on

@on("enforcer", operation="update")
def enforcer(publication):
    it = publication.object()
    return {"name": it.name, "status": it.operationalStatus}

@on("enforcer", operation="delete")
def gone(publication):
    return None

@on("namespace")
def namespace(publication):
    return [{"part": part} for part in publication.object().name.split("/")]
"""
ENFORCER = """\
[[case]]
name = "one"
publication = { identity = "enforcer", entity = { name = "one", operationalStatus = "Connected" } }
"""


def tried(tmp_path, text, capsys, *, name="cases.toml"):
    """Exit code and output."""
    (tmp_path / "my.py").write_text(HANDLERS)
    file = tmp_path / name
    file.write_text(text)
    code = cases.run([file], Settings(transforms=(str(tmp_path / "my.py"),)))
    return code, capsys.readouterr().out.replace(f"{tmp_path}/", "")


def test_cases_that_pass(tmp_path, capsys):
    text = (
        ENFORCER
        + """\
tags = ["aporeto.squall-events"]
records = [{ name = "one", status = "Connected", id = "test-1" }]

[[case]]
name = "exact"
exact = true
[case.publication]
identity = "enforcer"
timestamp = 2026-01-02T03:04:05+01:00
entity = { name = "one", operationalStatus = "Connected" }
[[case.records]]
topic = "squall-events"
subject = "squall-events"
identity = "enforcer"
operation = "update"
key = "enforcer"
timestamp = 2026-01-02T02:04:05Z
id = "test-1"
name = "one"
status = "Connected"

[[case]]
name = "no record"
publication = { identity = "enforcer", operation = "delete", entity = {} }
records = []

[[case]]
name = "several"
publication = { identity = "namespace", encoding = "json", entity = { name = "a/b" } }
records = [{ part = "a", id = "test-1-0" }, { part = "b" }]

[[case]]
name = "an object"
object = { topic = "external-flowreports", value = { action = "Reject" } }
records = [{ identity = "flowreport", content = { action = "Reject" } }]

[[case]]
name = "bytes"
payload = { base64 = "AAA=" }
subject = "a.b"
headers = { A = "b" }
tags = ["aporeto.undecodable"]
records = [{ subject = "a.b", payload = "AAA=" }]
"""
    )
    code, out = tried(tmp_path, text, capsys)
    assert out == (
        "ok   cases.toml: one\nok   cases.toml: exact\nok   cases.toml: no record\nok   cases.toml: several\n"
        "ok   cases.toml: an object\nok   cases.toml: bytes\n6 cases: 6 passed, 0 failed\n"
    )
    assert code == 0


def test_cases_that_fail_say_where(tmp_path, capsys):
    text = (
        ENFORCER
        + """\
tags = ["other"]
records = [{ name = "two", id = "test-1", deep = { a = [1] } }]

[[case]]
name = "exact"
exact = true
object = { topic = "activities", value = { a = [1, { b = 2 }], c = true } }
records = [{ topic = "activities", subject = "activities", identity = "activity", key = "activity", timestamp = \
"2026-01-01T00:00:00Z", content = { a = [1, { b = 3 }], c = 1 } }]

[[case]]
name = "too many"
publication = { identity = "namespace", entity = { name = "a/b" } }
records = [{ part = "a" }]

[[case]]
name = "too few"
publication = { identity = "enforcer", operation = "delete", entity = {} }
records = [{ name = "é" }]

[[case]]
name = "a handler that fails"
publication = { identity = "enforcer", entity = { nam = "one" } }
records = [{ name = "one" }]
"""
    )
    code, out = tried(tmp_path, text, capsys)
    head = (
        '"topic": "squall-events", "subject": "squall-events", "identity": "namespace", "operation": "update"'
    )
    assert out.splitlines() == [
        "FAIL cases.toml: one",
        "     record 1: tag",
        '       - "other"',
        '       + "aporeto.squall-events"',
        "     record 1: name",
        '       - "two"',
        '       + "one"',
        "     record 1: deep",
        '       - {"a": [1]}',
        "       + (absent)",
        "FAIL cases.toml: exact",
        "     record 1: content.a[1].b",
        "       - 3",
        "       + 2",
        "     record 1: content.c",
        "       - 1",
        "       + true",
        "     record 1: id",
        "       - (absent)",
        '       + "test-1"',
        "FAIL cases.toml: too many",
        "     records",
        "       - 1",
        "       + 2",
        "     record 2",
        "       - (absent)",
        f'       + {{{head}, "key": "namespace", "timestamp": "2026-01-01T00:00:00Z", "id": "test-1-1", "part": "b"}}',
        "FAIL cases.toml: too few",
        "     records",
        "       - 1",
        "       + 0",
        "     record 1",
        '       - {"name": "é"}',
        "       + (absent)",
        "FAIL cases.toml: a handler that fails",
        "     record 1: name",
        '       - "one"',
        "       + (absent)",
        "     the handler failed: NoField: there is no field 'name'; did you mean nam? (my.py:6)",
        "5 cases: 0 passed, 5 failed",
    ]
    assert code == 1


def test_yaml(tmp_path, capsys):
    text = """\
case:
  - name: one
    publication: {identity: enforcer, entity: {name: one, operationalStatus: up}}
    records: [{name: one}]
"""
    assert tried(tmp_path, text, capsys, name="a.yaml") == (
        0,
        "ok   a.yaml: one\n1 cases: 1 passed, 0 failed\n",
    )
    with pytest.raises(SettingsError, match=r"a\.yml: is not YAML; while parsing"):
        tried(tmp_path, "case: [", capsys, name="a.yml")


def test_yaml_without_its_library(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(SettingsError, match=r"pip install 'nats-fluent\[yaml\]', or write it as TOML"):
        tried(tmp_path, "case: []", capsys, name="a.yaml")


def test_a_payload_from_a_file(tmp_path, capsys):
    (tmp_path / "p.bin").write_bytes(publication("namespace", {"name": "a"}))
    hexed = publication("namespace", {"name": "b"}).hex()
    text = f"""\
[[case]]
name = "file"
payload = {{ file = "p.bin" }}
records = [{{ part = "a" }}]
[[case]]
name = "hex"
payload = {{ hex = "{hexed}" }}
records = [{{ part = "b" }}]
"""
    assert tried(tmp_path, text, capsys)[0] == 0


CASE = '[[case]]\nname = "x"\n'
EVENT = CASE + 'publication = { identity = "a" }\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a list of cases; begin each with [[case]]."),
        ("case = []", "there is no case; begin one with [[case]]."),
        ("a = 1", "is not a list of cases"),
        ("[[case]", "is not TOML; "),
        ("case = [5]", "case 1: what stands there is not a case, which is a table."),
        ("[[case]]\nrecords = []", "case 1: there is no name; give it one."),
        (CASE, "case 1 (x): records is not a list of tables; write records = [] for none."),
        (EVENT + "records = [5]", "case 1 (x): records is not a list of tables"),
        (EVENT + "records = []\ntags = ['a']", "case 1 (x): tags is not a list of 0"),
        (EVENT + "records = []\nexact = 'no'", "exact is not true or false"),
        (EVENT + "records = []\nsubject = 5", "subject is a text"),
        (EVENT + "recods = []", "'recods' is not a key of a case; did you mean records?."),
        (EVENT + "zzz = []", "'zzz' is not a key of a case; it has name, publication"),
        (EVENT + "records = [{ a = 07:32:00 }]", "a value of type time"),
        (CASE + "records = []", "give one of publication, object and payload; there is none."),
        (EVENT + "records = []\npayload = { hex = '' }", "there is publication and payload."),
        (CASE + "records = []\npublication = {}", "the publication has no identity"),
        (CASE + "records = []\npublication = { identity = 'a', timestamp = 'now' }", "not a time: 'now'"),
        (
            CASE + "records = []\npublication = { identity = 'a', encoding = 'xml' }",
            "msgpack or json, not 'xml'",
        ),
        (CASE + "records = []\nobject = { topic = 'a' }", "an object has a topic"),
        (CASE + "records = []\npayload = { hex = 'xx' }", "the payload is not hex; "),
        (CASE + "records = []\npayload = { base64 = '!' }", "the payload is not base64; "),
        (CASE + "records = []\npayload = { file = 'none' }", "none: cannot be read (No such file"),
        (CASE + "records = []\npayload = { hex = 5 }", "a payload is one of base64, hex, file, and a text"),
    ],
)
def test_a_file_that_cannot_be_tried(tmp_path, capsys, text, said):
    with pytest.raises(SettingsError, match=re.escape(said)):
        tried(tmp_path, text, capsys)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.toml: cannot be read \(No such file or directory\)"):
        cases.run([tmp_path / "none.toml"], Settings())


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", DOC.read_text("utf-8"), flags=re.DOTALL)


def test_what_the_documentation_shows_passes(tmp_path, monkeypatch):
    """By the command line, with the handlers and the cases that stand there."""
    monkeypatch.chdir(tmp_path)
    (handlers,) = (text for text in blocks("python") if text.startswith("# my.py"))
    (tmp_path / "my.py").write_text(handlers)
    (text,) = blocks("toml")
    (tmp_path / "cases.toml").write_text(text)
    (text,) = (text for text in blocks("yaml") if not text.startswith("# handlers.yml"))
    (tmp_path / "cases.yaml").write_text(text)
    result = CliRunner().invoke(cli.app, ["test", "cases.toml", "cases.yaml", "--transforms", "my.py"])
    assert result.output.endswith("0 failed\n"), result.output
    assert result.exit_code == 0
    (tmp_path / "cases.toml").write_text(text.replace("Connected", "Lost"))
    assert CliRunner().invoke(cli.app, ["test", "cases.yaml"]).exit_code == 1


def test_the_program_of_the_documentation(capsys):
    (program,) = (text for text in blocks("python") if "decode(payload)" in text)
    exec(program, {"payload": publication("enforcer", {"name": "one"})})
    assert capsys.readouterr().out == "enforcer one\n"


def test_the_test_of_the_documentation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (handlers,) = (text for text in blocks("python") if text.startswith("# my.py"))
    (tmp_path / "my.py").write_text(handlers)
    (text,) = (text for text in blocks("python") if "def test_" in text)
    names = {}
    exec(text, names)
    names["test_an_enforcer"]()
