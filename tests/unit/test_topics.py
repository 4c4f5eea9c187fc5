from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loading import loaded, problems, refused
from strategies import SUBJECTS, TOKENS

from nats_fluent.topics import TOPICS, Match, Topic, topic_name

TEXTS = st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=4), max_size=2).map(
    tuple
)
OPERATIONS = st.sampled_from([(), ("create",), ("update", "delete")])
NAMESPACES = st.sampled_from([(), ("/a",), ("/", "/b")])
MATCHES = st.builds(Match, TEXTS, OPERATIONS, NAMESPACES).filter(lambda match: match != Match())
ENFORCERS = Match(identity=("enforcer",), namespace=("/apomux",))


@given(st.lists(SUBJECTS, min_size=1, unique=True), st.lists(TOKENS, min_size=9, max_size=9))
def test_topics_are_read_as_they_are_shown(subjects, names):
    topics = tuple(
        Topic(subject, name)
        for subject, name in zip(subjects, [*names, *(["x"] * len(subjects))], strict=False)
    )
    assert TOPICS.parse(TOPICS.show(topics)) == topics


@given(
    SUBJECTS,
    TOKENS,
    st.none() | MATCHES,
    st.none() | MATCHES,
)
def test_tables_are_read_as_they_are_shown(subject, name, include, exclude):
    topics = (Topic(subject, name, include, exclude), Topic("of.another.name.altogether", "another"))
    assert TOPICS.parse(TOPICS.show(topics)) == topics


@pytest.mark.parametrize(
    ("raw", "topics"),
    [
        ("events", [Topic("events", "events")]),
        ("events.>, a.*.b", [Topic("events.>", "events"), Topic("a.*.b", "a.b")]),
        ("events.>=squall-events", [Topic("events.>", "squall-events")]),
        (["a", ">=all"], [Topic("a", "a"), Topic(">", "all")]),
        ([{"subject": "a.>", "topic": "b"}, {"subject": "c.*"}], [Topic("a.>", "b"), Topic("c.*", "c")]),
        (
            [{"subject": "a", "include": {"identity": ["enforcer"], "namespace": "/apomux/"}}, "b"],
            [Topic("a", "a", ENFORCERS), Topic("b", "b")],
        ),
        (
            ' [{"subject": "a", "exclude": {"operation": "Update, delete"}}]',
            [Topic("a", "a", None, Match(operation=("update", "delete")))],
        ),
        ([{"subject": "a", "include": {"namespace": ["/"]}}], [Topic("a", "a", Match(namespace=("/",)))]),
    ],
)
def test_topics(raw, topics):
    assert list(TOPICS.parse(raw)) == topics


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("a,,b", "'' has a subject with an empty part; write it as in a.b.c"),
        ("a..b", "'a..b' has a subject with an empty part; write it as in a.b.c"),
        ("=b", "'=b' has a subject with an empty part; write it as in a.b.c"),
        ("a b", "'a b' has a space; leave it out"),
        ("a=b c", "'a=b c' has a space; leave it out"),
        (">.a", "'>.a' has a misplaced wildcard; write * for one whole part, > for the last"),
        ("a.b>", "'a.b>' has a misplaced wildcard; write * for one whole part, > for the last"),
        ("a*.b", "'a*.b' has a misplaced wildcard; write * for one whole part, > for the last"),
        ("*.>", "'*.>' has only wildcards, so its topic needs a name; write *.>=name"),
        ("a,b,a", "'a' is there more than once; write it once"),
        ([7], "7 is not text; put it in quotes"),
        ([{"subject": 7}], "subject: 7 is not text; put it in quotes"),
        (
            [{"subject": "a", "x": "b"}],
            (
                "'x' is not a key of a topic; write subject, topic, include, exclude, redact, format, "
                "time, key, identity, operation and namespace"
            ),
        ),
        ([{"subject": "a", "includes": {}}], "'includes' is not a key of a topic; did you mean include?"),
        (
            [{"subject": "a", "include": ["b"]}],
            "include: ['b'] is not a table of identity, operation and namespace",
        ),
        (
            [{"subject": "a", "exclude": {}}],
            "exclude: {} is not a table of identity, operation and namespace",
        ),
        (
            [{"subject": "a", "exclude": {"namespaces": ["/a"]}}],
            "exclude: 'namespaces' is not a key of include and exclude; did you mean namespace?",
        ),
        (
            [{"subject": "a", "exclude": {"namespace": ["a"]}}],
            "exclude: namespace: 'a' is not a namespace; write it as in /a/b",
        ),
        (
            [{"subject": "a", "exclude": {"identity": ["a", ""]}}],
            "exclude: identity: ['a', ''] has an empty text; leave it out",
        ),
        (
            [{"subject": "a", "exclude": {"identity": 7}}],
            "exclude: identity: 7 is not a list; write one or more, with commas between",
        ),
        (
            [{"subject": "a", "format": "JSON"}],
            "format: 'JSON' is not the name of a format; write it as in json",
        ),
        (
            [{"subject": "a", "format": "publication", "key": "id"}],
            "key: a publication says this by itself; leave it out, or give another format",
        ),
        ([{"subject": "a", "time": "a..b"}], "time: 'a..b' has an empty key; write a path as in order.id"),
        (
            [{"subject": "a", "time": "a.*"}],
            "time: 'a.*' has a wildcard; a place is one value, as in order.id",
        ),
        (
            [{"subject": "a", "key": "subject:0"}],
            "key: 'subject:0' is not a place; write it as in header:X-Time or subject:2",
        ),
        (
            [{"subject": "a", "key": "header:"}],
            "key: 'header:' is not a place; write it as in header:X-Time or subject:2",
        ),
        ("[7", "'[7' is not an array of JSON; Expecting ',' delimiter: line 1 column 3 (char 2)"),
        (
            [{"subject": "a", "topic": "x", "include": {"identity": "b"}}, "b=x"],
            "a and b are both of the topic x and differ in other keys; give both the same, or each a topic of its own",
        ),
    ],
)
def test_what_is_not_a_topic(raw, problem):
    assert refused("topics", raw) == problem


def test_a_topic_as_text():
    assert str(Topic("events.>", "events")) == "events.>"
    assert str(Topic("events.>", "x")) == "events.>=x"
    assert str(Topic("a", "a", ENFORCERS)) == (
        '{"subject":"a","topic":"a","include":{"identity":["enforcer"],"namespace":["/apomux"]}}'
    )


def test_the_name_of_a_subject_is_that_of_the_first_topic_that_takes_it():
    topics = (Topic("events.a", "a"), Topic("events.>", "all"))
    assert [topic_name(topics, subject) for subject in ("events.a", "events.b", "b")] == ["a", "all", ""]


@pytest.mark.parametrize(
    "text",
    [
        '[[topics]]\nsubject = "a"\n[topics.include]\nidentity = ["enforcer"]\nnamespace = ["/apomux"]\n',
        '[[topics]]\nsubject = "a"\ninclude = { identity = ["enforcer"], namespace = ["/apomux"] }\n',
        'topics = [{ subject = "a", include = { identity = "enforcer", namespace = "/apomux" } }]\n',
    ],
)
def test_the_forms_of_toml_say_the_same(tmp_path, text):
    file = tmp_path / "settings.toml"
    file.write_text(text)
    assert loaded(file=file).settings.topics == (Topic("a", "a", ENFORCERS),)


def test_an_error_in_a_table_says_where_it_is(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('[[topics]]\nsubject = "a"\n[topics.exclude]\nidentitys = ["b"]\n')
    assert problems(file=file) == [
        f"{file}: topics: exclude: 'identitys' is not a key of include and exclude; did you mean identity?"
    ]
