"""Both readers of a publication at once, and publications with fields that no library writes."""

from __future__ import annotations

import msgspec
import ormsgpack
import pytest
from building import EVENT_TIME, MSGPACK, envelope, event, pack
from judging import exactly

from nats_fluent import plain
from nats_fluent.envelope import careful_envelope, fast_envelope
from nats_fluent.errors import Undecodable
from nats_fluent.publication import careful_content, fast_content, spliced_content

NAMES = ("ID", "namespace", "date")
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
    try:
        return spliced_content(fast_envelope(payload), NAMES, NAMES)
    except plain.NotFast:
        return None


def agrees_spliced(payload, found):
    """That it is what the careful reader has found."""
    made = spliced(payload)
    assert exactly(ormsgpack.unpackb(made.packed), found.value)
    about = {name: found.about[name] for name in NAMES if type(found.about.get(name)) is str}
    assert made == msgspec.structs.replace(found, value={}, about=about, packed=made.packed)


def only_careful(payload):
    with pytest.raises(plain.NotFast):
        fast(payload)
    return careful(payload)


def refused(payload):
    with pytest.raises((Undecodable, plain.NotFast)):
        fast(payload)
    with pytest.raises(Undecodable) as caught:
        careful(payload)
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
