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
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from nats_fluent.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PREFIX = "NATS_FLUENT_"
TAG_FIELDS = ("topic", "subject", "identity", "operation")
NATS_PORT = 4222
FORWARD_PORT = 24224

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


class Topic(NamedTuple):
    """One subscription: the NATS subject to subscribe to, and the name that its records carry."""

    subject: str
    topic: str

    def __str__(self) -> str:
        return self.subject if self.topic == bare_subject(self.subject) else f"{self.subject}={self.topic}"


class FluentUrl(NamedTuple):
    """Where records go.

    Attributes:
        scheme: ``forward``, ``forward+tls``, ``unix`` or ``stdout``.
        host: a name or an address without brackets; empty for ``unix`` and ``stdout``.
        port: the TCP port; 0 for ``unix`` and ``stdout``.
        path: of the Unix socket; empty for the others.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "forward+tls"

    def __str__(self) -> str:
        if self.scheme == "stdout":
            return "stdout:"
        if self.scheme == "unix":
            return f"unix://{self.path}"
        return f"{self.scheme}://{_address(self.host, self.port)}"


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


def bare_subject(subject: str) -> str:
    """Return the subject without its wildcard tokens."""
    return ".".join(token for token in subject.split(".") if token not in ("*", ">"))


def overlap(one: str, other: str) -> bool:
    """Whether a message can match both subjects."""
    for left, right in zip_longest(one.split("."), other.split(".")):
        if left is None or right is None:
            return False
        if ">" in (left, right):
            return True
        if left != right and "*" not in (left, right):
            return False
    return True


def quote(raw: object) -> str:
    """Return what was found, fit for one line of a message."""
    text = repr(raw)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line's worth


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"{quote(raw)} is not text; put it in quotes")  # noqa: TRY004 - as all parsers
    if not raw.isprintable():
        raise ValueError(f"{quote(raw)} has characters that cannot be printed; leave them out")
    return raw


def _word(raw: object) -> str:
    text = _text(raw)
    if " " in text:
        raise ValueError(f"{quote(raw)} has a space; leave it out")
    return text


def _secret(raw: object) -> Secret:
    if not isinstance(raw, str):
        raise ValueError("what is there is not text; put it in quotes")  # noqa: TRY004 - as all parsers
    return Secret(raw)


def _path(raw: object) -> Path:
    return Path(_text(raw))


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
    text = _word(raw)
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


def _items(raw: object) -> list[Any]:
    items = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(items, list) or not items:
        raise ValueError(f"{quote(raw)} is not a list; write one or more, with commas between")
    return [item.strip() if isinstance(item, str) else item for item in items]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _addresses(raw: object) -> list[str]:
    if "@" in str(raw):
        raise ValueError("what is there has an @, as credentials have; give user and password on their own")
    return [_word(item) for item in _items(raw)]


def _endpoint(url: str, schemes: tuple[str, ...], port: int, forms: str) -> tuple[str, str, int]:
    """Return scheme, host and port of an address that has nothing else."""
    try:
        parts = urlsplit(url)
        found = (parts.scheme, parts.hostname or "", port if parts.port is None else parts.port)
    except ValueError:
        found = ("", "", 0)
    else:
        if parts.path.rstrip("/") or parts.query or parts.fragment:
            found = ("", "", 0)
    if found[0] not in schemes or not found[1] or not found[2]:
        raise ValueError(f"{quote(url)} is not an address; write {forms}")
    return found


def _servers(raw: object) -> tuple[str, ...]:
    forms = "nats://host:4222, tls://host:4222 or host:4222"
    found = []
    for item in _addresses(raw):
        url = item if "://" in item else f"nats://{item}"
        scheme, host, port = _endpoint(url, ("nats", "tls"), NATS_PORT, forms)
        found.append(f"{scheme}://{_address(host, port)}")
    return tuple(found)


def _fluent_urls(raw: object) -> tuple[FluentUrl, ...]:
    forms = "forward://host:24224, forward+tls://host:24224, unix:///path or stdout:"
    found = []
    for item in _addresses(raw):
        if item == "stdout:":
            found.append(FluentUrl("stdout"))
        elif item.startswith("unix:///") and item != "unix:///":
            found.append(FluentUrl("unix", path=item.removeprefix("unix://")))
        else:
            found.append(FluentUrl(*_endpoint(item, ("forward", "forward+tls"), FORWARD_PORT, forms)))
    if FluentUrl("stdout") in found and len(found) > 1:
        raise ValueError(f"{quote(raw)} has stdout: beside others; write stdout: alone, or leave it out")
    return tuple(found)


def topic_of(raw: object) -> Topic:
    """Read one topic: ``subject``, ``subject=topic``, or a table with the keys subject and topic."""
    if isinstance(raw, dict):
        if unknown := sorted(set(raw) - {"subject", "topic"}):
            raise ValueError(f"{quote(unknown[0])} is not a key of a topic; write subject and topic")
        subject, name = _word(raw.get("subject", "")), _word(raw.get("topic", ""))
    else:
        subject, _, name = _word(raw).partition("=")
    tokens = subject.split(".")
    if "" in tokens:
        raise ValueError(f"{quote(raw)} has a subject with an empty part; write it as in a.b.c")
    if ">" in tokens[:-1] or any(token not in ("*", ">") and set(token) & {"*", ">"} for token in tokens):
        raise ValueError(f"{quote(raw)} has a misplaced wildcard; write * for one whole part, > for the last")
    name = name or bare_subject(subject)
    if not name:
        raise ValueError(f"{quote(raw)} has only wildcards, so its topic needs a name; write {subject}=name")
    return Topic(subject, name)


def _topics(raw: object) -> tuple[Topic, ...]:
    found = tuple(topic_of(item) for item in _items(raw))
    subjects = [topic.subject for topic in found]
    for subject in subjects:
        if subjects.count(subject) > 1:
            raise ValueError(f"{quote(subject)} is there more than once; write it once")
    return found


def _show_list(values: Iterable[object]) -> str:
    return ",".join(map(str, values))


TEXT = Kind("TEXT", _text)
WORD = Kind("WORD", _word)
SECRET = Kind("SECRET", _secret, lambda secret: f"in {secret.file}" if secret.file else "***", secret=True)
PATH = Kind("FILE", _path)
DURATION = Kind("DURATION", _duration, _show_duration)
SIZE = Kind("SIZE", _size, _show_size)
TAG = Kind("TEMPLATE", _tag)
SERVERS = Kind("URL,...", _servers, _show_list)
FLUENT_URLS = Kind("URL,...", _fluent_urls, _show_list)
TOPICS = Kind("SUBJECT[=TOPIC],...", _topics, _show_list)
