"""``nats-fluent init``: asks what it was not told, where there is somebody to ask, and writes the files.

Nothing is written before the last answer is in, and nothing that is there is overwritten without being told to.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from nats_fluent import scaffold
from nats_fluent.composing import SHIPPERS, Wish
from nats_fluent.errors import SettingsError
from nats_fluent.options import nearest
from nats_fluent.settings import CATALOGUE, DEFAULT_TOPICS, Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nats_fluent.scaffold import File

CONF = Path(__file__).resolve().parent / "conf"
"""The files of ``conf/``, which come with the package."""

PASSWORD_ENV = next(option.env for option in CATALOGUE if option.key == "nats.password")


def outputs(shipper: str) -> list[str]:
    """Return the names of what the log shipper can send to."""
    return sorted(file.stem for file in (CONF / SHIPPERS[shipper]).glob("*.conf"))


class Request(msgspec.Struct, kw_only=True):
    """What was asked for; None, or a key that is missing, is what was left open.

    Attributes:
        flags: the settings that were given, by `Option.param`.
        shipper: one of `SHIPPERS`.
        output: the name of one of its outputs.
        values: what the output is told by the environment.
        image: that of the consumer.
        password: what was typed.
    """

    flags: dict[str, str]
    shipper: str | None
    output: str | None
    values: dict[str, str]
    image: str
    password: str | None = None


def values_of(pairs: Iterable[str]) -> dict[str, str]:
    """Return the values of ``NAME=VALUE``.

    Raises:
        SettingsError: one has no name or no ``=``.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise SettingsError(f"--set {pair}: is not NAME=VALUE, as in --set KAFKA_BROKERS=kafka:9092.")
        found[name] = value
    return found


def run(directory: Path, request: Request, *, ask: bool, force: bool) -> int:
    """Ask for what is open, write the files, and say what to do next.

    Args:
        directory: where they go; made when it is not there.
        request: what was asked for.
        ask: whether there is somebody to ask; else what is open is the default.
        force: whether to overwrite.

    Returns:
        The exit code, 0.

    Raises:
        SettingsError: something cannot be as it was asked for, is there already, or cannot be written.
    """
    if ask:
        _ask(request)
    wish = _wish(directory, request)
    files = scaffold.files(wish, lambda name: (CONF / name).read_text("utf-8"))
    _write(directory, files, force=force)
    for line in _next(directory, wish, files):
        typer.echo(line)
    return 0


def _wish(directory: Path, request: Request) -> Wish:
    shipper, output = request.shipper or "fluent-bit", request.output or "stdout"
    if output not in (there := outputs(shipper)):
        hint = nearest(output, there) or f"; it has {', '.join(there)}"
        raise SettingsError(
            f"--output {output}: {shipper} has no such output{hint if '?' in hint else hint + '.'}"
        )
    flags = {param: value for param, value in request.flags.items() if value.strip()}
    environ = {} if request.password is None else {PASSWORD_ENV: request.password}
    settings = load(flags=flags, environ=environ, file=None).settings
    given = {
        option.key: _inside(directory, Path(flags[option.param]))
        if option.kind.metavar == "FILE"
        else _value(settings, option.section, option.name)
        for option in CATALOGUE
        if option.param in flags
    }
    if request.password is not None:
        given["nats.password_file"] = Path(scaffold.PASSWORD)
    if "nats.servers" not in given and (login := [key for key in given if key in _LOGIN]):
        raise SettingsError(
            f"{login[0]} is of no use to the NATS server of the compose file; give --servers."
        )
    values = dict(request.values)
    known = {one.name for one in _variables(shipper, output)}
    if "KAFKA_TOPICS" in known and "topics" in given:
        values.setdefault("KAFKA_TOPICS", ",".join(dict.fromkeys(one.topic for one in settings.topics)))
    user = f"{os.getuid()}:{os.getgid()}"
    return Wish(given, settings.topics, shipper, output, values, request.image, user, request.password)


_LOGIN = {
    option.key
    for option in CATALOGUE
    if option.section == "nats" and (option.name in ("user", "tls_first") or option.name.endswith("_file"))
}


def _value(settings: Settings, section: str, name: str) -> Any:  # noqa: ANN401 - the kind knows the type
    part = getattr(settings, section)
    return getattr(part, name) if name else part


def _inside(directory: Path, path: Path) -> Path:
    """Return the path as the settings are to have it: from the directory where it is in there, else from the root."""
    path, directory = path.resolve(), directory.resolve()
    return path.relative_to(directory) if path.is_relative_to(directory) else path


def _variables(shipper: str, output: str) -> list[scaffold.Variable]:
    return scaffold.variables((CONF / SHIPPERS[shipper] / f"{output}.conf").read_text("utf-8"))


def _ask(request: Request) -> None:
    """Ask for what is open, each with a default."""
    flags = request.flags
    if "nats_servers" not in flags:
        flags["nats_servers"] = _answer("NATS servers; blank for one in the compose file", "nats_servers")
        login = {param for param in flags if f"{param.replace('_', '.', 1)}" in _LOGIN}
        if flags["nats_servers"] and not login:
            flags["nats_user"] = _answer("User at NATS; blank for none", "nats_user")
            if flags["nats_user"]:
                request.password = typer.prompt("Password (not shown)", hide_input=True, err=True)
    _ask_subjects(flags)
    if "jetstream_stream" not in flags:
        flags["jetstream_stream"] = _answer("JetStream stream; blank for core NATS", "jetstream_stream")
    if request.shipper is None:
        request.shipper = _choose("Log shipper", list(SHIPPERS), "fluent-bit")
    if request.output is None:
        request.output = _choose("Output", outputs(request.shipper), "stdout")
    if request.output in outputs(request.shipper):
        for one in _variables(request.shipper, request.output):
            if one.required and not request.values.get(one.name):
                request.values[one.name] = typer.prompt(f"{one.name} ({one.doc})", err=True)


def _ask_subjects(flags: dict[str, str]) -> None:
    if "topics" in flags:
        return
    subjects = _answer("Subjects", "topics", default=",".join(DEFAULT_TOPICS))
    if subjects == ",".join(DEFAULT_TOPICS):
        return
    flags["topics"] = subjects
    if "record_format" not in flags:
        flags["record_format"] = _answer("Format of their messages", "record_format", default="json")


def _answer(question: str, param: str, default: str = "") -> str:
    """Ask until the answer is one that the setting can be."""
    option = next(option for option in CATALOGUE if option.param == param)

    def check(text: str) -> str:
        if text.strip():
            try:
                option.kind.parse(text)
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
        return text.strip()

    return _prompt(question, default, check)


def _choose(question: str, names: list[str], default: str) -> str:
    def check(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"write one of {', '.join(names)}")
        return text

    return _prompt(f"{question} ({', '.join(names)})", default, check)


def _prompt(question: str, default: str, check: Callable[[str], str]) -> str:
    answer: str = typer.prompt(
        question, default=default, show_default=bool(default), value_proc=check, err=True
    )
    return answer


def _write(directory: Path, files: dict[str, File], *, force: bool) -> None:
    there = [name for name in files if os.path.lexists(directory / name)]
    if there and not force:
        raise SettingsError(
            f"{directory / there[0]} is there already; give another directory, or --force to overwrite "
            f"{' and '.join(there)}."
        )
    for name, file in files.items():
        path = directory / name
        try:
            _make_parent(directory, path.parent)
            # Made anew: with the mode that it is to have, and never through a link to elsewhere.
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                # Whatever the umask: the containers read them as other users.
                os.fchmod(out.fileno(), 0o600 if file.private else 0o644)
                out.write(file.text)
        except OSError as error:
            raise SettingsError(f"{path}: cannot be written ({error.strerror}).") from None


def _make_parent(directory: Path, parent: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if parent.is_dir():
        return
    _make_parent(directory, parent.parent)
    parent.mkdir()
    parent.chmod(0o755)


def _next(directory: Path, wish: Wish, files: dict[str, File]) -> list[str]:
    """Return what to say: what was written, and the next commands."""
    into = "" if directory.resolve() == Path.cwd() else f"cd {shlex.quote(str(directory))} && "
    main = f"conf/{wish.shipper}.conf"
    told = f"set -a && . ./{wish.env_file} && set +a && " if wish.env_file in files else ""
    lines = [f"Wrote into {directory}: {', '.join(files)}"]
    lines += [f"  {name} is for you alone (mode 0600)." for name, file in files.items() if file.private]
    lines += [
        "Next, with Docker:",
        f"  {into}docker compose up -d && docker compose logs -f {wish.shipper}",
        "or with what is on this machine, each in a terminal of its own:",
        f"  {into}{told}STORAGE_PATH=$PWD/storage {wish.shipper} -c {main}",
        f"  {into}nats-fluent check --connect --config nats-fluent.toml && nats-fluent run --config nats-fluent.toml",
    ]
    return lines


def asked_on_a_terminal() -> bool:
    """Return whether there is somebody to ask."""
    return sys.stdin.isatty()
