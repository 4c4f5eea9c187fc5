from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from loading import KINDS, refused

from nats_fluent import options, topics
from nats_fluent.errors import SettingsError
from nats_fluent.options import Option, Secret

# What TOML, the environment and the command line can hold.
SCALARS = st.one_of(
    st.text(), st.integers(), st.floats(), st.booleans(), st.just(dt.datetime(2019, 6, 12, tzinfo=dt.UTC))
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("subject"), inner),
    max_leaves=5,
)


@pytest.mark.parametrize("kind", KINDS)
@given(raw=ANYTHING)
def test_a_parser_returns_or_says_what_is_wrong_in_one_line(kind, raw):
    problem = refused(kind, raw)
    assert problem is None or (problem.isprintable() and not problem.endswith("."))


# Durations


@given(st.floats(0.001, 86_400))
def test_a_duration_is_read_as_it_is_shown(seconds):
    assert options.DURATION.parse(options.DURATION.show(seconds)) == pytest.approx(seconds, rel=1e-14)


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [("5", 5), (5, 5), (0.5, 0.5), ("0.5", 0.5), ("500ms", 0.5), (" 5 s ", 5), ("1m", 60), ("1.5H", 5400)],
)
def test_durations(raw, seconds):
    assert options.DURATION.parse(raw) == seconds


@pytest.mark.parametrize(
    "raw", ["soon", "", "5x", "5 s 1", "-1", "1e3", "٣", True, [5], float("nan"), float("inf")]
)
def test_what_is_not_a_duration(raw):
    assert refused("duration", raw) == f"{raw!r} is not a duration; write seconds, or 500ms, 5s or 1m"


@pytest.mark.parametrize("raw", [0, "0.9ms", "25h", 86_401])
def test_a_duration_out_of_bounds(raw):
    assert refused("duration", raw) == f"{raw!r} is out of bounds; write 1ms to 24h"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.1, "100ms"), (1.0, "1s"), (1.5, "1.5s"), (86_400.0, "86400s")]
)
def test_a_duration_is_shown_short(seconds, shown):
    assert options.DURATION.show(seconds) == shown


# Sizes


@given(st.integers(1, 1 << 50))
@example(1_000_000)
@example(64 << 20)
@example(1_234_567)
def test_a_size_is_read_as_it_is_shown(size):
    assert options.SIZE.parse(options.SIZE.show(size)) == size


@pytest.mark.parametrize(
    ("raw", "size"),
    [
        (1_000_000, 1_000_000),
        (1e6, 1_000_000),
        ("1MB", 1_000_000),
        ("64MiB", 64 << 20),
        ("64Mi", 64 << 20),
        ("900k", 900_000),
        ("1.5 kB", 1500),
        ("1G", 10**9),
        ("7b", 7),
    ],
)
def test_sizes(raw, size):
    assert options.SIZE.parse(raw) == size


@pytest.mark.parametrize("raw", ["big", "1TB", "-1", False, [1], float("inf")])
def test_what_is_not_a_size(raw):
    assert refused("size", raw) == f"{raw!r} is not a size; write bytes, or 900k, 1MB or 64MiB"


@pytest.mark.parametrize("raw", [0, 1.5, "0.0001k"])
def test_a_size_is_whole_bytes(raw):
    assert refused("size", raw) == f"{raw!r} is not a whole number of bytes above 0"


# Counts and choices


@given(st.integers(1, 10))
def test_counts(count):
    assert KINDS["count"].parse(count) == KINDS["count"].parse(f" {count} ") == count


@pytest.mark.parametrize("raw", ["many", 1.0, True, -1, "٣", [1]])
def test_what_is_not_a_count(raw):
    assert refused("count", raw) == f"{raw!r} is not a whole number; write 1 to 10"


@pytest.mark.parametrize("raw", [0, "11", "9" * 18])
def test_a_count_out_of_bounds(raw):
    assert refused("count", raw) == f"{raw!r} is out of bounds; write 1 to 10"


def test_choices():
    assert KINDS["choice"].parse(" INFO ") == "info"
    assert KINDS["choice"].parse("trace") == "debug"
    assert refused("choice", "inof") == "'inof' is not one of debug, info; did you mean info?"
    assert refused("choice", 7) == "7 is not one of debug, info"


# Text


@given(st.text(st.characters(blacklist_categories=("C", "Z"))))
def test_text_stays_as_it_is(text):
    assert options.TEXT.parse(text) == options.WORD.parse(text) == text


def test_text_and_words():
    assert options.TEXT.parse("my pod") == "my pod"
    assert refused("text", 7) == "7 is not text; put it in quotes"
    assert refused("text", "a\nb") == r"'a\nb' has characters that cannot be printed; leave them out"
    assert refused("word", "my pod") == "'my pod' has a space; leave it out"
    assert options.PATH.parse("/run/a b") == Path("/run/a b")


def test_what_is_long_is_cut():
    message = refused("word", "x " * 500)
    assert len(message) < 120
    assert "..." in message


# Tags


@pytest.mark.parametrize("raw", ["aporeto.{topic}", "x", "{identity}-{operation}.{subject}", "a{{b}}"])
def test_tags(raw):
    assert options.TAG.parse(raw) == raw


FIELDS = "the fields are {topic}, {subject}, {identity}, {operation}"


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("a.{topc}", "'a.{topc}' has a field {topc}; did you mean topic?"),
        ("a.{zzz}", f"'a.{{zzz}}' has a field {{zzz}}; {FIELDS}"),
        ("a.{}", f"'a.{{}}' has a field {{}}; {FIELDS}"),
        ("a.{topic", f"'a.{{topic' has a brace without its other half; {FIELDS}"),
        ("a b", "'a b' has a space; leave it out"),
    ],
)
def test_what_is_not_a_tag(raw, problem):
    assert refused("tag", raw) == problem


@pytest.mark.parametrize("raw", ["{topic!r}", "{topic:>9}", "{topic.x}", "{topic[0]}", "{topic:{subject}}"])
def test_a_field_of_a_tag_is_only_a_name(raw):
    assert "has a field" in refused("tag", raw)


# Secrets


@given(st.text(min_size=3))
def test_a_secret_is_returned_and_never_shown(text):
    secret = options.SECRET.parse(text)
    assert secret.get() == text
    assert repr(secret) == str(secret) == f"{secret}" == "Secret('***')"
    assert options.SECRET.show(secret) == "***"


def test_a_secret_of_another_type_is_refused_unseen():
    assert refused("secret", 271828) == "what is there is not text; put it in quotes"


def test_no_secret_is_empty_text():
    assert Secret().get() == ""


def test_the_file_of_a_secret_is_read_each_time(tmp_path):
    file = tmp_path / "password"
    secret = Secret(file=file)
    for text in ("first", "second"):
        file.write_text(f"{text}\r\n")
        assert secret.get() == text
    assert repr(secret) == f"Secret(file={str(file)!r})"
    assert options.SECRET.show(secret) == f"in {file}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read (No such file or directory)."),
        (b"\n", "is empty; write the secret into it."),
        (b"\xff\xfe", "is not UTF-8 text; write the secret as text."),
    ],
)
def test_what_is_wrong_with_the_file_of_a_secret(tmp_path, content, problem):
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        Secret(file=file).get()
    assert caught.value.problems == (f"{file}: {problem}",)


# Names


def test_the_names_of_an_option():
    option = Option(section="nats", name="ca_file", kind=options.PATH, default=None, doc="")
    assert (option.key, option.env) == ("nats.ca_file", "NATS_FLUENT_NATS_CA_FILE")
    assert (option.flag, option.param) == ("--nats-ca-file", "nats_ca_file")
    assert option.show(None) == ""
    assert option.show(Path("/a")) == "/a"


def test_the_names_of_a_section_that_is_an_option():
    option = Option(section="topics", name="", kind=topics.TOPICS, default=(), doc="")
    assert (option.key, option.env, option.flag) == ("topics", "NATS_FLUENT_TOPICS", "--topics")


# Names of streams and consumers


@pytest.mark.parametrize("raw", ["EVENTS", "nats-fluent", "a_b", "ümlaut"])
def test_names(raw):
    assert options.NAME.parse(raw) == raw


@pytest.mark.parametrize(
    ("raw", "found"), [("a.b", "."), ("a*", "*"), (">", ">"), ("a/b\\c", "/ and \\"), ("a b", "a space")]
)
def test_what_is_not_a_name(raw, found):
    assert found in refused("name", raw)
