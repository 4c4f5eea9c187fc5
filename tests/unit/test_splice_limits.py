"""How much the compiled readers remember and compare before Python is to decide, and what they do without memory."""

from __future__ import annotations

import json
import sys
from functools import partial

import msgpack
import pytest
from building import EVENT_TIME, MSGPACK, Time, envelope, pack
from programs import missing

from nats_fluent import compiled, plain

READERS = {
    "msgpack": (compiled.splice, msgpack.packb),
    "JSON": (compiled.splice_json, lambda value: json.dumps(value).encode()),
}


@pytest.fixture(autouse=True)
def _built():
    if compiled.splice is None or compiled.frames is None:
        missing("splice")


def nested(last):
    """Maps in maps, 2,000 keys in 40 of them, and so many in the last."""
    value = {f"{each:04}": None for each in range(last)}
    for _ in range(40):
        value = {f"{each:04}": None for each in range(49)} | {"more": value}
    return value


@pytest.mark.parametrize("reader", READERS)
def test_it_remembers_2048_keys_of_the_maps_that_are_open(reader):
    splice, encode = READERS[reader]
    assert splice(encode(nested(48)), ()) is not None
    assert splice(encode(nested(49)), ()) is None
    assert splice(encode({"a": [nested(47), nested(47)]}), ()) is not None
    assert splice(encode({"a": [nested(48), nested(48)]}), ()) is None  # `a` is open, too


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("names", [(), ("a",), (("a", ("a",)),), (("a", (("a", ()),)),)])
def test_it_goes_as_deep_where_fields_are_asked_for(reader, names):
    splice, encode = READERS[reader]
    value = 1
    for _ in range(plain.FAST_DEPTH):
        value = {"a": value}
    assert splice(encode(value), names) is not None
    assert splice(encode({"a": value}), names) is None


WIDE = [f"{each:04x}" for each in range(2000)]
ALIKE = [f"a{each // 100:02}m{each % 100:02}z" for each in range(2000)]
"""Of the same size, first, middle and last byte: what keys are told apart by."""


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("keys", [WIDE, ALIKE], ids=["wide", "alike"])
def test_it_compares_keys_a_few_times_for_each_byte(reader, keys):
    splice, encode = READERS[reader]
    assert splice(encode({"a": dict.fromkeys(keys[:100])}), ()) is not None
    assert splice(encode({"a": [dict.fromkeys(keys[:100])] * 20}), ()) is not None
    assert splice(encode({"a": [{key: None} for key in keys]}), ()) is not None
    assert splice(encode({"a": dict.fromkeys(keys)}), ()) is None
    assert splice(encode({"a": [dict.fromkeys(keys[:1000])] * 20}), ()) is None


NAMES = ("ID", ("in", ("ID", ("in", ("ID",)))))
INSIDE = {"ID": "x" * 50, "in": {"ID": 2**60, "in": {"ID": 1.5}}, "many": [1.5, b"x" * 50, Time(1, 5)] * 40}
EVENT = {
    "encoding": MSGPACK,
    "entity": pack(INSIDE),
    "identity": "enforcer",
    "timestamp": EVENT_TIME,
    "type": "update",
}
TEXT = b'{"ID":"\\u20ac%b","in":{"ID":1e300,"in":{"ID":-700}},"many":[1e1%b]}' % (b"x" * 50, b",1e1" * 200)
MESSAGES = []
CALLS = {
    "frames": (
        compiled.frames,
        b"MSG a.b 1 3\r\nabc\r\nHMSG a 1 \xc3\xa9 2 4\r\nabcd\r\n",
        0,
        {1: "m"},
        MESSAGES,
    ),
    "record": (compiled.record, pack({"topic": "t"}), {"key": "\u20ac", "sequence": 2**40}, pack(INSIDE)),
    "splice": (compiled.splice, pack(INSIDE), NAMES),
    "splice_json": (compiled.splice_json, TEXT, NAMES),
    "splice_publication": (compiled.splice_publication, envelope(pack(EVENT)), (NAMES, (), ()), b""),
    "watch": (compiled.watch, ("password", "x" * 200)),
    "time_ns": (compiled.time_ns, "2019-06-12T21:38:02.268588Z"),
}


def fail_each(allocations, call):
    """Make each allocation of a call fail, one after the other; return how many there are, and what comes at last."""
    for place in range(1000):
        MESSAGES.clear()
        allocations.set_nomemory(place, place + 1)
        try:
            found = call()
        except MemoryError:
            continue
        finally:
            allocations.remove_mem_hooks()
        return place, found
    raise AssertionError("it never has enough")


def kept(allocations, call):
    """Return how many blocks of memory are left of 50 times."""
    before = sys.getallocatedblocks()
    for _ in range(50):
        fail_each(allocations, call)
    return sys.getallocatedblocks() - before


@pytest.fixture
def _no_other_thread():
    """The allocations of another thread, as of pytest-xdist, would be counted, and fail, too."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(60)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("_no_other_thread")
@pytest.mark.parametrize("name", CALLS)
def test_no_memory_is_an_error_and_nothing_is_kept(name):
    allocations = pytest.importorskip("_testcapi", reason="this Python comes without what its own tests use")
    call = partial(*CALLS[name])
    expected = call()
    places, found = fail_each(allocations, call)
    assert places > 0
    assert found == expected is not None
    assert min(kept(allocations, call) for _ in range(5)) < 50
