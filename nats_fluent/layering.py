"""The catalogue of a model, and its values: flags over environment over TOML file over defaults.

A blank value counts as not given. Every problem is collected, so that a user sees all of them at once.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from nats_fluent import options
from nats_fluent.errors import SettingsError
from nats_fluent.options import Option, Say, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

# Kubernetes puts these into a pod's environment for each service of the namespace, so also for one that is
# named as this program; only a URL tells NAME_PORT from a misspelled setting.
_SERVICE_NAME = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


def catalogue(model: type[msgspec.Struct]) -> tuple[Option, ...]:
    """List every setting of the model, in its order; a secret is followed by its ``_file``."""
    found: list[Option] = []
    hints = get_type_hints(model, include_extras=True)
    for field in msgspec.structs.fields(model):
        hint = hints[field.name]
        if hasattr(hint, "__metadata__"):
            found += _options(field.name, "", hint.__metadata__[0], field.default)
            continue
        inner_hints = get_type_hints(hint, include_extras=True)
        for inner in msgspec.structs.fields(hint):
            found += _options(field.name, inner.name, inner_hints[inner.name].__metadata__[0], inner.default)
    return tuple(found)


def _options(section: str, name: str, say: Say, default: object) -> Iterable[Option]:
    yield Option(section=section, name=name, kind=say.kind, default=default, doc=say.doc, aliases=say.aliases)
    if say.kind.secret:
        doc = f"A file that holds {name}, to be given in place of it."
        yield Option(section=section, name=f"{name}_file", kind=options.PATH, default=None, doc=doc)


def build(model: type[msgspec.Struct], values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a model
    """Make the model from the values by key."""
    parts = {}
    for field in msgspec.structs.fields(model):
        if field.name in values:
            parts[field.name] = values[field.name]
        else:
            names = [inner.name for inner in msgspec.structs.fields(field.type)]
            parts[field.name] = field.type(**{name: values[f"{field.name}.{name}"] for name in names})
    return model(**parts)


class Layers:
    """The values of one catalogue, by key, and what is wrong with them.

    Attributes:
        values: by key; an option whose value was refused has one that must not be used.
        origins: by key: ``flag --x``, ``environment NAME``, ``FILE: key`` or ``default``.
        problems: one sentence each.
    """

    def __init__(
        self,
        known: tuple[Option, ...],
        *,
        flags: Mapping[str, object],
        environ: Mapping[str, str],
        file: Path | None,
        former: Mapping[str, tuple[str, object]],
    ) -> None:
        """Take the layers; `former` has, by key, an origin and a value that go over the file's."""
        self.known = known
        self.flags, self.environ, self.former = flags, environ, former
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.problems: list[str] = []
        self._refused: set[str] = set()
        self._file = file
        self._document: dict[str, Any] = {}

    def read(self) -> None:
        """Read the file and every value, and check what is checked of each on its own."""
        self._read_file()
        self._unknown_keys()
        for option in self.known:
            self._take(option)
        for option in self.known:
            if option.kind.secret:
                self._take_secret(option)
        for option in self.known:
            path = self.values.get(option.key)
            if isinstance(path, Path) and (reason := _unreadable(path)):
                self.refuse(f"{self.origins[option.key]}: {path} {reason}", option.key)

    def refuse(self, problem: str, *keys: str) -> None:
        """Note the problem, and that the values of the keys are not to be used."""
        self.problems.append(problem if problem.endswith(("?", ".")) else f"{problem}.")
        self._refused.update(keys)

    def check(self, *keys: str, wrong: Callable[..., bool], problem: str) -> None:
        """Refuse what `wrong` says of the values of the keys, unless one of them is refused already."""
        if not self._refused.intersection(keys) and wrong(*(self.values[key] for key in keys)):
            where = " and ".join(f"{key} ({self.origins[key]})" for key in keys)
            self.refuse(f"{where}: {problem}", *keys)

    def unknown_names(self, prefix: str, known: Iterable[str]) -> Iterator[str]:
        """List the environment's names with the prefix that are not known, nor Kubernetes' own."""
        expected = set(known)
        for name in sorted(self.environ):
            service = _SERVICE_NAME.search(name) or (
                name.endswith("_PORT") and _SERVICE_URL.match(self.environ[name])
            )
            if name.startswith(prefix) and name not in expected and not service:
                yield name

    def _read_file(self) -> None:
        if self._file is None:
            return
        try:
            self._document = tomllib.loads(self._file.read_text("utf-8"))
        except OSError as error:
            self.refuse(f"{self._file}: cannot be read ({error.strerror}); name a TOML file that can be")
        except RecursionError:
            self.refuse(f"{self._file}: is nested too deeply; settings are tables of values")
        # As TOMLDecodeError is, and UnicodeDecodeError, and what `int` says of very many digits.
        except ValueError as error:
            self.refuse(f"{self._file}: is not TOML; {error}")

    def _unknown_keys(self) -> None:
        keys = [option.key for option in self.known]
        sections = {option.section for option in self.known if option.name}
        for section, table in self._document.items():
            if section not in sections:
                found = [section]
            elif isinstance(table, dict):
                found = [f"{section}.{name}" for name in table]
            else:
                self.refuse(f"{self._file}: {section} is not a table; write [{section}] above its settings")
                continue
            for key in found:
                if key not in keys:
                    hint = options.nearest(key, [*keys, *sections]) or "; leave it out"
                    self.refuse(f"{self._file}: {key} is not a setting{hint}")

    def _given(self, option: Option) -> Iterator[tuple[str, object]]:
        """List where the option may be given, and as what; the first that is not blank counts."""
        yield f"flag {option.flag}", self.flags.get(option.param)
        for name in (option.env, *option.aliases):
            yield f"environment {name}", self.environ.get(name)
        if option.key in self.former:
            yield self.former[option.key]
        table = self._document.get(option.section)
        if option.name:
            table = table.get(option.name) if isinstance(table, dict) else None
        yield f"{self._file}: {option.key}", table

    def _take(self, option: Option) -> None:
        self.values[option.key], self.origins[option.key] = option.default, "default"
        for origin, raw in self._given(option):
            if raw is None or (isinstance(raw, str) and not raw.strip()):
                continue
            self.origins[option.key] = origin
            if option.kind.secret and origin.startswith("flag "):
                self.refuse(
                    f"{origin}: others on this machine can see a flag; give {option.flag}-file, or {option.env} in the "
                    "environment",
                    option.key,
                )
                return
            try:
                self.values[option.key] = option.kind.parse(raw)
            except ValueError as error:
                self.refuse(f"{origin}: {error}", option.key)
            return

    def _take_secret(self, option: Option) -> None:
        """Make one Secret of the value and its file."""
        file_key = f"{option.key}_file"
        path = self.values.pop(file_key)
        if path is None:
            return
        origin = self.origins[file_key]
        if self.values[option.key] is not None:
            where = f"{self.origins[option.key]} and {origin}"
            self.refuse(f"{where}: both are given; give the value or the file", option.key)
            return
        self.values[option.key] = Secret(file=path)
        self.origins[option.key] = origin
        try:
            self.values[option.key].get()
        except SettingsError as error:
            self.refuse(f"{origin}: {error}", option.key)


def _unreadable(path: Path) -> str:
    try:
        path.open("rb").close()
    except OSError as error:
        return f"cannot be read ({error.strerror}); name a file that can be"
    return ""
