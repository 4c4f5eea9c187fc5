"""Where a value is."""

from __future__ import annotations

import pytest

from nats_fluent.places import Place, place_of, text_of

CONTENT = {"order": {"id": 7, "items": [{"sku": "a"}, {"sku": "b"}]}, "x:y": 1, "0": "zero"}
HEADERS = {"X-Time": "now", "Twice": ["one", "two"]}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("order.id", 7),
        ("order.items.1.sku", "b"),
        ("order.items.2.sku", None),
        ("order.items.-1", None),
        ("order.items.x", None),
        ("order.items.1111111111", None),
        ("order.id.more", None),
        ("nothing", None),
        ("0", "zero"),
        ("x:y", 1),
        ("header:X-Time", "now"),
        ("header:x-time", "now"),
        ("header:twice", "one"),
        ("header:None", None),
        ("subject:1", "orders"),
        ("subject:3", "created"),
        ("subject:4", None),
    ],
)
def test_what_is_found(text, found):
    assert place_of(text).find(CONTENT, HEADERS, "orders.eu.created") == found


def test_content_that_is_no_map():
    assert place_of("1").find(["a", "b"], {}, "s") == "b"
    assert place_of("a").find("text", {}, "s") is None


@pytest.mark.parametrize(
    "text", ["", ".", "a.", "a.*", "header:", "subject:", "subject:0", "subject:x", "subject:100"]
)
def test_what_is_no_place(text):
    with pytest.raises(ValueError, match=r"write|as in"):
        place_of(text)


def test_a_header_is_found_in_any_case():
    assert place_of("header:A.B") == Place("header", ("a.b",))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("", ""),
        (7, "7"),
        (-(2**63), "-9223372036854775808"),
        (2**64, ""),
        (True, ""),
        (1.5, ""),
        (None, ""),
        ({}, ""),
    ],
)
def test_what_can_be_a_name(value, text):
    assert text_of(value) == text
