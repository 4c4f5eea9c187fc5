"""``nats-fluent test``: what publications become under the user's settings and handlers, held to what a file says.

A file is TOML or YAML: a list ``case`` of tables, each with a publication and the records that it should become.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import json
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

from nats_fluent import testing
from nats_fluent.errors import SettingsError
from nats_fluent.objects import plain_of
from nats_fluent.options import nearest
from nats_fluent.testing import Emitted, Message, Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from nats_fluent.settings import Settings

_CASE = ("name", "publication", "object", "payload", "subject", "headers", "records", "tags", "exact")
_PUBLICATION = ("identity", "entity", "operation", "timestamp", "topic", "encoding")
_OBJECT = ("topic", "value", "encoding")
_PAYLOAD = ("base64", "hex", "file")
_ENCODINGS = {"msgpack": testing.MSGPACK, "json": testing.JSON}


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


ABSENT = _Absent()
"""Where one of two has nothing."""


class Case(NamedTuple):
    """A publication, and what it should become.

    Attributes:
        name: as the file has it.
        message: what is published.
        records: the fields that each record should have.
        tags: of the records; None where that does not matter.
        exact: whether a record may have no other fields.
    """

    name: str
    message: Message
    records: list[dict[str, Any]]
    tags: list[str] | None
    exact: bool


class Difference(NamedTuple):
    """Where a record is not as it should be: the path, and both values."""

    path: str
    expected: object
    found: object


def run(files: Iterable[Path], settings: Settings) -> int:
    """Try the cases of all files, and print what becomes of each.

    Returns:
        The exit code: 0 when all are as they should be, else 1.

    Raises:
        SettingsError: a file cannot be read, or has no case, or one that cannot be tried.
    """
    sidecar = Sidecar(settings)
    loaded = [(file, read(file)) for file in files]
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    failed = total = 0
    for file, cases in loaded:
        for case in cases:
            total += 1
            ran = sidecar.give(case.message)
            found = list(differences(case, ran.records))
            failed += bool(found)
            console.print("FAIL" if found else "ok  ", style="red" if found else "green", end=" ")
            console.print(f"{file}: {case.name}")
            for path, expected, got in found:
                console.print(f"     {path}", style="bold")
                console.print(f"       - {_shown(expected)}", style="red")
                console.print(f"       + {_shown(got)}", style="green")
            for each in ran.records if found else ():
                if "transform_error" in each.record:
                    console.print(f"     the handler failed: {each.record['transform_error']}")
    console.print(
        f"{total} cases: {total - failed} passed, {failed} failed", style="red" if failed else "green"
    )
    return 1 if failed else 0


def _shown(value: object) -> str:
    return repr(value) if value is ABSENT else json.dumps(value, ensure_ascii=False)


def differences(case: Case, records: list[Emitted]) -> Iterator[Difference]:
    """Compare what came with what should have."""
    if len(records) != len(case.records):
        yield Difference("records", len(case.records), len(records))
    for at, expected in enumerate(case.records):
        where = f"record {at + 1}"
        if at >= len(records):
            yield Difference(where, expected, ABSENT)
            continue
        if case.tags is not None and case.tags[at] != records[at].tag:
            yield Difference(f"{where}: tag", case.tags[at], records[at].tag)
        yield from _compared(expected, records[at].record, f"{where}: ", exact=case.exact)
    for at in range(len(case.records), len(records)):
        yield Difference(f"record {at + 1}", ABSENT, records[at].record)


def _compared(expected: object, found: object, path: str, *, exact: bool) -> Iterator[Difference]:
    """Compare two values; of a map those fields alone that are expected, where it is not to be exact."""
    if isinstance(expected, dict) and isinstance(found, dict):
        names = dict.fromkeys([*expected, *(found if exact else ())])
        for name in names:
            below = f"{path}{'' if path.endswith(' ') else '.'}{name}"
            yield from _compared(expected.get(name, ABSENT), found.get(name, ABSENT), below, exact=exact)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for at, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from _compared(one, other, f"{path}[{at}]", exact=exact)
    elif expected != found or isinstance(expected, bool) is not isinstance(found, bool):
        yield Difference(path, expected, found)


def read(file: Path) -> list[Case]:
    """Read a file of cases.

    Raises:
        SettingsError: with a sentence for the first thing that is wrong with it.
    """
    document = _document(file)
    if not isinstance(document, dict) or set(document) != {"case"}:
        raise SettingsError(f"{file}: what stands there is not a list of cases; begin each with [[case]].")
    cases = document["case"]
    if not isinstance(cases, list) or not cases:
        raise SettingsError(f"{file}: there is no case; begin one with [[case]].")
    found = []
    for number, raw in enumerate(cases, start=1):
        name = raw.get("name") if isinstance(raw, dict) else None
        try:
            found.append(_case(raw, file))
        except (TypeError, ValueError) as error:
            raise SettingsError(f"{file}: case {number}{f' ({name})' if name else ''}: {error}.") from None
    return found


def _document(file: Path) -> Any:  # noqa: ANN401 - whatever stands there
    try:
        text = file.read_text("utf-8")
        if file.suffix not in (".yaml", ".yml"):
            return tomllib.loads(text)
        yaml = importlib.import_module("yaml")
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read ({error.strerror}).") from None
    except ImportError:
        raise SettingsError(
            f"{file}: PyYAML is not installed; pip install 'nats-fluent[yaml]', or write it as TOML."
        ) from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{file}: is not TOML; {error}.") from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{file}: is not YAML; {' '.join(str(error).split())}.") from None


def _case(raw: object, file: Path) -> Case:
    case = _table(raw, _CASE, "a case")
    name, records, tags = case.get("name"), case.get("records"), case.get("tags")
    exact, subject, headers = case.get("exact", False), case.get("subject", ""), case.get("headers")
    if not isinstance(name, str) or not name:
        raise ValueError("there is no name; give it one")
    if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        raise ValueError("records is not a list of tables; write records = [] for none")
    if tags is not None and (not isinstance(tags, list) or len(tags) != len(records)):
        raise ValueError(f"tags is not a list of {len(records)}, one for each of the records")
    if not isinstance(exact, bool):
        raise TypeError("exact is not true or false")
    if not isinstance(subject, str) or not isinstance(headers, dict | None):
        raise TypeError("subject is a text, and headers is a table")
    return Case(name, Message(_payload(case, file), subject, headers), plain_of(records), tags, exact)


def _payload(case: Mapping[str, Any], file: Path) -> bytes:
    makers: dict[str, Callable[[object, Path], bytes]] = {
        "publication": _event,
        "object": _object,
        "payload": _bytes,
    }
    given = [name for name in makers if name in case]
    if len(given) != 1:
        raise ValueError(
            f"give one of publication, object and payload; there is {' and '.join(given) or 'none'}"
        )
    return makers[given[0]](case[given[0]], file)


def _event(raw: object, _: Path) -> bytes:
    fields = dict(_table(raw, _PUBLICATION, "a publication"))
    if not isinstance(fields.get("identity"), str):
        raise TypeError("the publication has no identity")
    fields["encoding"] = _encoding(fields)
    return testing.publication(**fields)


def _object(raw: object, _: Path) -> bytes:
    fields = _table(raw, _OBJECT, "an object")
    if not isinstance(fields.get("topic"), str) or not isinstance(fields.get("value"), dict):
        raise TypeError("an object has a topic, which is a text, and a value, which is a table")
    return testing.bare(fields["value"], fields["topic"], encoding=_encoding(fields))


def _encoding(fields: Mapping[str, Any]) -> str:
    name = fields.get("encoding", "msgpack")
    if name not in _ENCODINGS:
        raise ValueError(f"encoding is {' or '.join(_ENCODINGS)}, not {name!r}")
    return _ENCODINGS[name]


def _bytes(raw: object, file: Path) -> bytes:
    fields = _table(raw, _PAYLOAD, "a payload")
    if len(fields) != 1 or not isinstance(text := next(iter(fields.values())), str):
        raise ValueError(f"a payload is one of {', '.join(_PAYLOAD)}, and a text")
    if "file" in fields:
        try:
            return (file.parent / text).read_bytes()
        except OSError as error:
            raise ValueError(f"{file.parent / text}: cannot be read ({error.strerror})") from None
    try:
        return base64.b64decode(text, validate=True) if "base64" in fields else bytes.fromhex(text)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"the payload is not {next(iter(fields))}; {error}") from None


def _table(raw: object, known: tuple[str, ...], what: str) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise TypeError(f"what stands there is not {what}, which is a table")
    for name in raw:
        if name not in known:
            hint = nearest(str(name), known) or f"; it has {', '.join(known)}"
            raise ValueError(f"{name!r} is not a key of {what}{hint}")
    return raw
