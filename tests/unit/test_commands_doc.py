"""What is said of the commands: docs/commands.md, and the examples of each."""

from __future__ import annotations

import shlex

import commands_doc
import pytest

from nats_fluent import tail
from nats_fluent.examples import EXAMPLES
from nats_fluent.settings import CATALOGUE, load

COMMANDS = commands_doc.root().commands
EVERY = [(name, example) for name, examples in EXAMPLES.items() for example in examples]


def test_the_page_is_what_the_code_says():
    how = "python tests/commands_doc.py > docs/commands.md"
    assert commands_doc.DOC.read_text("utf-8") == commands_doc.document(), f"make it anew: {how}"


def test_every_command_has_examples():
    assert EXAMPLES.keys() == COMMANDS.keys()
    assert all(EXAMPLES.values())


@pytest.mark.parametrize(("name", "example"), EVERY, ids=lambda one: getattr(one, "line", ""))
def test_an_example_can_be_typed(name, example, tmp_path, monkeypatch):
    """Known to the parser of the command line, and its settings to those who read them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "payload.bin").touch()
    program, command, *arguments = shlex.split(example.line)
    assert (program, command) == ("nats-fluent", name)
    with COMMANDS[name].make_context(name, arguments) as context:
        given = {option.param: context.params.get(option.param) for option in CATALOGUE}
    settings = load(flags=given, environ={}, file=None).settings
    if name == "tail":
        assert tail.topics_for(context.params["subjects"] or (), settings)


def test_a_flag_that_is_not_there_would_be_seen():
    with pytest.raises(Exception, match="no-such"):
        COMMANDS["run"].make_context("run", ["--no-such"])


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_help_ends_with_the_examples(name):
    epilog = COMMANDS[name].epilog
    assert all(f"{line}  # {what}" in epilog for line, what in EXAMPLES[name])
