"""Plain msgpack of a JSON object in one pass over its bytes: what it gives, and what it leaves alone."""

from __future__ import annotations

import itertools
import json
import random

import msgpack
import pytest
from decoding import BORDERLINE_UTF8, keys
from hypothesis import example, given
from hypothesis import strategies as st
from judging import exactly
from programs import missing
from strategies import json_objects, mutated

from nats_fluent import plain
from nats_fluent.compiled import splice_json, watch
from nats_fluent.errors import Undecodable

NAMES = ("ID", "namespace", "date")


@pytest.fixture(scope="module", autouse=True)
def _built():
    if splice_json is None:
        missing("splice")


def careful(data):
    """What the careful reader makes of it, and how much it replaced; None where it refuses it."""
    try:
        return plain.careful_json(data, "content", whole=True)
    except Undecodable:
        return None


def fields(value):
    """Those of the named fields that come with it."""
    return {name: value[name] for name in NAMES if type(value.get(name)) in (str, int, float)}


def agrees(data):
    """Whether there is an answer, which must be that of the careful reader to the byte."""
    made = splice_json(data, NAMES)
    if made is None:
        return False
    packed, found = made
    value, replaced = careful(data)
    assert packed == msgpack.packb(value)
    assert exactly(found, fields(value))
    assert replaced == 0
    return True


@given(json_objects | mutated(json_objects))
@example(b'{"a":[1.5,-0.0,1e5],"ID":7,"namespace":-7,"date":0.5}')
@example(b'{"a":"\\ud83d\\ude00","b":"\\u003cx\\u003e\\n"}')
def test_where_it_has_an_answer_the_careful_reader_has_the_same(data):
    agrees(data)


@given(st.binary(max_size=300).map(lambda inside: b'{"a":' + inside))
def test_any_bytes_have_an_answer_or_none(data):
    agrees(data)


ALIKE = {
    "nothing": {},
    "scalars": {"a": None, "b": True, "c": False, "d": "", "e": "text"},
    "integers": {
        str(number): number
        for bits in (0, 5, 7, 8, 15, 16, 31, 32, 62, 63)
        for number in (2**bits, 2**bits - 1, -(2**bits), -(2**bits) + 1)
    },
    "the largest integers": {str(number): number for number in (2**64 - 1, 10**19, 10**19 - 1, -(2**63))},
    "floats": {
        "a": 1.5,
        "b": -0.0,
        "c": 1e300,
        "d": 5e-324,
        "e": 0.1,
        "f": 1.7976931348623157e308,
        "g": 1e-7,
    },
    "texts": {f"k{size}": "x" * size for size in (*range(34), 255, 256, 65535, 65536)},
    "texts with escapes": {
        f"k{size}": "\n" + "x" * (size - 1) for size in (1, 2, 31, 32, 33, 255, 256, 257, 65535, 65536, 65537)
    },
    "long keys": {"k" * size: size for size in (31, 32, 255, 256, 65535, 65536)},
    "letters": {
        "a": "é",
        "b": "€",
        "c": "😀",
        "d": "\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff",
    },
    "letters after many": {"a": "x" * 17 + "é" + "y" * 9 + "€", "b": "é" * 20},
    "controls": {"a": "".join(map(chr, range(128))), "b": "/\\\"'"},
    "wide": {f"key{number}": {"inside": [number] * (number % 20)} for number in range(300)},
    "maps of many": {str(size): {str(number): number for number in range(size)} for size in (15, 16, 17)},
    "arrays of many": {str(size): [None] * size for size in (15, 16, 17, 65535, 65536)},
    "many in many": {"a": [[[{str(number): [number] * 16 for number in range(16)}] * 16] * 2]},
    "deep": {"a": [[{"b": [{}, [], {"c": []}]}]]},
}


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize("style", [{"separators": (",", ":")}, {}, {"indent": "\t"}, {"ensure_ascii": False}])
def test_what_publishers_write_has_an_answer(name, style):
    text = json.dumps(ALIKE[name], **style)
    assert agrees(text.encode())
    assert agrees(f" \r\n{text}\t ".encode())


NUMBERS = [
    *("0", "-0", "1", "-1", "10", "0.0", "-0.0", "1.5", "1E5", "1e+5", "1e-5", "1.5E-05", "0e0", "0.1e1"),
    *("123456789012345678", "18446744073709551615", "-9223372036854775808"),
    *("1e-400", "4.9e-324", "2.2250738585072011e-308", "9007199254740993.0", "0.3000000000000000444"),
    f"1.{'0' * 400}1",
    f"{2**1023}.0",
]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers(number):
    assert agrees(b'{"a":%s}' % number.encode())
    assert agrees(b'{"a":[%s ,\t%s]}' % (number.encode(), number.encode()))


@pytest.mark.parametrize("high", [b"d83d", b"D83D"])
def test_escapes(high):
    for letter in (*range(0x20, 0x7F), 0x7F):
        has_answer = agrees(b'{"a":"x\\%c\\u%s\\uDE00 \\u0041\\u00e9\\u20aC"}' % (letter, high))
        assert has_answer == (chr(letter) in '"\\/bfnrt')


LEFT = {
    "nothing": b"",
    "white space": b" \n",
    "a list": b"[1]",
    "a text": b'"{}"',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "more than one value": b"{} {}",
    "what follows the value": b"{}\x00",
    "white space that is none": b'{"a":\x0b1}',
    "white space that is none, in Unicode": b'{"a":\xc2\xa01}',
    "an integer beyond 64 bits": b'{"a":18446744073709551616}',
    "an integer that comes round": b'{"a":18446744073709551617}',
    "an integer of 20 digits": b'{"a":99999999999999999999}',
    "an integer of 21 digits": b'{"a":100000000000000000000}',
    "a negative integer beyond 64 bits": b'{"a":-9223372036854775809}',
    "a float beyond a double": b'{"a":1e400}',
    "a negative float beyond a double": b'{"a":-1.8e308}',
    "not a number": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "leading zeros": b'{"a":01}',
    "a plus": b'{"a":+1}',
    "a minus": b'{"a":-}',
    "no digits before the point": b'{"a":.5}',
    "no digits behind the point": b'{"a":1.}',
    "no digits of the exponent": b'{"a":1e}',
    "no digits behind the sign": b'{"a":1e+}',
    "hexadecimal": b'{"a":0x10}',
    "a word": b'{"a":nulL}',
    "a word that is cut off": b'{"a":tru',
    "half a pair": b'{"a":"\\ud83d"}',
    "half a pair and text": b'{"a":"\\ud83dx\\ude00"}',
    "half a pair and another character": b'{"a":"\\ud83d\\u0041"}',
    "the other half": b'{"a":"\\ude00"}',
    "half a pair and no hexadecimal": b'{"a":"\\ud83d\\ude0"}',
    "no hexadecimal": b'{"a":"\\u00g0"}',
    "an escape that is none": b'{"a":"\\x41"}',
    "an escape that is none, at the end": b'{"a":"\\x}',
    "a control character after an escape, at the end": b'{"a":"\\n\x01}',
    "a control character": b'{"a":"x\ty"}',
    "a control character after an escape": b'{"a":"\\t\t"}',
    "NUL in a text": b'{"a":"\x00"}',
    "a text that is not UTF-8": b'{"a":"\xff"}',
    "a text that is not UTF-8 before an escape": b'{"a":"\xc3\\n"}',
    "a text that is not UTF-8 after an escape": b'{"a":"\\n\xc3"}',
    "a key that is not UTF-8": b'{"\xff":1}',
    "a key with an escape": b'{"a\\u0062":1}',
    "a key with a control character": b'{"a\n":1}',
    "a key that is no text": b"{1:1}",
    "a key twice": b'{"a":1,"a":2}',
    "a key twice, far apart": json.dumps({f"key{each}": 1 for each in range(101)}).encode()[:-1]
    + b',"key0":1}',
    "no colon": b'{"a" 1}',
    "no comma": b'{"a":1 "b":2}',
    "no comma in a list": b'{"a":[1 2]}',
    "a comma too many": b'{"a":1,}',
    "a comma too many in a list": b'{"a":[1,]}',
    "a comma alone": b"{,}",
    "the wrong bracket": b'{"a":[1}}',
    "a comment": b'{"a":1/**/}',
    "single quotes": b"{'a':1}",
    "more keys than it remembers": json.dumps({f"{each:05}": each for each in range(2049)}).encode(),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_rare_or_broken_is_left_to_the_other_readers(name):
    assert splice_json(LEFT[name], NAMES) is None


def test_each_prefix_is_left_alone():
    text = (
        b'{"ID":"abc","a":[1,2.5e3,-7,null,true,"\\u00e9\\ud83d\\ude00",{"b":70000}],"t":"'
        + b"\xc3\xa9" * 20
        + b'"}'
    )
    assert agrees(text)
    assert not [size for size in range(len(text)) if splice_json(text[:size], NAMES) is not None]


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b' [ {"a" : ', b"} ]")])
def test_it_goes_as_deep_as_the_fast_readers(opening, closing):
    each = opening.count(b"[") + opening.count(b"{")
    for levels, answers in ((plain.FAST_DEPTH, True), (plain.FAST_DEPTH + each, False), (100_000, False)):
        inside = (levels - 1) // each
        outside = b'{"x":' + b"[" * ((levels - 1) % each)
        data = outside + opening * inside + b"1" + closing * inside + b"]" * ((levels - 1) % each) + b"}"
        assert agrees(data) == answers, levels


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
        assert agrees(b'{"a":"%s"}' % text) == whole, text
        assert agrees(b'{"a":"\\n%s\\n"}' % text) == whole, text
        assert agrees(b'{"%s":1}' % text) == whole, text


@pytest.mark.parametrize("odd", [b'"', b"\\\\", b"\\n", b"\x1f", b"\xc3\xa9", b"\x80"])
def test_what_is_odd_is_seen_at_any_place(odd):
    for before, after in itertools.product(range(18), range(10)):
        text = b'{"%s":"%s' % (b"k" * after, b"x" * before) + odd + b"y" * after + b'"}'
        assert agrees(text) == (odd in (b"\\\\", b"\\n", b"\xc3\xa9")), text


def test_what_grows_most():
    for item in (b"1e1", b"0.5", b"256", b'""', b"[]"):
        for size in (1, 10, 1000, 70_000):
            assert agrees(b'{"a":[' + b",".join([item] * size) + b"]}")


def test_the_fields_that_are_asked_for_come_with_it():
    text = b'{"ID":"1","namespace":null,"date":[],"other":"x","inside":{"ID":"2"}}'
    assert splice_json(text, NAMES)[1] == {"ID": "1"}
    assert splice_json(text, ())[1] == {}


def test_the_fields_of_a_map_within():
    text = b'{"entity":{"ID":"1","namespace":7,"entity":{"ID":"2"}},"ID":"3","type":"t"}'
    packed, found = splice_json(text, ("type", "no", ("entity", NAMES)))
    assert packed == msgpack.packb(json.loads(text))
    assert found == {"type": "t", "entity": {"ID": "1", "namespace": 7}}
    assert splice_json(text, (("entity", (("entity", ("ID",)), "ID")),))[1] == {
        "entity": {"ID": "1", "entity": {"ID": "2"}}
    }
    assert splice_json(b'{"entity":{}}', (("entity", NAMES),))[1] == {"entity": {}}
    assert splice_json(b'{"other":{"ID":"1"}}', (("entity", NAMES),))[1] == {}
    assert splice_json(b'{"entity":{"ID":"1"}}', (("entity", ()),))[1] == {"entity": {}}


@pytest.mark.parametrize("other", [b"null", b'""', b"[]", b"1", b'"x"', b'{"a":1,"a":1}', b"{", b""])
def test_what_is_no_map_within(other):
    text = b'{"entity":%s}' % other
    assert splice_json(text, (("entity", NAMES),)) is None


@pytest.mark.parametrize(
    "number", [0, 127, 128, -1, -32, -33, -128, 255, 2**16, -(2**15), 2**64 - 1, -(2**63), 1.5]
)
def test_a_field_that_is_a_number(number):
    assert exactly(splice_json(b'{"ID":%s}' % str(number).encode(), NAMES)[1], {"ID": number})


def test_it_says_what_it_wants():
    for arguments in ((), (b"{}",), ("{}", ()), (b"{}", ["ID"]), (b"{}", (), ())):
        with pytest.raises(TypeError, match="bytes, a tuple of names"):
            splice_json(*arguments)


@given(data=json_objects, others=st.sets(st.text(max_size=4), max_size=3), pick=st.randoms())
@example(data=b'{"a":[{"b":{"c":1}}]}', others={"", "d"}, pick=random.Random(1))
def test_it_has_no_answer_where_a_watched_key_is_and_else_the_same(data, others, pick):
    plainly = splice_json(data, NAMES)
    if plainly is None:
        return
    there = keys(msgpack.unpackb(plainly[0]))
    absent = tuple(each for each in others - there if each.isprintable())
    assert splice_json(data, NAMES, watch(absent)) == plainly
    if there:
        watched = watch((*absent, pick.choice(sorted(there))))
        assert splice_json(data, NAMES, watched) is None
        assert splice_json(data, (), watched) is None
