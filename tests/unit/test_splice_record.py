"""The msgpack of a record from what it begins with, fields and content: as a library for msgpack writes it."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from programs import missing

from nats_fluent import compiled, record
from nats_fluent.compiled import record as joined
from nats_fluent.publication import Content

HEAD = {"topic": "t", "subject": "t.s"}
CONTENT = msgpack.packb({"a": [1, "x"]})
values = st.text() | st.integers(0, 2**64 - 1)
some_fields = st.dictionaries(st.text(max_size=40), values, max_size=12)


@pytest.fixture(scope="module", autouse=True)
def _built():
    if joined is None:
        missing("splice")


@given(begins=some_fields, fields=some_fields)
@example(begins={str(each): each for each in range(7)}, fields={f"_{each}": "x" for each in range(7)})
@example(begins={}, fields={})
def test_it_is_what_a_library_writes(begins, fields):
    fields = {name: value for name, value in fields.items() if name not in begins}
    made = joined(msgpack.packb(begins), fields, CONTENT)
    if len(begins) + len(fields) >= 15:
        assert made is None
    else:
        pairs = b"".join(
            msgpack.packb(name) + msgpack.packb(value) for name, value in (begins | fields).items()
        )
        assert made == bytes([0x81 + len(begins) + len(fields)]) + pairs + msgpack.packb("content") + CONTENT


SIZES = (0, 1, 31, 32, 255, 256, 65_535, 65_536)
NUMBERS = (0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1)


@pytest.mark.parametrize("value", [*("x" * size for size in SIZES), "\u20ac" * 100, *NUMBERS], ids=repr)
def test_texts_and_numbers_of_every_size(value):
    made = joined(msgpack.packb(HEAD), {"a": value}, CONTENT)
    assert made == msgpack.packb(HEAD | {"a": value, "content": {"a": [1, "x"]}})


@pytest.mark.parametrize("value", [None, True, -1, 2**64, 1.5, b"x", [], {}, "\ud800"])
def test_what_it_leaves_to_the_other_writer(value):
    assert joined(msgpack.packb(HEAD), {"a": value}, CONTENT) is None


@pytest.mark.parametrize("key", [1, None, b"a", "\ud800"])
def test_keys_that_it_leaves(key):
    assert joined(msgpack.packb(HEAD), {key: "x"}, CONTENT) is None


@pytest.mark.parametrize("head", [b"\xde\x00\x00", b"\x90", b"\xa0", b"\xc0"])
def test_a_head_that_is_no_short_map(head):
    assert joined(head, {}, CONTENT) is None


@pytest.mark.parametrize(
    "arguments", [(), (b"\x80", {}), (b"", {}, b""), ("", {}, b""), (b"\x80", [], b""), (b"\x80", {}, "")]
)
def test_what_it_wants(arguments):
    with pytest.raises(TypeError, match="record: "):
        joined(*arguments)


@pytest.mark.parametrize(
    "fields",
    [
        {"namespace": "/a", "key": "k", "timestamp": "t", "id": "i"},
        {"id": "i", "headers": {"a": ["b", "c"]}},
        {"id": "i", "stream": "s", "sequence": 2**40, "deliveries": 1},
    ],
)
def test_a_record_is_the_same_without_it(monkeypatch, fields):
    head = record.Head("tag", HEAD, msgpack.packb(HEAD), "", "")
    content = Content({}, {}, False, "", "", None, None, packed=CONTENT)
    made = record.pack(head, fields, content)
    assert made == msgpack.packb(HEAD | fields | {"content": {"a": [1, "x"]}})
    monkeypatch.setattr(compiled, "record", None)
    assert record.pack(head, fields, content) == made
