"""The settings of redaction: what a path is, and what goes together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loading import loaded, problems, refused
from strategies import PATHS_TO_REDACT

from nats_fluent.topics import PATHS, TOPICS, Topic

KEY = "a key of 16 or more"

ACTION = "redact.action (environment NATS_FLUENT_REDACT_ACTION)"
NO_KEY = "a hash needs a key, and nothing else has use for one; give both or neither"
HASH_KEY = "redact.key (environment NATS_FLUENT_REDACT_KEY)"


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("a..b", "'a..b' has an empty key; write a path as in entity.metadata or **.password"),
        ([""], "[''] has an empty text; leave it out"),
        (["a,b"], "'a,b' has a comma, which no path may have"),
        ("a.**", "'a.**' has ** without a key behind it; write a key, or * for any"),
        ("**.**.a", "'**.**.a' has ** without a key behind it; write a key, or * for any"),
        ("a*.b", "'a*.b' has a misplaced wildcard; write * for one whole key, ** for any number"),
        (7, "7 is not a list; write one or more, with commas between"),
    ],
)
def test_what_is_not_a_path(raw, problem):
    assert refused("paths", raw) == problem


@given(st.lists(PATHS_TO_REDACT, unique=True))
def test_paths_are_read_as_they_are_shown(paths):
    assert PATHS.parse(PATHS.show(tuple(paths))) == tuple(paths)
    assert PATHS.parse(paths) == tuple(paths)


def test_a_topic_is_read_as_it_is_shown():
    topics = (Topic("a", "a", redact=("entity.b", "**.c")), Topic("b", "b", redact=()))
    assert TOPICS.parse(TOPICS.show(topics)) == topics
    assert TOPICS.parse([{"subject": "b", "redact": False}]) == topics[1:]


def test_settings(tmp_path):
    file = tmp_path / "key"
    file.write_text(KEY)
    environ = {"NATS_FLUENT_REDACT_ACTION": "hash", "NATS_FLUENT_REDACT_KEY_FILE": str(file)}
    found = loaded(environ, redact_headers="X-A, X-B").settings.redact
    assert (found.action, found.key.get(), found.headers) == ("hash", KEY, ("X-A", "X-B"))


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (
            {"NATS_FLUENT_REDACT_ACTION": "hash"},
            f"{ACTION} and redact.key (default): {NO_KEY}.",
        ),
        (
            {"NATS_FLUENT_REDACT_ACTION": "hash", "NATS_FLUENT_REDACT_KEY": "short"},
            f"{HASH_KEY}: it is shorter than 16 characters, so that it could be guessed; write a longer one.",
        ),
        (
            {"NATS_FLUENT_REDACT_ACTION": "masked"},
            "environment NATS_FLUENT_REDACT_ACTION: 'masked' is not one of mask, remove, hash, off; did you mean mask?",
        ),
    ],
)
def test_settings_that_do_not_go_together(environ, problem):
    assert problems(environ) == [problem]
