"""What a setting can be: the kinds of value, and how each is read from text or TOML.

A parser takes what a flag, the environment or a TOML file holds. It returns the value, or raises ValueError
with the rest of a sentence that begins with where it was found: what was found, and what to write. It never
repeats a secret.
"""

from __future__ import annotations

import difflib
import re
import string
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nats_fluent.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PREFIX = "NATS_FLUENT_"
TAG_FIELDS = ("topic", "subject", "identity", "operation")

_SECONDS = {
    "": Fraction(1),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
_LONGEST = 86_400  # seconds: a day; what is longer is a slip of the unit
_BYTES = {"": 1, "b": 1} | {
    unit + tail: base**power
    for power, unit in enumerate("kmg", start=1)
    for tail, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
}
_AMOUNT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([A-Za-z]*)", re.ASCII)


class Secret:
    """A password, a key or a passphrase: given as it is, or as the file that holds it.

    Its text is only ever returned by `get`; `repr` and `str` never show it.
    """

    __slots__ = ("_value", "file")

    def __init__(self, value: str | None = None, *, file: Path | None = None) -> None:
        self._value = value
        self.file = file

    def get(self) -> str:
        """Return the text; a file is read each time, so that a rotated secret is taken up.

        Raises:
            SettingsError: the file cannot be read, is not UTF-8, or is empty.
        """
        if self.file is None:
            return self._value or ""
        try:
            text = self.file.read_text("utf-8").rstrip("\r\n")
        except OSError as error:
            raise SettingsError(f"{self.file}: cannot be read ({error.strerror}).") from None
        except UnicodeDecodeError:
            raise SettingsError(f"{self.file}: is not UTF-8 text; write the secret as text.") from None
        if not text:
            raise SettingsError(f"{self.file}: is empty; write the secret into it.")
        return text

    def __repr__(self) -> str:
        return f"Secret(file={str(self.file)!r})" if self.file else "Secret('***')"


class Kind(msgspec.Struct, frozen=True):
    """A kind of value: what to call it in the help, how it is read and shown, whether it is secret."""

    metavar: str
    parse: Callable[[object], Any]
    show: Callable[[Any], str] = str
    secret: bool = False


class Say(msgspec.Struct, frozen=True):
    """What is said of a field where it is declared: its kind, one sentence, older environment names."""

    kind: Kind
    doc: str
    aliases: tuple[str, ...] = ()


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as the catalogue lists it; `name` is empty where the section is the setting."""

    section: str
    name: str
    kind: Kind
    default: Any
    doc: str
    aliases: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name in messages and in TOML: ``section.name``."""
        return f"{self.section}.{self.name}".rstrip(".")

    @property
    def env(self) -> str:
        """The name of the environment variable."""
        return PREFIX + self.param.upper()

    @property
    def flag(self) -> str:
        """The flag of the command line."""
        return "--" + self.param.replace("_", "-")

    @property
    def param(self) -> str:
        """The name as a Python identifier, which is the key of `flags` in `settings.load`."""
        return f"{self.section}_{self.name}".rstrip("_")

    def show(self, value: Any) -> str:  # noqa: ANN401 - the kind knows the type
        """Return the value as it can be written in a file; an empty string for none."""
        return "" if value is None else self.kind.show(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean X?`` for the known name that is most like `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def quote(raw: object) -> str:
    """Return what was found, fit for one line of a message."""
    text = repr(raw)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line's worth


def text_of(raw: object) -> str:
    """Read one line of printable text."""
    if not isinstance(raw, str):
        raise ValueError(f"{quote(raw)} is not text; put it in quotes")  # noqa: TRY004 - as all parsers
    if not raw.isprintable():
        raise ValueError(f"{quote(raw)} has characters that cannot be printed; leave them out")
    return raw


def word_of(raw: object) -> str:
    """Read text without a space."""
    text = text_of(raw)
    if " " in text:
        raise ValueError(f"{quote(raw)} has a space; leave it out")
    return text


def _secret(raw: object) -> Secret:
    if not isinstance(raw, str):
        raise ValueError("what is there is not text; put it in quotes")  # noqa: TRY004 - as all parsers
    try:
        raw.encode()
    except UnicodeEncodeError:
        raise ValueError("what is there is not UTF-8; write the secret as text") from None
    return Secret(raw)


def _path(raw: object) -> Path:
    return Path(text_of(raw))


def _amount(raw: object, units: dict[str, Any], what: str) -> Fraction:
    match = _AMOUNT.fullmatch(str(raw).strip())
    if match is None or isinstance(raw, bool) or match[2].lower() not in units:
        raise ValueError(f"{quote(raw)} is not {what}")
    return Fraction(match[1]) * Fraction(units[match[2].lower()])


def _duration(raw: object) -> float:
    seconds = _amount(raw, _SECONDS, "a duration; write seconds, or 500ms, 5s or 1m")
    if not Fraction(1, 1000) <= seconds <= _LONGEST:
        raise ValueError(f"{quote(raw)} is out of bounds; write 1ms to 24h")
    return float(seconds)


def _show_duration(value: float) -> str:
    return f"{value:.15g}s" if value >= 1 else f"{value * 1000:.15g}ms"


def _size(raw: object) -> int:
    size = _amount(raw, _BYTES, "a size; write bytes, or 900k, 1MB or 64MiB")
    if size < 1 or size.denominator != 1:
        raise ValueError(f"{quote(raw)} is not a whole number of bytes above 0")
    return int(size)


def _show_size(value: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("MB", 10**6), ("KiB", 1 << 10), ("kB", 1000)):
        if value % size == 0:
            return f"{value // size}{unit}"
    return str(value)


def whole(low: int, high: int) -> Kind:
    """Return the kind of a whole number from `low` to `high`."""

    def parse(raw: object) -> int:
        if isinstance(raw, bool) or re.fullmatch(r"[0-9]{1,18}", str(raw).strip(), re.ASCII) is None:
            raise ValueError(f"{quote(raw)} is not a whole number; write {low} to {high}")
        if not low <= int(str(raw)) <= high:
            raise ValueError(f"{quote(raw)} is out of bounds; write {low} to {high}")
        return int(str(raw))

    return Kind("COUNT", parse)


def choice(*names: str, also: dict[str, str] | None = None) -> Kind:
    """Return the kind of one of `names`; `also` maps other spellings to them."""
    spelled = {name: name for name in names} | (also or {})

    def parse(raw: object) -> str:
        found = spelled.get(str(raw).strip().lower())
        if found is None:
            raise ValueError(f"{quote(raw)} is not one of {', '.join(names)}{nearest(str(raw), names)}")
        return found

    return Kind("|".join(names), parse)


def _tag(raw: object) -> str:
    text = word_of(raw)
    fields = f"the fields are {', '.join(f'{{{name}}}' for name in TAG_FIELDS)}"
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        raise ValueError(f"{quote(raw)} has a brace without its other half; {fields}") from None
    for _, name, spec, conversion in parts:
        if name is not None and (name not in TAG_FIELDS or spec or conversion):
            raise ValueError(
                f"{quote(raw)} has a field {{{name}}}{nearest(name, TAG_FIELDS) or f'; {fields}'}"
            )
    return text


def _name(raw: object) -> str:
    # ADR-6 of NATS: what names a stream or a consumer is a part of subjects and of file names.
    if found := set(word_of(raw)) & set(".*>/\\"):
        raise ValueError(f"{quote(raw)} has {' and '.join(sorted(found))}, which no such name may have")
    return word_of(raw)


TEXT = Kind("TEXT", text_of)
WORD = Kind("WORD", word_of)
SECRET = Kind("SECRET", _secret, lambda secret: f"in {secret.file}" if secret.file else "***", secret=True)
NAME = Kind("NAME", _name)
PATH = Kind("FILE", _path)
DIRECTORY = Kind("DIR", text_of)
DURATION = Kind("DURATION", _duration, _show_duration)
SIZE = Kind("SIZE", _size, _show_size)
TAG = Kind("TEMPLATE", _tag)
