"""The formats: what they read, and that their two readers agree."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math

import msgpack
import msgspec
import pytest
from building import pack, publication
from hypothesis import example, given
from hypothesis import strategies as st
from judging import exactly, not_plain
from programs import missing
from strategies import json_objects, mutated, odd_maps, plain_values

from nats_fluent import compiled, plain
from nats_fluent.decoded import Decoded
from nats_fluent.errors import Undecodable
from nats_fluent.formats import BUILT_IN, SPLICED, Own, seems_publication, time_of
from nats_fluent.publication import watch

JSON, MSGPACK, TEXT, RAW, AUTO = (BUILT_IN[name] for name in ("json", "msgpack", "text", "raw", "auto"))
EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}


def read(reader, payload, headers=None):
    """What a format reads, by the fast reader or else by the careful one."""
    try:
        return reader.fast(payload, headers or {}, "s")
    except plain.NotFast:
        return reader.careful(payload, headers or {}, "s")


def refused(reader, payload):
    with pytest.raises(Undecodable) as caught:
        read(reader, payload)
    return str(caught.value)


@pytest.mark.parametrize("payload", [b'{"a":[1,2.5,null]}', b"[]", b'"text"', b"7", b" null\n"])
def test_json(payload):
    assert read(JSON, payload) == JSON.careful(payload, {}, "s") == Decoded(json.loads(payload))


def test_json_that_is_not_unicode_or_holds_more_than_64_bits():
    assert read(JSON, b'{"a":"\xff\xfe"}') == Decoded({"a": "\ufffd\ufffd"}, replaced=2)
    assert JSON.careful(b"[18446744073709551616]", {}, "s").content == [18446744073709551616.0]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "payload: not JSON: Expecting value at character 0 of 0"),
        (b"{", "payload: not JSON: Expecting property name enclosed in double quotes at character 1 of 1"),
        (b"NaN", "payload: not JSON: NaN is not a number in JSON"),
        (b'{"a":1} {"a":2}', "payload: not JSON: more after the value, at character 7 of 15"),
        (b"[" * 800 + b"]" * 800, "payload: JSON nested deeper than 700 levels"),
    ],
)
def test_what_is_not_json(payload, reason):
    assert refused(JSON, payload) == reason


def test_msgpack():
    assert read(MSGPACK, msgpack.packb({"a": [1, "b"]})).content == {"a": [1, "b"]}
    assert read(MSGPACK, b"\x93\x01\x02\x03").content == [1, 2, 3]
    assert read(MSGPACK, b"\x81\x01\xa1\xff") == Decoded({"1": "\ufffd"}, replaced=1)
    assert refused(MSGPACK, b"\x01\x02") == "payload: more after the value, at byte 1 of 2"
    assert refused(MSGPACK, b"") == "payload: cut short: 1 bytes announced, 0 left, at byte 0 of 0"


# Without a look at the values


@pytest.fixture
def _built():
    if compiled.splice is None:
        missing("splice")


def spliced(name, payload, headers=None, *, names=("id", "n", "at"), watched=("password",)):
    """What the fast reader has; where that is the content as msgpack, so has the careful one."""
    reader = SPLICED[name](names, watch(watched))
    found = reader.fast(payload, headers or {}, "s")
    careful = reader.careful(payload, headers or {}, "s")
    if not found.packed:
        assert found == careful
        return None
    assert exactly(msgpack.unpackb(found.packed), careful.content)
    wanted = {key: careful.content.get(key) for key in names}
    wanted = {key: value for key, value in wanted.items() if type(value) in (str, int, float)}
    assert exactly({key: value for key, value in found.content.items() if key in names}, wanted)
    assert msgspec.structs.replace(found, packed=b"", content=None) == msgspec.structs.replace(
        careful, content=None
    )
    return found


PACK = {"json": lambda value: json.dumps(value).encode(), "msgpack": msgpack.packb}
VALUE = {"id": "7", "n": 1.5, "at": None, "a": {"b": 1}}


@pytest.mark.usefixtures("_built")
@pytest.mark.parametrize(
    ("name", "form"), [("json", "json"), ("msgpack", "msgpack"), ("auto", "json"), ("auto", "msgpack")]
)
def test_what_goes_out_as_it_came(name, form):
    payload = PACK[form](VALUE)
    assert spliced(name, payload).content == {"id": "7", "n": 1.5}
    assert spliced(name, payload, names=()) is not None
    assert spliced(name, PACK[form](VALUE | {"a": {"password": "x"}})) is None
    if name == form:
        assert spliced(name, PACK[form]([VALUE])) is None
    assert BUILT_IN[name].fast(payload, {}, "s") == Decoded(VALUE)


@pytest.mark.usefixtures("_built")
@pytest.mark.parametrize("name", ["cloudevents", "auto"])
@pytest.mark.parametrize("names", [(), ("id", "n")])
def test_events_that_go_out_as_they_came(name, names):
    event = EVENT | {"time": "2018-04-05T17:31:00Z", "subject": "5", "n": 7, "data": {"a": [1]}}
    payload = json.dumps(event).encode()
    found = spliced(name, payload, names=names)
    assert (found.identity, found.key, found.time_ns) == ("t", "/s/5", 1_522_949_460_000_000_000)
    assert spliced(name, payload, {"content-type": "application/cloudevents+json"}, names=names) == found
    assert spliced(name, payload, names=names, watched=("data",)) is None
    headers = {f"ce-{each}": value for each, value in EVENT.items()} | {"content-type": "application/json"}
    assert spliced(name, payload, headers, names=names) is None
    assert spliced(name, payload, headers | {"content-type": "application/cloudevents"}, names=names) == found
    assert refused(SPLICED["cloudevents"](names, b""), b'{"id":7,"specversion":"1.0"}') == "CloudEvent: no id"


@given(
    name=st.sampled_from(sorted(SPLICED)),
    payload=json_objects | mutated(json_objects) | odd_maps.map(pack) | mutated(odd_maps.map(pack)),
    headers=st.sampled_from([{}, {"ce-specversion": "1.0"}, {"content-type": "application/cloudevents"}]),
)
def test_what_goes_out_as_it_came_is_what_the_careful_reader_has(name, payload, headers):
    with contextlib.suppress(plain.NotFast, Undecodable):
        spliced(name, payload, headers, names=("ID", "namespace", ""))


def test_text():
    assert read(TEXT, "wäre".encode()) == Decoded("wäre")
    assert read(TEXT, b"a\xff") == Decoded("a\ufffd", replaced=1)
    assert read(TEXT, b"") == Decoded("")


def test_raw():
    assert read(RAW, b"\x00\xff") == RAW.careful(b"\x00\xff", {}, "s") == Decoded("AP8=")


@pytest.mark.parametrize(
    ("payload", "content"),
    [
        (b'{"a":1}', {"a": 1}),
        (b'{"a":"\xff"}', {"a": "\ufffd"}),
        (b"42", 42),
        (b"42 things", "42 things"),
        (b'{"a":1}\n{"a":2}', '{"a":1}\n{"a":2}'),
        (b"\x81\xa1a\x01", {"a": 1}),
        (b"\x81\xa1a\xa1\xff", {"a": "\ufffd"}),
        (b"\x81\xa1a", "gaFh"),
        (b"\x93\x01\x02\x03", "kwECAw=="),
        ("\u07c0".encode(), "\u07c0"),  # it begins as a large map does
        (b"", ""),
        (b"\xff", "/w=="),
    ],
)
def test_auto(payload, content):
    assert read(AUTO, payload).content == AUTO.careful(payload, {}, "s").content == content


def test_auto_knows_a_cloudevent_by_its_members_and_by_its_headers():
    for text in (json.dumps(EVENT).encode(), json.dumps(EVENT | {"x": "?"}).encode().replace(b"?", b"\xff")):
        assert read(AUTO, text).identity == AUTO.careful(text, {}, "s").identity == "t"
    headers = {f"ce-{name}": value for name, value in EVENT.items()}
    assert read(AUTO, b"x", headers) == AUTO.careful(b"x", headers, "s")
    assert read(AUTO, b"x", headers).content == {**EVENT, "data": "x"}


def test_what_seems_a_publication():
    assert seems_publication(publication({"ID": "1"}))
    assert seems_publication(publication({"ID": "1"}, encoding="application/json"))
    for payload in (
        b"",
        b"{}",
        b"\x80",
        msgpack.packb({"data": b"x"}),
        msgpack.packb({"data": b"x", "encoding": "e"}),
    ):
        assert not seems_publication(payload)


payloads = (
    st.binary(max_size=60)
    | plain_values.map(lambda value: json.dumps(value).encode())
    | odd_maps.map(pack)
    | st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass"))
)


@given(payload=payloads | mutated(payloads), name=st.sampled_from([*BUILT_IN]))
@example(b"\x81\xa1a\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "msgpack")
def test_the_readers_agree_on_any_bytes(payload, name):
    reader = BUILT_IN[name]
    try:
        careful = reader.careful(payload, {}, "s")
    except Undecodable as error:
        careful = str(error)
    else:
        assert not_plain({"content": careful.content}) == []
    try:
        fast = reader.fast(payload, {}, "s")
        packed = plain.fast_pack({"content": fast.content})
    except plain.NotFast:
        return
    except Undecodable as error:
        fast, packed = str(error), b""
    if not packed:
        assert fast == careful
        return
    assert msgpack.unpackb(packed)["content"] == careful.content
    assert (fast.time_ns, fast.key, fast.identity) == (careful.time_ns, careful.key, careful.identity)
    assert careful.replaced == 0


# Times

SECOND = 1_700_000_000


@pytest.mark.parametrize(
    ("found", "ns"),
    [
        ("2023-11-14T22:13:20Z", SECOND * 10**9),
        ("2023-11-14T23:13:20.5+01:00", SECOND * 10**9 + 5 * 10**8),
        (SECOND, SECOND * 10**9),
        (SECOND * 10**3 + 1, SECOND * 10**9 + 10**6),
        (SECOND * 10**6 + 1, SECOND * 10**9 + 10**3),
        (SECOND * 10**9 + 1, SECOND * 10**9 + 1),
        (1700000000.123456, SECOND * 10**9 + 123_456_000),
        (1700000000123.25, SECOND * 10**9 + 123_250_000),
        ("1700000000.123456789", SECOND * 10**9 + 123_456_789),
        (str(SECOND * 10**3), SECOND * 10**9),
        (10**11 - 1, (10**11 - 1) * 10**9),
        (10**11, 10**17),
        (10**20, None),
        pytest.param(10**5000, None, id="huge"),
        (0, None),
        (-1, None),
        (0.0, None),
        ("0", None),
        ("1970-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00Z", None),
        ("yesterday", None),
        ("2023-11-14T22:13:20", None),
        (math.nan, None),
        (math.inf, None),
        (True, None),
        (None, None),
        ([SECOND], None),
    ],
)
def test_times(found, ns):
    assert time_of(found) == ns


# A format of one's own


def own(content=None, **fields):
    return Own("mine", lambda _payload, _headers, _subject: Decoded(content, **fields)).careful(b"", {}, "s")


def test_a_format_of_ones_own_is_made_plain():
    when = dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)
    odd = {"b": b"\x00", "nan": math.nan, 1: (1, 2), "when": when, "text": "\ud800"}
    found = own(odd, time_ns=5, key="k", identity="i", operation="o", namespace="/n")
    assert found.content == {
        "b": "AA==",
        "nan": "NaN",
        "1": [1, 2],
        "when": "2023-11-14T22:13:20Z",
        "text": "\ufffd\ufffd\ufffd",
    }
    assert (found.time_ns, found.key, found.identity, found.operation, found.namespace) == (
        5,
        "k",
        "i",
        "o",
        "/n",
    )
    assert found.replaced == 3


def test_what_it_is_given():
    def decode(payload, headers, subject):
        return Decoded([payload, headers, subject])

    reader = Own("mine", decode)
    with pytest.raises(plain.NotFast):
        reader.fast(b"p", {"h": "1"}, "s")
    assert reader.careful(b"p", {"h": "1"}, "s").content == ["cA==", {"h": "1"}, "s"]


@pytest.mark.parametrize(
    ("decode", "reason"),
    [
        (lambda *_: 1 / 0, "mine: ZeroDivisionError: division by zero"),
        (lambda *_: None, "mine: AttributeError: 'NoneType' object has no attribute 'key'"),
        (lambda *_: Decoded(object()), "mine: TypeError: can not serialize 'object' object"),
        (
            lambda *_: Decoded(1, key=7),
            "mine: TypeError: a key, identity, operation or namespace that is no str",
        ),
        (lambda *_: Decoded(1, time_ns=1.5), "mine: TypeError: a time_ns that is no int"),
        (lambda *_: Decoded(2**64), "mine: OverflowError: Integer value out of range"),
    ],
)
def test_what_it_does_wrong_is_said(decode, reason):
    assert refused(Own("mine", decode), b"") == reason


def test_what_it_refuses():
    def decode(*_):
        raise Undecodable("header", "odd \ud800")

    assert refused(Own("mine", decode), b"") == "header: odd ?"
