"""What of a record does not go out: the values at some paths of its content, and some headers.

The paths are run over the content as one automaton. Its state is what is left of each path at that place; what follows
from a state and a key is worked out once and kept.

Most content has nothing to redact. Where it is spliced (`publication.spliced`), the pass over its bytes sees
each key, and turns back at one that a path ends with: without such a key nothing is decoded, and nothing is done here.
What is decoded for another reason is searched for the keys of paths such as ``**.name`` first: that costs less than the
run.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nats_fluent import plain
from nats_fluent.publication import watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nats_fluent.publication import Content
    from nats_fluent.sections import RedactSettings
    from nats_fluent.topics import Topic

SECRETS = tuple(
    f"**.{name}"
    for name in (
        "certificateKey",
        "clientCertificateKey",
        "TLSCertificateKey",
        "privateKey",
        "private",
        "clientSecret",
        "OIDCClientSecret",
        "secretAccessKey",
        "bindPassword",
        "password",
        "newPassword",
        "passphrase",
        "OTP",
        "OTPSecret",
        "OTPQRCode",
        "token",
        "accessToken",
        "activationToken",
        "aporetoToken",
        "appCredential",
    )
)
"""What the platform's objects carry as secrets: the attributes that its model (github.com/aporeto-inc/gaia, specs, all
revisions up to c3775d7 of July 2021) marks as secret or encrypted, or describes as a password, a key or a token to sign
in with; but for `key` and `credentials`, which are also names of what is no secret."""

MASK = "***"

HASH_DIGITS = 32
"""Hexadecimal digits of a hash that go out: 128 of the 256 bits of HMAC-SHA256, enough to tell values apart."""

_LONGEST_WATCHED = 255
"""Bytes."""
_ANYWHERE = 2
"""Parts of a path as ``**.name``."""

_STATES = 4096
"""States that are kept. Those of usual paths are fewer than ten; of contrived ones there may be any number."""

_Paths = frozenset[tuple[str, ...]]
"""What is left of each path."""
_NONE: _Paths = frozenset()
_HERE: _Paths = frozenset({()})
"""A path ends here. What other paths there may be is of no interest: all of the value is redacted."""


class _State(NamedTuple):
    """What follows on a key.

    Attributes:
        named: after the keys that paths name here.
        others: after any other key.
        untouched: whether a map has none of the named keys, where no other key is redacted.
    """

    named: dict[str, _Paths]
    others: _Paths
    untouched: Callable[[Iterable[str]], bool]


def _last_name(path: tuple[str, ...]) -> str:
    """Return a key that an object has, somewhere, if the path is about a part of it; empty where any key may be."""
    name = next((key for key in reversed(path) if key not in ("*", "**")), "")
    # Of an event, `entity` stands around its object. The compiled part watches for what is not longer than this.
    return "" if name == "entity" or len(name.encode()) > _LONGEST_WATCHED else name


def _after(paths: _Paths, key: str | None) -> _Paths:
    """Return what is left of the paths after a key; None is one that none of them names."""
    left = {path for path in paths if path[0] == "**"} | {path[1:] for path in paths if path[0] in (key, "*")}
    return _closed(left)


def _closed(paths: set[tuple[str, ...]]) -> _Paths:
    """Add that ``**`` may be for no key at all."""
    if () in paths:
        return _HERE
    return frozenset(paths | {path[1:] for path in paths if path[0] == "**"})


@lru_cache(maxsize=_STATES)
def _state(paths: _Paths) -> _State:
    named = {key: _after(paths, key) for key in {path[0] for path in paths} - {"*", "**"}}
    others = _after(paths, None)
    return _State(named, others, (lambda _: False) if others is _HERE else frozenset(named).isdisjoint)


class Redactor:
    """Redacts content at some paths, in place.

    Attributes:
        watched: what tells, before an object is decoded, that there is nothing to redact in it; None where nothing can.

    Args:
        paths: keys with dots between; ``*`` is any one key, ``**`` any number of keys. A list is no part of a path: it
            holds for each of its items.
        action: ``remove``, ``mask`` or ``hash``.
        key: of the hash.
    """

    def __init__(self, paths: Iterable[str], action: str, key: bytes = b"") -> None:
        split = {tuple(path.split(".")) for path in paths}
        anywhere = {path for path in split if len(path) == _ANYWHERE and path[0] == "**" and path[1] != "*"}
        self._anywhere = frozenset(name for _, name in anywhere)
        self._all = self._starts(split)
        self._others = self._starts(split - anywhere)
        self._action = action
        self._key = key
        names = [_last_name(path) for path in split]
        self.watched = None if "" in names else watch(tuple(dict.fromkeys(names)))

    @staticmethod
    def _starts(paths: set[tuple[str, ...]]) -> tuple[_Paths, _Paths]:
        """Return what is left of the paths at the start of an object's content, and at the entity of an event's."""
        start = _closed(paths)
        return start, _after(start, "entity")

    def __call__(self, content: Content, *, fast: bool = False) -> bool:
        """Redact content; of an event its entity, never its head. Return whether there was anything to redact.

        Args:
            content: which is not packed; an entity that is redacted as a whole is no longer what it is about.
            fast: whether it may hold what is not plain, which is not hashed.

        Raises:
            NotFast: it is `fast`, and something is to be hashed that is not text.
        """
        value, event = content.value, content.event
        inside = value.get("entity") if event else value
        is_there = bool(self._anywhere) and ((event and "entity" in self._anywhere) or self._has_name(inside))
        start, entity = self._all if is_there else self._others
        if event and entity is _HERE:
            found = "entity" in value and self.value(value, "entity", fast=fast)
            content.about.clear()
            return found
        paths = entity if event else start
        return bool(paths) and self._walk(inside, paths, fast=fast)

    def _has_name(self, value: object) -> bool:
        """Whether there is, at any depth, a key that is redacted wherever it is."""
        without = self._anywhere.isdisjoint
        places = [value] if isinstance(value, dict | list) else []
        for holds in places:  # which grows meanwhile
            inside: Any = holds
            if type(holds) is dict:
                if not without(holds):
                    return True
                inside = holds.values()
            for each in inside:
                # Most are text, and most of the others are empty: so this order costs least.
                if type(each) is not str and each and (type(each) is dict or type(each) is list):
                    places.append(each)  # noqa: PERF401 - a comprehension costs its call here
        return False

    def _walk(self, value: object, paths: _Paths, *, fast: bool) -> bool:
        found = False
        places: list[tuple[Any, _Paths]] = (
            [(value, paths)] if paths and isinstance(value, dict | list) else []
        )
        for holds, paths_here in places:  # which grows meanwhile
            if type(holds) is dict:
                state = _state(paths_here)
                if not state.untouched(holds):
                    found |= self._named(holds, state, places, fast=fast)
                    continue
                inside, left = holds.values(), state.others
            else:
                inside, left = holds, paths_here
            if left:
                for each in inside:
                    if type(each) is dict or type(each) is list:
                        places.append((each, left))  # noqa: PERF401 - as above
        return found

    def _named(
        self, holds: dict[str, Any], state: _State, places: list[tuple[Any, _Paths]], *, fast: bool
    ) -> bool:
        """Redact in a map that has keys of the paths; what is to be looked into goes to the places."""
        found = False
        for key in list(holds) if state.others else state.named.keys() & holds.keys():
            left = state.named.get(key, state.others)
            if left is _HERE:
                found |= self.value(holds, key, fast=fast)
            elif left and isinstance(holds[key], dict | list):
                places.append((holds[key], left))
        return found

    def value(self, holds: dict[str, Any], key: str, *, fast: bool = False) -> bool:
        """Redact one value, in place; arguments and errors else as for content."""
        value = holds[key]
        if self._action == "remove":
            del holds[key]
        elif value is None or (isinstance(value, str | bytes) and not value):
            return False  # that there is nothing is no secret
        elif self._action == "mask":
            holds[key] = MASK
        else:
            holds[key] = self._hash(value, fast=fast)
        return True

    def _hash(self, value: Any, *, fast: bool) -> str:  # noqa: ANN401 - any plain value
        if type(value) is not str:
            if fast:
                raise plain.NotFast
            value = msgspec.json.encode(value, order="sorted").decode()
        return f"hmac:{hmac.digest(self._key, value.encode(), 'sha256').hex()[:HASH_DIGITS]}"


class Redaction:
    """What the settings say is to be redacted, by topic.

    Args:
        settings: the section; its action is not ``off``.
        topics: some of which may have paths of their own, or none.

    Raises:
        SettingsError: the file with the key cannot be read.
    """

    def __init__(self, settings: RedactSettings, topics: Iterable[Topic] = ()) -> None:
        key = settings.key.get().encode() if settings.key is not None else b""
        paths = (*(SECRETS if settings.secrets == "on" else ()), *settings.paths)
        self._usual = Redactor(paths, settings.action, key)
        self._by_topic: dict[str, Redactor | None] = {
            topic.topic: Redactor((*paths, *topic.redact), settings.action, key) if topic.redact else None
            for topic in topics
            if topic.redact is not None
        }
        self._names = frozenset(name.lower() for name in settings.headers)
        self._omit = settings.undecodable == "omit"

    def of(self, topic: str) -> Redactor | None:
        """Return what redacts the content of a topic; None where nothing is redacted."""
        return self._by_topic.get(topic, self._usual)

    def headers(self, topic: str, headers: dict[str, Any]) -> None:
        """Redact headers, in place; upper and lower case are the same in a name."""
        redactor = self.of(topic)
        if redactor is not None:
            for name in [name for name in headers if name.lower() in self._names]:
                redactor.value(headers, name)

    def omits(self, topic: str) -> bool:
        """Whether the bytes of what cannot be decoded are left out, as there is no telling what is in them."""
        return self._omit and self.of(topic) is not None
