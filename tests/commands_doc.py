"""docs/commands.md: every command, from what the command line itself is made of.

python tests/commands_doc.py > docs/commands.md
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import typer
from typer.main import get_command

from nats_fluent import cli
from nats_fluent.examples import EXAMPLES
from nats_fluent.settings import CATALOGUE

DOC = Path(__file__).parents[1] / "docs" / "commands.md"
HEAD = """\
# Commands

<!-- python tests/commands_doc.py > docs/commands.md -->

`nats-fluent COMMAND --help` shows the same, with every setting. A setting is a flag of each command that uses it:
[conf/nats-fluent.toml](../conf/nats-fluent.toml) lists them, `nats.servers` there being `--nats-servers` here. A secret
is no flag; the file that holds it is. [README.md](../README.md#run-it) has the exit codes.

`nats-fluent --install-completion` lets the shell complete commands, flags, and what a setting can be where that is one
of a few words: bash, zsh or fish, whichever it is started from. `nats-fluent --show-completion` prints what it would
install, to be put where you keep such things.
"""
NOT_OURS = {"--help", "--install-completion", "--show-completion"}
"""Their sentences are typer's, and change with it."""
SETTINGS = {option.flag for option in CATALOGUE}


def root():
    """The command line, as typer makes it."""
    return get_command(cli.app)


def own(command):
    """The arguments and flags that are no settings, as (how it is written, default, help)."""
    context = typer.Context(command, info_name="nats-fluent")
    for one in command.get_params(context):
        if (SETTINGS | NOT_OURS).intersection(one.opts):
            continue
        names = ", ".join(f"`{name}`" for name in sorted(one.opts, key=len, reverse=True))
        if one.param_type_name == "argument":
            names = f"`{one.metavar or one.name.upper()}`"
        elif not one.is_flag:
            names += f" `{one.metavar or one.name.upper()}`"
        default = f"`{one.default}`" if one.show_default and one.default not in (None, False) else ""
        yield names, default, one.help


def table(command):
    rows = [
        f"| {names} | {default} | {text} |".replace("|  |", "| |") for names, default, text in own(command)
    ]
    rows = [row if row.count("|") == 4 else escaped(row) for row in rows]
    return "\n".join(["| | default | |", "| --- | --- | --- |", *rows])


def escaped(row):
    """A row in which a | stands inside of code, as in TIME|SEQUENCE."""
    parts = row.split("`")
    return "`".join(part.replace("|", "\\|") if number % 2 else part for number, part in enumerate(parts))


def sections(command):
    """The sections of the settings that are flags of the command."""
    there = {name for one in command.params for name in one.opts}
    return list(dict.fromkeys(option.section for option in CATALOGUE if option.flag in there))


def chapter(name, command):
    parts = [f"## nats-fluent {name}", inspect.cleandoc(command.help or ""), table(command)]
    if found := sections(command):
        every = found == list(dict.fromkeys(option.section for option in CATALOGUE))
        which = "all" if every else ", ".join(f"`{one}`" for one in found)
        parts.append(f"Settings as flags: {which}.")
    lines = "\n".join(f"# {what}\n{line}" for line, what in EXAMPLES[name])
    parts.append(f"```sh\n{lines}\n```")
    return "\n\n".join(parts)


def document():
    top = root()
    parts = [HEAD.rstrip(), "## nats-fluent", table(top)]
    parts += [chapter(name, command) for name, command in top.commands.items()]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
