"""Handlers from files and from installed packages, and what is said of those that cannot be loaded."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint

import pytest

from nats_fluent import loader
from nats_fluent.errors import SettingsError
from nats_fluent.loader import load, with_transforms
from nats_fluent.record import Recorder
from nats_fluent.recorders import recorder_of
from nats_fluent.settings import Settings
from nats_fluent.settings import load as load_settings
from nats_fluent.transforms import Transforming

GOOD = """\
from __future__ import annotations
from dataclasses import dataclass
from nats_fluent import on

@dataclass
class Seen:
    name: str

@on("enforcer")
def enforcer(publication):
    return vars(Seen(publication.object().name))

same = enforcer
"""


def written(tmp_path, text, name="my.py"):
    file = tmp_path / name
    file.write_text(text)
    return str(file)


def test_a_file(tmp_path):
    handlers = load([written(tmp_path, GOOD)])
    assert str(handlers) == "enforcer: my.py:enforcer"


def test_two_files_of_one_name(tmp_path):
    (tmp_path / "other").mkdir()
    one = written(tmp_path, GOOD)
    other = written(tmp_path / "other", GOOD.replace('"enforcer"', '"namespace"'))
    assert len(load([one, other])) == 2
    assert "my" not in sys.modules


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_like_it\n", r"{file}:1: ModuleNotFoundError: No module named 'nothing_like_it'."),
        ("\n\ndef broken(:\n", r"{file}:3: SyntaxError: invalid syntax."),
        ("\n1 / 0\n", r"{file}:2: ZeroDivisionError: division by zero."),
        ("raise SystemExit('no')\n", r"{file}:1: SystemExit: no."),
        (
            "open('/nothing/like/it')\n",
            r"{file}:1: FileNotFoundError: [Errno 2] No such file or directory: '/nothing/like/it'.",
        ),
        ("raise ValueError\n", r"{file}:1: ValueError."),
        (
            "from nats_fluent import on\n@on('a')\nasync def f(p): ...\n",
            r"{file}:2: TypeError: @on: f is async; a handler is called between two reads of the network, write def.",
        ),
        ("x = 1\n", r"my.py has no handler; write @on(...) above a function."),
        (
            "from nats_fluent import on\n@on('a')\ndef f(p): ...\n@on('a')\ndef g(p): ...\n",
            r"my.py:g and my.py:f are both for a; leave one out.",
        ),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path, text, said):
    file = written(tmp_path, text)
    before = set(sys.modules)
    with pytest.raises(SettingsError) as raised:
        load([file])
    assert raised.value.problems == (f"transforms: {said.format(file=file)}",)
    if "handler" not in said and "both" not in said:
        assert {
            name for name in set(sys.modules) - before if name.startswith("nats_fluent_transforms")
        } == set()


@pytest.mark.parametrize("text", ["\n1 / 0\n", "\ndef broken(:\n"])
def test_a_file_is_called_as_it_was_given(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, text)
    with pytest.raises(SettingsError, match=r"^transforms: my\.py:2: \w+Error: "):
        load(["my.py"])


def test_a_syntax_error_elsewhere_is_called_by_that_file(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    written(tmp_path, "def broken(:\n", "nf_helper.py")
    with pytest.raises(SettingsError, match=r"nf_helper\.py:1: SyntaxError: invalid syntax\."):
        load([written(tmp_path, "import nf_helper\n")])


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(
        SettingsError, match=r"none\.py: cannot be read \(No such file or directory\); name a file"
    ):
        load([str(tmp_path / "none.py")])


def test_bytes_that_are_no_text(tmp_path):
    file = tmp_path / "my.py"
    file.write_bytes(b"x = 1\n\x00\xff")
    with pytest.raises(SettingsError, match=rf"transforms: {re.escape(str(file))}.*Error: "):
        load([str(file)])


def test_an_entry_point(monkeypatch, tmp_path):
    written(tmp_path, GOOD, "nf_package.py")
    written(tmp_path, "1 / 0", "nf_broken.py")
    monkeypatch.syspath_prepend(tmp_path)
    known = [
        EntryPoint("module", "nf_package", loader.GROUP),
        EntryPoint("function", "nf_package:enforcer", loader.GROUP),
        EntryPoint("broken", "nf_broken", loader.GROUP),
    ]
    monkeypatch.setattr(loader, "entry_points", lambda group: [each for each in known if each.group == group])
    assert str(load(["module"])) == "enforcer: module:enforcer"
    assert str(load(["function"])) == "enforcer: function:enforcer"
    with pytest.raises(SettingsError, match=r"transforms: broken: ZeroDivisionError: division by zero\."):
        load(["broken"])
    with pytest.raises(
        SettingsError,
        match=r"no entry point 'modul' in the group nats_fluent.transforms; did you mean module\?",
    ):
        load(["modul"])
    with pytest.raises(SettingsError, match=r"no entry point 'x' in .*; name a file that ends in .py"):
        load(["x"])


def test_without_any_the_recorder_is_as_it_was(tmp_path):
    recorder = recorder_of(Settings(), "run", levels=None)
    assert type(recorder) is Recorder
    assert with_transforms(recorder, Settings(), levels=None) is recorder
    settings = Settings(transforms=(written(tmp_path, GOOD),))
    assert type(with_transforms(recorder, settings, levels=None)) is Transforming


def test_the_setting(tmp_path):
    file = tmp_path / "it.toml"
    file.write_text('transforms = ["a.py", "pkg"]\n')
    assert load_settings(flags={}, environ={}, file=file).settings.transforms == ("a.py", "pkg")
    environ = {"NATS_FLUENT_TRANSFORMS": "b.py, c.py"}
    assert load_settings(flags={}, environ=environ, file=file).settings.transforms == ("b.py", "c.py")
    flags = {"transforms": "d.py"}
    assert load_settings(flags=flags, environ=environ, file=file).settings.transforms == ("d.py",)
    for bad, said in (("a.py,a.py", "more than once"), ("a.py,", "has an empty name; leave it out")):
        with pytest.raises(SettingsError, match=said):
            load_settings(flags={"transforms": bad}, environ={}, file=None)
