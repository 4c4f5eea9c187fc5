"""Whatever stands in the file or in the environment, settings come of it, or an error that names no secret."""

from __future__ import annotations

import tempfile
from pathlib import Path

from nats_fluent import settings
from nats_fluent.errors import SettingsError
from nats_fluent.settings import CATALOGUE

NAMES = [name for option in CATALOGUE for name in (option.env, *option.aliases)]
SECRETS = {name for option in CATALOGUE if option.kind.secret for name in (option.env, *option.aliases)}
ELSEWHERE = (b"/dev", b"/proc", b"/sys", b"/run")
"""Files that block, or have no end: whoever names these means it."""
LONG = 8
"""Characters of a secret that are in no message by chance."""


def seeds():
    conf = Path(__file__).parent.parent.parent / "conf" / "nats-fluent.toml"
    text = conf.read_bytes() if conf.exists() else b""
    shown = "\n".join(
        line.removeprefix("# ") for line in text.decode().splitlines() if " = " in line or "[" in line
    )
    for at in range(0, len(shown), 2_000):
        yield b"\x00" + shown[at : at + 3_000].encode()
    for option in CATALOGUE:
        yield (
            b"\x00" + f'[{option.section}]\n{option.name or "a"} = "{option.show(option.default)}"\n'.encode()
        )
        yield b"\x01" + f"{option.env}={option.show(option.default) or 'secret-and-long'}".encode()
    yield b"\x00a = " + b"[" * 2_000
    yield b"\x00a = " + b"9" * 4_050
    yield b"\x00a = 0x" + b"f" * 4_000
    yield b"\x01NATS_FLUENT_NATS_SERVERS=nats://user:password-and-long@host"
    yield b"\x01NATS_FLUENT_HTTP_LISTEN=user:password-and-long@host:1"
    yield b"\x01NATS_FLUENT_FLUENT_SHARED_KEY=\xff\xfe\xfd-and-long"


def check(data: bytes) -> None:
    if any(each in data for each in ELSEWHERE):
        return
    environ: dict[str, str] = {}
    file = None
    with tempfile.TemporaryDirectory() as directory:
        if data[:1] == b"\x01":
            for line in data[1:].split(b"\n"):
                name, _, value = line.decode("utf-8", "surrogateescape").partition("=")
                environ[name] = value
        else:
            file = Path(directory) / "nats-fluent.toml"
            file.write_bytes(data[1:])
        try:
            loaded, problems = settings.load(flags={}, environ=environ, file=file), ()
        except SettingsError as error:
            loaded, problems = None, error.problems
    if loaded is None:
        assert problems
        _quiet(environ, "\n".join(problems))
        return
    shown = []
    for option in CATALOGUE:
        value = getattr(loaded.settings, option.section)
        if option.name:
            value = getattr(value, option.name, None)
        shown.append(option.show(value))
        if option.kind.secret and value is not None:
            value.get().encode()
    _quiet(environ, "\n".join([*shown, *loaded.warnings, repr(loaded.settings)]))


def _quiet(environ: dict[str, str], said: str) -> None:
    for name in SECRETS & set(environ):
        text = environ[name].strip()
        assert len(text) < LONG or text not in said
