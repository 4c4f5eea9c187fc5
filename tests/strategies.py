"""Values for hypothesis: what a publication may hold, and bytes that are nearly one."""

from __future__ import annotations

import json
import string

from building import Ext, Raw, Text, Time, bare, envelope, event, publication
from hypothesis import strategies as st

# A surrogate is no character: no encoder writes one.
texts = st.text(st.characters(codec="utf-8"), max_size=40)
finite = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**64 - 1) | st.sampled_from(
    [
        sign * (2**bits) + off
        for bits in (5, 7, 8, 15, 16, 31, 32, 53, 62)
        for sign in (1, -1)
        for off in (-1, 0)
    ]
)
scalars = st.none() | st.booleans() | integers | finite | texts


def nested(leaves, *, keys=texts):
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
        max_leaves=20,
    )


plain_values = nested(scalars)
plain_maps = st.dictionaries(texts, plain_values, max_size=6)

times = st.builds(Time, st.integers(-(2**40), 2**40), st.integers(0, 10**9 - 1))
odd_scalars = (
    scalars
    | st.floats()
    | st.binary(max_size=40)
    | st.builds(Text, st.binary(max_size=40))
    | times
    | st.builds(Ext, st.integers(-128, 127), st.binary(max_size=20))
    | st.builds(
        Raw, st.sampled_from([b"\xc1", b"\xca\x7f\xc0\x00\x00", b"\xca\x3f\x80\x00\x00", b"\xcd\x00\x01"])
    )
)
odd_keys = texts | st.builds(Text, st.binary(max_size=20))
odd_maps = st.dictionaries(odd_keys, nested(odd_scalars, keys=odd_keys), max_size=6)
"""What Go's codec writes, and some of what only others write."""

_json_odd = st.sampled_from(
    [
        *("0", "-0", "0.0", "-0.0", "1e5", "1E+2", "0.1e-3", "1e400", "-1e400", "1e-400", "0.1"),
        *("18446744073709551615", "18446744073709551616", "-9223372036854775808", "-9223372036854775809"),
        *(
            "9999999999999999999",
            "10000000000000000000",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "NaN",
            "-Infinity",
        ),
        *(r'"\u0000"', r'"\ud83d\ude00"', r'"\ud83d"', r'"\uDE00"', r'"\ud83d\u0041"', r'"\x"', r'"\u12g4"'),
        *(r'"a\/b"', r'"\u00e9\""', r'"\\"', '"\x00"', '"a\n"', '"\x7f"', '"a', "'a'", "nul"),
        *("{}", "[]", "[,]", "{1:2}", '{"a":1,"a":2}', r'{"\u0061":1}', "/**/1", "\x0b1", "\xa01"),
    ]
)
_json_space = st.sampled_from(["", "", " ", "\n\t", "\r"])


@st.composite
def _json_text(draw, value):
    """Write a value as JSON, in a way that is odd here and there."""
    if draw(st.integers(0, 40)) == 40:
        return draw(_json_odd)
    space, escaped = draw(_json_space), draw(st.booleans())
    if isinstance(value, dict):
        items = [
            f"{space}{json.dumps(key, ensure_ascii=False)}{space}:{draw(_json_text(item))}"
            for key, item in value.items()
        ]
        return f"{space}{{{','.join(items)}{space}}}{space}"
    if isinstance(value, list):
        return f"{space}[{','.join(draw(_json_text(item)) for item in value)}{space}]{space}"
    return f"{space}{json.dumps(value, ensure_ascii=escaped)}{space}"


_json_keys = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters='"\\'), max_size=12
) | st.sampled_from(["ID", "namespace", "entity"])
json_objects = (
    st.dictionaries(_json_keys, nested(scalars, keys=_json_keys), max_size=6)
    .flatmap(lambda value: st.just(json.dumps(value, ensure_ascii=False)) | _json_text(value))
    .map(str.encode)
)
"""JSON objects as publishers write them, and some that are odd or broken."""

topics = st.sampled_from(["squall-events", "activities", "external-flowreports", "other"])
encodings = st.sampled_from(["application/msgpack", "application/json"])


@st.composite
def publications(draw):
    """Payloads as the Go libraries make them, of anything."""
    kind = draw(st.sampled_from(["event", "JSON event", "object", "JSON object", "mixed"]))
    topic = draw(topics)
    match kind:
        case "event":
            return publication(draw(odd_maps), topic, ext=draw(st.booleans()), time=draw(st.none() | times))
        case "JSON event":
            time = draw(
                st.none() | st.sampled_from(["2019-06-12T14:38:02.5-07:00", "0001-01-01T00:00:00Z", "x"])
            )
            return publication(draw(plain_maps), topic, encoding="application/json", time=time)
        case "object":
            return bare(draw(odd_maps), topic)
        case "JSON object":
            return bare(draw(plain_maps), topic, encoding="application/json")
    return envelope(event(draw(plain_maps), encoding=draw(encodings)), topic, encoding=draw(encodings))


@st.composite
def mutated(draw, payloads):
    """Payloads with some bytes flipped, inserted and deleted."""
    payload = bytearray(draw(payloads))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(payload) - 1, 0)))
        match draw(st.sampled_from(["flip", "insert", "delete", "cut"])):
            case "flip" if payload:
                payload[at] = draw(st.integers(0, 255))
            case "insert":
                payload[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "delete":
                del payload[at : at + draw(st.integers(1, 4))]
            case "cut":
                del payload[at:]
    return bytes(payload)


TOKENS = st.text(string.ascii_letters + string.digits + "-_$", min_size=1, max_size=5)
"""Parts of a subject."""
SUBJECTS = st.tuples(st.lists(TOKENS | st.just("*"), max_size=4), TOKENS | st.sampled_from("*>")).map(
    lambda parts: ".".join([*parts[0], parts[1]])
)

REDACTED_KEYS = st.sampled_from(["a", "b", "c", "entity", "token"])
PATHS_TO_REDACT = (
    st.lists(REDACTED_KEYS | st.sampled_from(["*", "**"]), max_size=3)
    .flatmap(lambda parts: (REDACTED_KEYS | st.just("*")).map(lambda last: ".".join([*parts, last])))
    .filter(lambda path: "**.**" not in path)
)
