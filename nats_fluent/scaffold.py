"""What ``nats-fluent init`` writes, as text: settings, a compose file, and the log shipper's configuration.

All of it is made of the files of ``conf/``, which come with the package; nothing is written or asked here.
"""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from nats_fluent.composing import Wish, compose
from nats_fluent.errors import SettingsError
from nats_fluent.options import nearest
from nats_fluent.settings import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats_fluent.options import Option

IMAGE = "kafka-exporter:1.0.0"
"""The consumer's image, as ``make image`` names it."""

PASSWORD = "nats-password"  # noqa: S105 - the file's name
"""The file with the password that was typed."""

OWN_SERVER = "nats://127.0.0.1:4222"
"""The server that the compose file brings, as seen from this machine."""

_INCLUDE = {
    "fluent-bit": "\n@INCLUDE output.d/stdout.conf\n",
    "fluentd": "\n@include fluentd.d/stdout.conf\n",
}
_VARIABLE = re.compile(r"#     ([A-Z][A-Z0-9_]+)(?: +(.*))?")
_CONTINUED = re.compile(r"#      +(\S.*)")
_SECRET = re.compile(r"(PASSWORD|TOKEN|_KEY|HEADER)$")
_PLAIN = re.compile(r"[\w.,:/@%+=-]*", re.ASCII)


class File(NamedTuple):
    """The text of a file, and whether it is for its owner alone."""

    text: str
    private: bool = False


class Variable(NamedTuple):
    """A variable of the environment that an output asks for, and what its file says of it."""

    name: str
    doc: str

    @property
    def required(self) -> bool:
        """Whether the output does not start without it."""
        return self.doc.endswith("no default")

    @property
    def secret(self) -> bool:
        """Whether what it holds is for nobody to see."""
        return _SECRET.search(self.name) is not None


def variables(text: str) -> list[Variable]:
    """Return the variables that the head of an output's file lists."""
    found: list[Variable] = []
    _, begun, rest = text.partition("\n# Environment")
    for line in rest.splitlines()[1:] if begun else ():
        if match := _VARIABLE.fullmatch(line):
            found.append(Variable(match[1], match[2] or ""))
        elif found and (match := _CONTINUED.fullmatch(line)):
            found[-1] = Variable(found[-1].name, f"{found[-1].doc} {match[1]}")
        else:
            break
    return found


def check_values(wish: Wish, known: list[Variable]) -> None:
    """Refuse what the output does not know, what is no flag, and what is missing.

    Raises:
        SettingsError: with a sentence for each.
    """
    problems = []
    by_name = {one.name: one for one in known}
    for name, value in wish.values.items():
        if name not in by_name:
            hint = nearest(name, by_name) or (f"; it has {', '.join(by_name)}" if known else "; leave it out")
            problems.append(f"--set {name}: the output {wish.output} has no such variable{hint}")
        elif by_name[name].secret:
            problems.append(
                f"--set {name}: others on this machine can see a flag; write it into {wish.env_file} afterwards"
            )
        elif not value.isprintable() or "'" in value:
            problems.append(
                f"--set {name}: has a quote or what cannot be printed; write it into {wish.env_file}"
            )
    problems += [
        f"the output {wish.output} needs {one.name}{_described(one)}; give --set {one.name}=VALUE"
        for one in known
        if one.required and not wish.values.get(one.name)
    ]
    if problems:
        raise SettingsError(*(problem if problem.endswith("?") else f"{problem}." for problem in problems))


def _described(one: Variable) -> str:
    doc = one.doc.removesuffix("no default").removesuffix("; ")
    return f" ({doc})" if doc else ""


def files(wish: Wish, read: Callable[[str], str]) -> dict[str, File]:
    """Return what is to be written, by path.

    Args:
        wish: what is asked for.
        read: returns the text of a file of ``conf/``.

    Raises:
        SettingsError: the output is told what it does not know, or not what it needs.
    """
    output = read(wish.output_file)
    known = variables(output)
    check_values(wish, known)
    include = f"{_INCLUDE[wish.shipper]}".replace("stdout", wish.output)
    found = {
        "nats-fluent.toml": File(_settings(wish, read("nats-fluent.toml"))),
        "docker-compose.yml": File("\n".join(compose(wish, env=bool(known))) + "\n"),
        f"conf/{wish.shipper}.conf": File(
            read(f"{wish.shipper}.conf").replace(_INCLUDE[wish.shipper], include)
        ),
        f"conf/{wish.output_file}": File(output),
    }
    if wish.shipper == "fluentd":
        found["conf/Dockerfile.fluentd"] = File(read("Dockerfile.fluentd"))
    if known:
        found[wish.env_file] = File(_environment(wish, known), private=True)
    if wish.password is not None:
        found[PASSWORD] = File(f"{wish.password}\n", private=True)
    return found


def _settings(wish: Wish, template: str) -> str:
    """Return the template with the lines of what was given in force."""
    given = {"nats.servers": (OWN_SERVER,), "fluent.url": ("forward://127.0.0.1:24224",), **wish.given}
    options = {f"#{option.name or option.section} = ": option for option in CATALOGUE}
    lines, section = [], ""
    for line in template.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        name = line.partition(" = ")[0] + " = "
        key = ".".join(filter(None, (section, name[1:-3])))
        written = name in options and key in given
        lines.append(name[1:] + _toml(_option(key), given.pop(key)) if written else line)
    assert not given, given
    return "\n".join(lines) + "\n"


def _option(key: str) -> Option:
    return next(option for option in CATALOGUE if option.key == key)


def _toml(option: Option, value: object) -> str:
    shown = option.show(value)
    if isinstance(value, int):
        return shown
    # Topics with more than a name are shown as JSON, which is taken as text.
    if isinstance(value, tuple) and not shown.startswith("["):
        return json.dumps([str(item) for item in value], ensure_ascii=False)
    return json.dumps(shown, ensure_ascii=False)


def _environment(wish: Wish, known: list[Variable]) -> str:
    lines = [
        f"# What conf/{wish.output_file} asks for. It may hold secrets, so it is for you alone; docker-compose.yml",
        "# gives it to the log shipper. Without Docker:",
        f"#     set -a; . ./{wish.env_file}; set +a",
        "# Take away the # in front of what you set; put a value with a space or a $ between single quotes.",
    ]
    for one in known:
        value = wish.values.get(one.name, "")
        shown = value if _PLAIN.fullmatch(value) else f"'{value}'"
        lines += ["", *textwrap.wrap(one.doc, 118, initial_indent="# ", subsequent_indent="# ")]
        lines.append(f"{'' if value else '#'}{one.name}={shown}")
    return "\n".join(lines) + "\n"
