"""Every recorded payload of the real Go libraries: our content is theirs, and what they refuse we refuse."""

from __future__ import annotations

import contextlib
import re
import time
import tracemalloc
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack
import pytest
from building import bare, envelope, publication
from decoding import agrees_spliced, spliced, without_the_compiled_part
from judging import exactly, not_plain, same, vectors
from programs import missing

from nats_fluent import compiled, plain
from nats_fluent.delivery import Delivery
from nats_fluent.envelope import careful_envelope, fast_envelope
from nats_fluent.errors import Undecodable
from nats_fluent.publication import careful_content, fast_content
from nats_fluent.record import Recorder
from nats_fluent.sections import RecordSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from judging import Vector

NOW = 1_700_000_000_000_000_000
NAMES = list(vectors())
STACKS = ("2019", "2021", "2024")


def ours(payload: bytes) -> Any:
    """Our content, or the error."""
    try:
        return careful_content(careful_envelope(payload)).value
    except Undecodable as error:
        return error


def recorded(vector: Vector) -> tuple[Any, dict[str, Any]]:
    delivery = Delivery(vector.go["subject"], vector.go["subject"], vector.payload)
    made = Recorder(RecordSettings(), "test", levels=None).record(delivery, NOW)
    return made, msgpack.unpackb(made.packed)


def agrees(vector: Vector, content: Any) -> bool:
    """Whether Go has the same content, or refuses it as we do."""
    if isinstance(content, Undecodable):
        return bool(vector.refused)
    return not vector.refused and "content" in vector.go and same(content, vector.go["content"])


# Where we differ, on purpose


class Deviation(NamedTuple):
    """What Go does, what we do instead and why; for which vectors; and what shows that we do."""

    words: str
    names: tuple[str, ...]
    shown: Callable[[Vector, Any], bool]


def each(name: str, *stacks: str) -> tuple[str, ...]:
    return tuple(f"{stack}/{name}" for stack in stacks or STACKS)


def refused_with(pattern: str) -> Callable[[Vector, Any], bool]:
    return lambda _, content: isinstance(content, Undecodable) and bool(re.search(pattern, str(content)))


def has_numbers_as_keys(vector: Vector, content: Any) -> bool:
    assert any("invalid byte descriptor for decoding bytes" in text for text in vector.go["errors"].values())
    return any(re.fullmatch(r"-?\d+", key) for key in keys(content))


def keys(value: Any) -> list[str]:
    if isinstance(value, list):
        return [key for item in value for key in keys(item)]
    if isinstance(value, dict):
        return [*value, *(key for item in value.values() for key in keys(item))]
    return []


def has_not_numbers_as_strings(_: Vector, content: Any) -> bool:
    return sorted(value for value in content["data"].values() if isinstance(value, str)) == [
        *("-Infinity",) * list(content["data"].values()).count("-Infinity"),
        *("Infinity",) * 2,
        *("NaN",) * 2,
    ]


def has_a_year_beyond_9999(_: Vector, content: Any) -> bool:
    return bool(re.fullmatch(r"-?\d{5,}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", content["entity"]["createTime"]))


def is_as_without_partition(vector: Vector, content: Any) -> bool:
    assert "cannot decode signed integer" in vector.go["errors"]["publication"]
    plain_one = vectors()[f"{vector.go['stack']}/good/event_enforcer_update"]
    return same(content, plain_one.go["content"])


DEVIATIONS = {
    "keys that are not strings": Deviation(
        "Go drops a publication that holds a map with integer keys. As text, nothing of them is lost.",
        (
            *each("good/activity_map_int_keys"),
            *each("bad/flip_05", "2019", "2021"),
            *each("bad/noise_03"),
            *each("bad/noise_04", "2021", "2024"),
            "2021/bad/noise_02",
        ),
        has_numbers_as_keys,
    ),
    "NaN and infinities": Deviation(
        "Go decodes them and cannot print them as JSON. As strings they can be read.",
        each("good/activity_nan_inf"),
        has_not_numbers_as_strings,
    ),
    "years beyond 9999": Deviation(
        "Go decodes them and cannot print them as JSON. We write the year out.",
        (*each("bad/entity_time_12_far"), *each("bad/entity_time_12_min")),
        has_a_year_beyond_9999,
    ),
    "a partition of 3.0": Deviation(
        "The codec of 2024 takes a float without a fraction for an integer, and so do we for all.",
        each("bad/env_partition_float", "2019", "2021"),
        is_as_without_partition,
    ),
    "depth": Deviation(
        "Go reads 1,024 levels. A record of more than 700 could not be read by Python's own json.",
        each("odd/any_deep_1000"),
        refused_with("nested deeper than 700 levels, at byte"),
    ),
    "numbers that are not JSON": Deviation(
        "Go's codec takes 007, the older ones +1; no Go library writes them, and no JSON reader takes them.",
        (*each("odd/json_leading_zero"), *each("odd/json_plus", "2019", "2021")),
        refused_with("not JSON: .* at character"),
    ),
    "a response mode of true": Deviation(
        "In 2019 there was no response mode and any value of that name passed; since then Go refuses it.",
        ("2019/odd/env_response_mode_true",),
        refused_with("true where an integer is expected"),
    ),
    "an answer": Deviation(
        "The three bytes `ack` go to a publisher's inbox. They are no publication, to Go neither.",
        each("good/reply_to_ack", "2021", "2024"),
        refused_with("an integer where a map is expected, at byte 0 of 3"),
    ),
}
DEVIATES = {name: deviation for deviation in DEVIATIONS.values() for name in deviation.names}


def test_every_deviation_is_of_a_vector():
    assert set(NAMES) >= DEVIATES.keys()
    assert len(DEVIATES) == sum(len(deviation.names) for deviation in DEVIATIONS.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_content_is_what_go_makes_of_it(name):
    vector = vectors()[name]
    content = ours(vector.payload)
    if name in DEVIATES:
        assert not agrees(vector, content), f"no reason to differ any more: {DEVIATES[name].words}"
        assert DEVIATES[name].shown(vector, content), content
    elif isinstance(content, Undecodable):
        assert vector.refused, content
    else:
        assert not vector.refused, vector.go["errors"]
        assert same(content, vector.go["content"])


@pytest.mark.parametrize("name", NAMES)
def test_the_envelope_is_what_go_makes_of_it(name):
    vector = vectors()[name]
    if "publication" not in vector.go or name in DEVIATIONS["a response mode of true"].names:
        return
    go = vector.go["publication"]
    envelope = careful_envelope(vector.payload)
    # Go fills in the subject before it decodes; nil makes it empty again.
    assert go["topic"] == envelope.topic or (not envelope.topic and go["topic"] == vector.go["subject"])
    if not name.startswith("2019/"):  # which had no response mode
        assert envelope.response_mode == go.get("responseMode", 0)
    if go.get("encoding"):
        assert envelope.encoding == go["encoding"]
    if envelope.value is None:
        assert len(envelope.data or b"") == go["data_bytes"]


def test_both_eras_and_every_kind_are_there():
    kinds = {vector.go.get("kind") for vector in vectors().values()}
    assert kinds == {None, "event", "error-event", "object", "reply"}
    assert len(NAMES) == 449
    assert sum(len(vector.refused) > 0 for vector in vectors().values()) > 150


# Two readers


@pytest.mark.parametrize("name", NAMES)
def test_where_the_fast_reader_has_an_answer_it_is_the_careful_one_s(name):
    payload = vectors()[name].payload
    try:
        envelope = fast_envelope(payload)
    except plain.NotFast:
        return
    careful = careful_envelope(payload)
    assert envelope == careful
    try:
        content = fast_content(envelope)
        value = msgpack.unpackb(plain.fast_pack(content.value))
    except plain.NotFast:
        return
    except Undecodable as error:
        with pytest.raises(Undecodable, match=f"^{re.escape(str(error))}$"):
            careful_content(careful)
        return
    expected = careful_content(careful)
    assert exactly(value, expected.value)
    for field in ("event", "identity", "operation", "timestamp", "time_ns", "replaced"):
        assert exactly(getattr(content, field), getattr(expected, field)), field


@pytest.mark.parametrize("name", [name for name in NAMES if "/good/" in name and "2018" not in name])
def test_what_the_libraries_write_is_read_fast(name):
    """The careful reader is for what is odd: were it needed for more, the throughput would be gone."""
    vector = vectors()[name]
    if name in DEVIATES or vector.refused:
        return
    # The largest double begins as NaN does, and the fast readers go 60 levels deep.
    slow = name.endswith(("/activity_floats", "/activity_deep100", "/activity_deep500"))
    with pytest.raises(plain.NotFast) if slow else contextlib.nullcontext():
        plain.fast_pack(fast_content(fast_envelope(vector.payload)).value)


@pytest.mark.parametrize("name", [name for name in NAMES if "/good/" in name])
def test_what_the_libraries_write_goes_out_without_a_look_at_its_values(name):
    """Each of these would cost three times as much otherwise."""
    if compiled.splice is None:
        missing("splice")
    payload = vectors()[name].payload
    try:
        envelope = fast_envelope(payload)
    except plain.NotFast:
        return
    made = spliced(payload)
    rare = name.endswith(
        (
            "/event_json_in_msgpack_publication",
            "/event_unicode_json",  # it has a key with an escape
            "/event_zero_timestamp_json",
            "/pub_plain_text",
            "/activity_deep100",
            "/activity_deep500",
            "/activity_nan_inf",
            "/activity_map_int_keys",
        )
    )
    if made is None:
        assert rare, name
    else:
        agrees_spliced(payload, careful_content(envelope))


# The record of each


@pytest.mark.parametrize("name", [name for name in NAMES if "json" in name])
def test_the_record_of_json_is_the_same_to_the_byte_without_the_compiled_part(name):
    made = recorded(vectors()[name])
    with without_the_compiled_part():
        assert recorded(vectors()[name]) == made


@pytest.fixture(params=["spliced", "by its values"])
def way(request, monkeypatch):
    if request.param == "by its values":
        monkeypatch.setattr(compiled, "splice", None)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", NAMES)
def test_the_record_is_plain_and_holds_the_content_or_the_bytes(name):
    vector = vectors()[name]
    made, record = recorded(vector)
    assert not_plain(record) == []
    assert record["topic"] == record["subject"] == vector.go["subject"]
    content = ours(vector.payload)
    if isinstance(content, Undecodable):
        assert (made.tag, made.error) == ("aporeto.undecodable", str(content))
        assert (record["error"], record["size"]) == (str(content), len(vector.payload))
        assert record["payload"] == plain.base64(vector.payload)
    else:
        assert (made.tag, made.error) == (f"aporeto.{vector.go['subject']}", "")
        assert exactly(record["content"], content)
        assert made.replaced == careful_content(careful_envelope(vector.payload)).replaced


def test_a_number_beyond_64_bits_is_a_float_as_in_go():
    for stack in STACKS:
        vector = vectors()[f"{stack}/odd/json_big_int"]
        _, record = recorded(vector)
        assert same(record["content"], vector.go["content"])
        assert "e+" in repr(record["content"])


def test_bytes_that_are_not_utf_8_are_counted():
    made, record = recorded(vectors()["2024/odd/json_invalid_utf8"])
    assert made.replaced == str(record["content"]).count("\ufffd") > 0


# Bounds


def bomb(inner: bytes, *, encoding: str = "application/msgpack") -> bytes:
    return envelope(inner, encoding=encoding)


LEVELS = 200_000
BOMBS = {
    "arrays": bomb(b"\x91" * LEVELS),
    "maps": bomb(b"\x81\xa1a" * LEVELS),
    "objects": bomb(b"\x81\xa1a" + b"\x91" * LEVELS + b"\xc0"),
    "JSON arrays": bomb(b"[" * LEVELS, encoding="application/json"),
    "JSON maps": bomb(b'{"a":' * LEVELS + b"1" + b"}" * LEVELS, encoding="application/json"),
    "a JSON publication": b'{"data":' * LEVELS,
    "an envelope": b"\x81\xa1a" * LEVELS,
    "tracking data": b"\x81\xactrackingData" * LEVELS,
    "a huge array": bomb(b"\x81\xa1a\xdd\xff\xff\xff\xff"),
    "a huge map": bomb(b"\xdf\xff\xff\xff\xff"),
    "a huge string": bomb(b"\x81\xa1a\xdb\xff\xff\xff\xff"),
    "huge bytes": b"\x81\xa4data\xc6\xff\xff\xff\xff",
    "a huge extension": bomb(b"\x81\xa1a\xc9\xff\xff\xff\xff\xff"),
    "a huge envelope": b"\xdf\xff\xff\xff\xff",
    "digits": bomb(b'{"a":' + b"9" * LEVELS + b"}", encoding="application/json"),
    "a huge exponent": bomb(b'{"a":1e999999999}', encoding="application/json"),
} | {
    name: vector.payload
    for name, vector in vectors().items()
    if re.search(r"huge|deep|bomb", name) and "/bad/" in name
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_declares_more_than_it_holds_costs_little(name):
    payload = BOMBS[name]
    recorder = Recorder(RecordSettings(), "test", levels=None)
    tracemalloc.start()
    try:
        before = time.process_time()
        made = recorder.record(Delivery("t", "t", payload), NOW)
        took = time.process_time() - before
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made.error
    assert took < 5
    assert peak < 1_000_000 + 30 * len(payload)


@pytest.mark.parametrize(
    "payload",
    [
        publication({"a": [[]] * 1000}),
        bare({"a": [[]] * 1000}, "activities", encoding="application/json"),
    ],
)
def test_what_is_wide_is_not_deep(payload):
    made = Recorder(RecordSettings(), "test", levels=None).record(Delivery("t", "t", payload), NOW)
    assert not made.error
