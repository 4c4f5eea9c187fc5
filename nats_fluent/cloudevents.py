"""CloudEvents on NATS: an event whole in the payload, or its attributes in headers and its data in the payload.

Sources: CloudEvents 1.0.2 (attributes, JSON format) and its NATS binding: 1.0.2 has the structured mode alone, and
1.0.3-wip (commit c2845a4 of github.com/cloudevents/spec) the binary one, which needs the headers of NATS 2.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from nats_fluent import plain
from nats_fluent.decoded import Decoded
from nats_fluent.errors import Undecodable

if TYPE_CHECKING:
    from nats_fluent.places import Headers

ReadJson = Callable[[bytes], tuple[Any, int]]
"""Takes JSON; returns its value, and how many bytes or characters of it were replaced."""

REQUIRED = ("specversion", "id", "source", "type")
"""The attributes that every event has, each text and not empty."""

USED = (*REQUIRED, "time", "subject", "partitionkey")
"""The attributes that a record is made of."""

_STAGE = "CloudEvent"
_MEDIA_TYPE = "application/cloudevents"
_PREFIX = "ce-"
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def claimed(headers: Headers) -> bool:
    """Whether the headers say that the message is an event."""
    return any(
        name.lower() == "ce-specversion"
        or (name.lower() == "content-type" and _first(value).lower().startswith(_MEDIA_TYPE))
        for name, value in headers.items()
    )


def is_structured(headers: Headers) -> bool:
    """Whether an event with these headers is whole in the payload."""
    return all(name.lower() != "ce-specversion" for name in headers) or _content_type(
        headers
    ).lower().startswith(_MEDIA_TYPE)


def is_event(value: object) -> bool:
    """Whether a value is an event in the JSON format."""
    return isinstance(value, dict) and not any(_missing(value, name) for name in REQUIRED)


def decode(payload: bytes, headers: Headers, read: ReadJson) -> Decoded:
    """Read an event of either mode.

    Args:
        payload: of the message.
        headers: of the message.
        read: the reader of JSON, whose errors are passed on.

    Raises:
        Undecodable: it is none.
    """
    if is_structured(headers):
        return decoded(*read(payload))
    attributes = {
        name.lower().removeprefix(_PREFIX): _first(value)
        for name, value in headers.items()
        if name.lower().startswith(_PREFIX)
    }
    content_type = _content_type(headers)
    event: dict[str, Any] = {name: _unescaped(name, value) for name, value in attributes.items()}
    if content_type:
        event.setdefault("datacontenttype", content_type)
    replaced = 0
    if payload:
        if _is_json(event.get("datacontenttype", "")):
            event["data"], replaced = read(payload)
        else:
            try:
                event["data"] = payload.decode()
            except UnicodeDecodeError:
                event["data_base64"] = plain.base64(payload)
    return decoded(event, replaced)


def decoded(event: Any, replaced: int) -> Decoded:  # noqa: ANN401 - any plain value
    """Take what a record has of an event in the JSON format.

    Raises:
        Undecodable: it is none.
    """
    if not isinstance(event, dict):
        raise Undecodable(_STAGE, "no JSON object")
    for name in REQUIRED:
        if _missing(event, name):
            raise Undecodable(_STAGE, f"no {name}")
    time, subject = event.get("time"), event.get("subject")
    key = event.get("partitionkey")  # the partitioning extension: what belongs together
    if not key or not isinstance(key, str):
        key = f"{event['source']}/{subject}" if subject and isinstance(subject, str) else event["source"]
    return Decoded(
        event,
        plain.parse_rfc3339(time) if isinstance(time, str) else None,
        key,
        event["type"],
        replaced=replaced,
    )


def _missing(event: dict[str, Any], name: str) -> bool:
    found = event.get(name)
    return not found or not isinstance(found, str)


def _content_type(headers: Headers) -> str:
    return next((_first(value) for name, value in headers.items() if name.lower() == "content-type"), "")


def _first(value: str | list[str]) -> str:
    return value[0] if isinstance(value, list) else value


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type.endswith(("/json", "+json"))


def _unescaped(name: str, value: str) -> str:
    """Return the attribute that a header holds: quoted, by older publishers, and with percent encoding."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _ESCAPE.sub(r"\1", value[1:-1])
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise Undecodable(
            _STAGE, f"the header {_PREFIX}{name[:40]} is not UTF-8 under its percent encoding"
        ) from None
