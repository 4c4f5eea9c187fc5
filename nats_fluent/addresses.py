"""Where messages come from and records go: subjects, and the addresses of servers."""

from __future__ import annotations

import ipaddress
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from nats_fluent.options import Kind, quote, text_of, word_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NATS_PORTS = {"nats": 4222, "tls": 4222, "ws": 80, "wss": 443}
"""By scheme; those of a websocket are what NATS's other clients and URLs in general mean."""
FORWARD_PORTS = {"forward": 24224, "forward+tls": 24224}


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


def items_of(raw: object) -> list[Any]:
    """Return the items of a list, or of text with commas between."""
    items = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(items, list) or not items:
        raise ValueError(f"{quote(raw)} is not a list; write one or more, with commas between")
    return [item.strip() if isinstance(item, str) else item for item in items]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _addresses(raw: object) -> list[str]:
    if "@" in str(raw):
        raise ValueError("what is there has an @, as credentials have; give user and password on their own")
    return [word_of(item) for item in items_of(raw)]


def _endpoint(url: str, ports: Mapping[str, int], forms: str) -> tuple[str, str, int]:
    """Return scheme, host and port of an address that has nothing else; `ports` has what is meant by each scheme."""
    try:
        parts = urlsplit(url)
        found = (
            parts.scheme,
            parts.hostname or "",
            ports.get(parts.scheme, 0) if parts.port is None else parts.port,
        )
    except ValueError:
        found = ("", "", 0)
    else:
        if parts.path.rstrip("/") or parts.query or parts.fragment:
            found = ("", "", 0)
    if found[0] not in ports or not found[1] or not found[2]:
        raise ValueError(f"{quote(url)} is not an address; write {forms}")
    return found


def _servers(raw: object) -> tuple[str, ...]:
    forms = "nats://host:4222, tls://host:4222, wss://host:443 or host:4222"
    found = []
    schemes = set()
    for item in _addresses(raw):
        url = item if "://" in item else f"nats://{item}"
        scheme, host, port = _endpoint(url, NATS_PORTS, forms)
        found.append(f"{scheme}://{_address(host, port)}")
        schemes.add(scheme)
    # A nats:// beside a tls:// is turned into TLS, which a websocket cannot be.
    if len(schemes) > 1 and not schemes <= {"nats", "tls"}:
        raise ValueError(
            f"{quote(raw)} has {' and '.join(sorted(schemes))}; with a websocket, write ws or wss for all"
        )
    return tuple(found)


def loopback(url: str) -> bool:
    """Whether what is sent to the URL stays on this host."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761


def _fluent_urls(raw: object) -> tuple[FluentUrl, ...]:
    forms = "forward://host:24224, forward+tls://host:24224, unix:///path or stdout:"
    found = []
    for item in _addresses(raw):
        if item == "stdout:":
            found.append(FluentUrl("stdout"))
        elif item.startswith("unix:///") and item != "unix:///":
            found.append(FluentUrl("unix", path=item.removeprefix("unix://")))
        else:
            found.append(FluentUrl(*_endpoint(item, FORWARD_PORTS, forms)))
    if FluentUrl("stdout") in found and len(found) > 1:
        raise ValueError(f"{quote(raw)} has stdout: beside others; write stdout: alone, or leave it out")
    return tuple(found)


def check_subject(raw: object, subject: str) -> None:
    """Refuse what is not a subject to subscribe to; `raw` is what the message names."""
    tokens = subject.split(".")
    if "" in tokens:
        raise ValueError(f"{quote(raw)} has a subject with an empty part; write it as in a.b.c")
    if ">" in tokens[:-1] or any(token not in ("*", ">") and set(token) & {"*", ">"} for token in tokens):
        raise ValueError(f"{quote(raw)} has a misplaced wildcard; write * for one whole part, > for the last")


def _subjects(raw: object) -> tuple[str, ...]:
    found = tuple(word_of(item) for item in items_of(raw)) if raw not in ("", []) else ()
    for subject in found:
        check_subject(subject, subject)
    check_once(found)
    return found


def check_once(subjects: Sequence[str]) -> None:
    """Refuse a subject that is there more than once."""
    for subject in subjects:
        if subjects.count(subject) > 1:
            raise ValueError(f"{quote(subject)} is there more than once; write it once")


def split_listen(listen: str) -> tuple[str, int] | None:
    """Return host and port of what `LISTEN` has read; None for ``off``."""
    if listen == "off":
        return None
    parts = urlsplit(f"//{listen}")
    return parts.hostname or "", parts.port or 0


def _listen(raw: object) -> str:
    if str(raw).strip().lower() in {"off", "false"}:  # YAML makes false of off
        return "off"
    forms = "127.0.0.1:9464, 0.0.0.0:9464 for every address of this host, or off"
    if "@" in str(raw):
        raise ValueError(f"what is there has an @, as credentials have; write {forms}")
    text = word_of(raw)
    try:
        _, host, port = _endpoint(f"http://{text}", {"http": 0}, "")
    except ValueError:
        host, port = "", 0
    if not host:
        raise ValueError(f"{quote(raw)} is not an address; write {forms}")
    return _address(host, port)


def _show_list(values: Iterable[object]) -> str:
    return ",".join(map(str, values))


SERVERS = Kind("URL,...", _servers, _show_list)
FLUENT_URLS = Kind("URL,...", _fluent_urls, _show_list)
LISTEN = Kind("HOST:PORT", _listen)
SUBJECTS = Kind("SUBJECT,...", _subjects, _show_list)


def _transforms(raw: object) -> tuple[str, ...]:
    if not raw:
        return ()
    found = tuple(text_of(item) for item in items_of(raw))
    if "" in found:
        raise ValueError(f"{quote(raw)} has an empty name; leave it out")
    check_once(found)
    return found


TRANSFORMS = Kind("FILE.py,...", _transforms, ",".join)
