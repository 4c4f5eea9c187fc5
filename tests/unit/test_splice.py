"""Plain msgpack of a map in one pass over its bytes: what it gives, and what it leaves alone."""

from __future__ import annotations

import random

import msgpack
import ormsgpack
import pytest
from building import Ext, Raw, Text, Time, pack
from decoding import BORDERLINE_UTF8, keys
from hypothesis import example, given
from hypothesis import strategies as st
from judging import exactly
from programs import missing
from strategies import mutated, odd_maps

from nats_fluent import plain
from nats_fluent.compiled import LONGEST_NAME, MOST_MAPS, MOST_NAMES, names_of, splice, watch
from nats_fluent.errors import Undecodable
from nats_fluent.walk import Walker

NAMES = ("ID", "namespace", "date")


@pytest.fixture(scope="module", autouse=True)
def _built():
    if splice is None:
        missing("splice")


def careful(data):
    """What the careful reader makes of it; None where it refuses it."""
    try:
        return Walker(data, "entity").value()
    except Undecodable:
        return None


@given(data=odd_maps.map(pack) | mutated(odd_maps.map(pack)))
@example(data=pack({"a": 1.5, "b": [None, True, -1], "namespace": "/a"}))
@example(data=pack({"ID": Raw(b"\xd9\x02ab"), "date": Raw(b"\xda\x00\x00")}))
def test_where_it_has_an_answer_the_careful_reader_has_the_same(data):
    value = careful(data)
    made = splice(data, NAMES)
    if made is not None:
        packed, found = made
        assert exactly(ormsgpack.unpackb(packed), value)
        assert found == {name: value[name] for name in NAMES if type(value.get(name)) in (str, int, float)}


ALIKE = {
    "nothing": {},
    "scalars": {"a": None, "b": True, "c": False, "d": "", "e": "text"},
    "integers": {
        str(number): number
        for bits in (0, 5, 7, 8, 15, 16, 31, 32, 62)
        for number in (2**bits, 2**bits - 1, -(2**bits), -(2**bits) - 1)
    },
    "the largest integers": {"a": 2**64 - 1, "b": -(2**63)},
    "floats": {"a": 1.5, "b": -0.0, "c": 1e300, "d": 5e-324, "e": Raw(b"\xca\x3f\x80\x00\x00")},
    "texts": {f"k{size}": "x" * size for size in (31, 32, 255, 256, 65535, 65536)},
    "long keys": {"k" * size: size for size in (31, 32, 255, 256, 65535, 65536)},
    "letters": {"a": "é", "b": "€", "c": "😀", "d": "\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"},
    "letters after many": {"a": "x" * 17 + "é" + "y" * 9 + "€"},
    "wide": {f"key{number}": {"inside": [number] * (number % 20)} for number in range(300)},
    "an array of many": {"a": [None] * 70_000},
    "bytes": {f"b{size}": bytes(range(size)) for size in (0, 1, 2, 3, 4, 5, 6, 31, 255)}
    | {"long": b"\xff" * 300, "longer": b"\x00" * 70_000},
    "deep": {"a": [[{"b": [{}, [], {"c": []}]}]]},
    "times": {
        f"{seconds} {ns}": Time(seconds, ns)
        for seconds in (
            0, 1, 951_782_399, 951_782_400, 1_709_164_800, 4_294_967_296, 2**34, -1, -86_400, -86_401,
            -62_135_596_800, 253_402_300_799,
        )
        for ns in (0, 1, 500_000_000, 268_588_000, 999_999_999)
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_what_the_go_libraries_write_has_an_answer(name):
    data = pack(ALIKE[name])
    made = splice(data, NAMES)
    assert made is not None
    assert exactly(ormsgpack.unpackb(made[0]), careful(data))


def test_the_fields_that_are_asked_for_come_with_it():
    entity = {"ID": "1", "namespace": 7, "date": "", "other": "x", "inside": {"ID": "2"}}
    assert splice(pack(entity), NAMES)[1] == {"ID": "1", "namespace": 7, "date": ""}
    assert splice(pack(entity), ())[1] == {}
    assert splice(pack({"date": Time(0)}), NAMES)[1] == {"date": "1970-01-01T00:00:00Z"}
    for size in (31, 32, 255, 256, 65536):
        assert splice(pack({"namespace": "/" * size}), NAMES)[1] == {"namespace": "/" * size}


LEFT = {
    "no map": pack([1]),
    "no value": b"",
    "a key that is a number": b"\x81\x01\x01",
    "a key that is not UTF-8": pack({Text(b"\xff"): 1}),
    "a text that is not UTF-8": pack({"a": Text(b"\x80")}),
    "a float that is not a number": pack({"a": float("nan")}),
    "an infinite float": pack({"a": float("-inf")}),
    "a float32 that is infinite": pack({"a": Raw(b"\xca\x7f\x80\x00\x00")}),
    "a byte that begins nothing": pack({"a": Raw(b"\xc1")}),
    "a time of no known length": pack({"a": Ext(-1, b"12345")}),
    "an array that says too much": pack({"a": Raw(b"\xdd\xff\xff\xff\xff")}),
    "a map that says too much": pack({"a": Raw(b"\xdf\xff\xff\xff\xff")}),
    "bytes that say too much": pack({"a": Raw(b"\xc6\xff\xff\xff\xff")}),
    "a text that says too much": pack({"a": Raw(b"\xdb\xff\xff\xff\xff")}),
    "more than one value": pack({}) + pack({}),
    "a key twice": b"\x82\xa1a\x01\xa1a\x02",
    "a key twice, far apart": b"\xde\x00\x66" + b"".join(pack(f"key{each % 101}") + b"\xc0" for each in range(102)),
    "an extension": pack({"a": Ext(5, b"x")}),
    "an extension of one byte": pack({"a": Raw(b"\xd4\x05x")}),
    "a time before year 1": pack({"a": Time(-62_135_596_801)}),
    "a time after year 9999": pack({"a": Time(253_402_300_800)}),
    "nanoseconds beyond a second": pack({"a": Ext(-1, (10**9 << 34).to_bytes(8, "big"))}),
    "more keys than it remembers": msgpack.packb({f"{each:05}": each for each in range(2049)}),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_what_is_rare_or_broken_is_left_to_the_other_readers(name):
    assert splice(LEFT[name], NAMES) is None


def test_each_prefix_is_left_alone():
    data = pack({"ID": "abc", "a": [1, 2.5, b"bytes", Time(1, 5), {"b": 70_000}], "t": "é" * 40})
    assert splice(data, NAMES) is not None
    assert not [size for size in range(len(data)) if splice(data[:size], NAMES) is not None]


@pytest.mark.parametrize("opening", [b"\x91", b"\xdc\x00\x01", b"\x81\xa1a", b"\xde\x00\x01\xa1a"])
def test_it_goes_as_deep_as_the_fast_readers(opening):
    for levels, answers in ((plain.FAST_DEPTH, True), (plain.FAST_DEPTH + 1, False), (100_000, False)):
        data = b"\x81\xa1x" + opening * (levels - 1) + b"\xc0"
        assert (splice(data, NAMES) is not None) == answers, levels


@pytest.mark.parametrize("before", [b"", b"1234567", b"12345678"])
def test_it_knows_utf_8_as_python_does(before):
    for letter in BORDERLINE_UTF8:
        text = before + letter
        try:
            text.decode()
        except UnicodeDecodeError:
            whole = False
        else:
            whole = True
        assert (splice(pack({"a": Text(text)}), NAMES) is not None) == whole, text
        assert (splice(pack({Text(text): 1}), NAMES) is not None) == whole, text


def test_it_says_what_it_wants():
    for arguments in ((), (b"\x80",), ("x", ()), (b"\x80", ["ID"]), (b"\x80", (), ())):
        with pytest.raises(TypeError, match="bytes, a tuple of names"):
            splice(*arguments)
    with pytest.raises(TypeError):
        splice(b"\x80", (b"ID",))
    with pytest.raises(ValueError, match="33 names; 32"):
        splice(b"\x80", tuple(map(str, range(33))))
    with pytest.raises(ValueError, match="longer than 63 bytes"):
        splice(b"\x80", ("x" * 64,))
    assert splice(pack({"x" * 63: "y", "x" * 64: "z"}), ("x" * 63,))[1] == {"x" * 63: "y"}


@pytest.mark.parametrize(
    "names", [("a", ("b",)), (("a", "b"),), (("a", ("b",), "c"),), (("a", ["b"]),), ((7, ()),), ((),)]
)
def test_names_of_a_map_within_are_a_pair(names):
    with pytest.raises(TypeError):
        splice(b"\x80", names)


def within(levels, names=("ID",)):
    """Names of so many maps, one in the other."""
    for _ in range(levels - 1):
        names = (("a", names),)
    return names


def test_it_wants_names_of_few_maps():
    assert splice(b"\x80", within(MOST_MAPS))[1] == {}
    for names in (within(MOST_MAPS + 1), tuple((str(each), ()) for each in range(MOST_MAPS))):
        with pytest.raises(ValueError, match=f"names of more than {MOST_MAPS} maps"):
            splice(b"\x80", names)
    assert splice(b"\x80", tuple(map(str, range(MOST_NAMES))))[1] == {}
    assert splice(b"\x80", ("x" * LONGEST_NAME,))[1] == {}
    for names in (tuple(map(str, range(MOST_NAMES + 1))), ("x" * (LONGEST_NAME + 1),)):
        with pytest.raises(ValueError, match=r"is the most|is longer than"):
            splice(b"\x80", (("a", names),))


def test_the_fields_of_a_map_within():
    inside = {
        "ID": "1",
        "t": Time(0),
        "x": b"bytes",
        "inside": {"ID": "2"},
        **{str(each): each for each in range(20)},
    }
    value = {"a": b"bytes", "ID": "3", "inside": inside}
    packed, found = splice(pack(value), ("ID", ("inside", (("inside", ("ID",)), "t", "no", "19"))))
    assert exactly(ormsgpack.unpackb(packed), careful(pack(value)))
    assert found == {"ID": "3", "inside": {"t": "1970-01-01T00:00:00Z", "inside": {"ID": "2"}, "19": 19}}
    for other in (None, "", [], 1, b"x", Raw(b"\x82\xa1a\x01\xa1a\x01"), Raw(b"\xde\x00"), Raw(b"")):
        assert splice(pack({"inside": other}), (("inside", ()),)) is None


def test_the_names_of_paths():
    assert names_of([]) == ()
    assert names_of([("a",), ("b",), ("a",)]) == ("a", "b")
    assert names_of([("a", "b"), ("c",), ("a", "d", "e")]) == (("a", ("b", ("d", ("e",)))), "c")
    for paths in ([("a",), ("a", "b")], [("a", "b"), ("a",)], [("a", "b"), ("a", "b")]):
        assert names_of(paths) == (("a", ("b",)),)
    assert names_of([("x" * LONGEST_NAME,), ("0",)]) == ("x" * LONGEST_NAME, "0")
    assert (
        names_of([("x" * (LONGEST_NAME + 1),)])
        is names_of([("\xe9" * 32,)])
        is names_of([("a", "0")])
        is None
    )
    assert names_of([("a",) * MOST_MAPS]) == within(MOST_MAPS, ("a",))
    assert names_of([("a",) * 10_000]) is None
    assert names_of([("a", each, "b") for each in "abcdefg"]) is None
    assert len(names_of([(str(each),) for each in range(MOST_NAMES)])) == MOST_NAMES
    assert names_of([(str(each),) for each in range(MOST_NAMES + 1)]) is None


@given(st.binary(max_size=300))
def test_any_bytes_have_an_answer_or_none(data):
    made = splice(data, NAMES)
    assert made is None or exactly(ormsgpack.unpackb(made[0]), careful(data))


# Keys that are watched


@given(data=odd_maps.map(pack), others=st.sets(st.text(max_size=4), max_size=3), pick=st.randoms())
@example(data=pack({"a": [{"b": {"c": 1}}]}), others={"", "d"}, pick=random.Random(1))
def test_it_has_no_answer_where_a_watched_key_is_and_else_the_same(data, others, pick):
    plainly = splice(data, NAMES)
    if plainly is None:
        return
    there = keys(ormsgpack.unpackb(plainly[0]))
    absent = tuple(others - there)
    assert splice(data, NAMES, watch(absent)) == plainly
    if there:
        assert splice(data, NAMES, watch((*absent, pick.choice(sorted(there))))) is None


def test_what_is_watched():
    assert splice(pack({"x" * 255: 1}), NAMES, watch(("x" * 255,))) is None
    assert splice(pack({"x" * 256: 1}), NAMES, watch(("x" * 255,))) is not None
    assert splice(pack({"\xe9": 1}), NAMES, watch(("\xe9",))) is None
    assert splice(pack({"": 1}), NAMES, watch(("",))) is None
    assert splice(pack({"a": "b"}), NAMES, watch(("b",))) is not None
    assert splice(pack({"a": 1}), NAMES, watch(())) is not None


@pytest.mark.parametrize("names", [("x" * 256,), ["a"], ("a", 7), ("\ud800",), None])
def test_what_cannot_be_watched(names):
    with pytest.raises((ValueError, TypeError)):
        watch(names)


@pytest.mark.parametrize("cut", [1, 31, 33, 34, 35])
def test_what_watch_did_not_make(cut):
    with pytest.raises(ValueError, match="not what watch made"):
        splice(pack({"a": 1}), NAMES, watch(("ab",))[:cut])
    with pytest.raises(TypeError):
        splice(pack({"a": 1}), NAMES, ("ab",))


@pytest.mark.parametrize("data", [{"entity": None}, {"a": 1, "entity": b"x"}])
def test_what_may_be_an_event_is_not_taken_for_an_object(data):
    assert splice(pack(data), NAMES) is None
    assert splice(pack({"a": data, "entityID": 1}), NAMES) is not None
