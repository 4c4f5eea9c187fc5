"""Both readers of a publication at once, and publications with fields that no library writes."""

from __future__ import annotations

import contextlib
from unittest import mock

import msgspec
import ormsgpack
import pytest
from building import EVENT_TIME, MSGPACK, envelope, event, pack
from judging import exactly

from nats_fluent import compiled, plain, publication
from nats_fluent.envelope import ACK_ASKED, careful_envelope, fast_envelope
from nats_fluent.errors import Undecodable
from nats_fluent.publication import careful_content, fast_content

NAMES = ("ID", "namespace", "date")
ASKED = publication.asked(NAMES, NAMES)
BORDERLINE_UTF8 = [
    bytes([first, second, *rest])
    for first in range(0x80, 0x100)
    for second in (0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)
    for rest in ([], [0x80], [0x80, 0xBF], [0x80, 0xC0], [0x7F])
]
"""What is UTF-8, and what is nearly."""
SMALL = {"ID": "1", "namespace": "/a"}


def fast(payload):
    return fast_content(fast_envelope(payload))


def careful(payload):
    return careful_content(careful_envelope(payload))


def both(payload):
    """What the careful reader makes of it; the fast one must agree, and must have an answer."""
    found = careful(payload)
    assert exactly(fast(payload).value, found.value)
    assert fast(payload) == found
    if spliced(payload) is not None:
        agrees_spliced(payload, found)
    return found


def spliced(payload):
    """What is made of it without a look at its values; None where these are to be looked at."""
    return publication.spliced(payload, ASKED)


def agrees_spliced(payload, found):
    """That it is what the careful reader has found."""
    made = spliced(payload)
    assert exactly(ormsgpack.unpackb(made.packed), found.value)
    about = {name: found.about.get(name) for name in NAMES}
    about = {name: value for name, value in about.items() if type(value) in (str, int, float)}
    assert {name: value for name, value in made.about.items() if name in NAMES} == about
    asked = careful_envelope(payload).response_mode == ACK_ASKED
    assert made == msgspec.structs.replace(
        found, value={}, about=made.about, packed=made.packed, ack_asked=asked
    )


@contextlib.contextmanager
def without_the_compiled_part():
    """As where the package was built without a C compiler."""
    functions = dict.fromkeys(("record", "splice", "splice_json", "splice_publication", "time_ns"))
    with mock.patch.multiple(compiled, **functions):
        yield


def only_careful(payload):
    with pytest.raises(plain.NotFast):
        fast(payload)
    found = careful(payload)
    if spliced(payload) is not None:
        agrees_spliced(payload, found)
    return found


def refused(payload):
    with pytest.raises((Undecodable, plain.NotFast)):
        fast(payload)
    with pytest.raises(Undecodable) as caught:
        careful(payload)
    assert spliced(payload) is None
    return str(caught.value)


def with_fields(**fields):
    """An envelope of a small event with these fields, in msgpack as it is given."""
    whole = {"data": event(SMALL), "encoding": MSGPACK, "topic": "squall-events"} | fields
    return pack({name: value for name, value in whole.items() if value is not ...})


def with_event(**fields):
    whole = {
        "encoding": MSGPACK,
        "entity": pack(SMALL),
        "identity": "enforcer",
        "timestamp": EVENT_TIME,
        "type": "update",
    } | fields
    return envelope(pack({name: value for name, value in whole.items() if value is not ...}))


def keys(value):
    """All keys in a value, at any depth."""
    if isinstance(value, list):
        return {key for item in value for key in keys(item)}
    if isinstance(value, dict):
        return {*value, *(key for item in value.values() for key in keys(item))}
    return set()
