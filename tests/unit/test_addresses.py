from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from loading import refused
from strategies import SUBJECTS, TOKENS

from nats_fluent import addresses
from nats_fluent.addresses import FluentUrl, bare_subject, overlap

HOSTS = st.from_regex(
    r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{2,5})?", fullmatch=True
) | st.ip_addresses().map(str)
PORTS = st.integers(1, 65535)


# Addresses


@pytest.mark.parametrize(
    ("raw", "servers"),
    [
        ("nats", ("nats://nats:4222",)),
        ("nats:4333", ("nats://nats:4333",)),
        ("NATS://a, tls://b:1/", ("nats://a:4222", "tls://b:1")),
        (["nats://a"], ("nats://a:4222",)),
        ("[::1]", ("nats://[::1]:4222",)),
        ("ws://a,ws://b:1", ("ws://a:80", "ws://b:1")),
        ("wss://[::1]", ("wss://[::1]:443",)),
    ],
)
def test_servers(raw, servers):
    assert addresses.SERVERS.parse(raw) == servers
    assert addresses.SERVERS.parse(addresses.SERVERS.show(servers)) == servers


@pytest.mark.parametrize(
    "raw",
    [
        "http://a",
        "nats://",
        "nats://a:0",
        "nats://a:99999",
        "nats://a/b",
        "a?b",
        "a#b",
        "::1",
        "nats://[a",
        "a,",
    ],
)
def test_what_is_not_a_server(raw):
    assert refused("servers", raw).endswith(
        " is not an address; write nats://host:4222, tls://host:4222, wss://host:443 or host:4222"
    )


@pytest.mark.parametrize(
    ("raw", "schemes"), [("ws://a,wss://b", "ws and wss"), ("a,wss://b", "nats and wss")]
)
def test_a_websocket_stands_with_its_like(raw, schemes):
    assert refused("servers", raw) == f"{raw!r} has {schemes}; with a websocket, write ws or wss for all"


@pytest.mark.parametrize("kind", ["servers", "urls"])
@pytest.mark.parametrize("raw", ["nats://u:hunter2@a", "u:hun,ter2@a", ["forward://u:hunter2@a"]])
def test_an_address_has_no_credentials_and_the_message_neither(kind, raw):
    message = refused(kind, raw)
    assert message == "what is there has an @, as credentials have; give user and password on their own"


@pytest.mark.parametrize("raw", [[], 7, {"a": 1}])
def test_what_is_not_a_list(raw):
    assert refused("servers", raw) == f"{raw!r} is not a list; write one or more, with commas between"


@given(
    st.lists(
        st.builds(FluentUrl, st.sampled_from(["forward", "forward+tls"]), HOSTS, PORTS, st.just("")),
        min_size=1,
    )
)
@example([FluentUrl("unix", path="/run/fluent.sock"), FluentUrl("forward", "a", 1)])
@example([FluentUrl("stdout")])
def test_a_fluent_url_is_read_as_it_is_shown(urls):
    assert addresses.FLUENT_URLS.parse(addresses.FLUENT_URLS.show(urls)) == tuple(urls)


def test_fluent_urls():
    first, second, third = addresses.FLUENT_URLS.parse("forward://a, forward+tls://[::1]:1, unix:///run/f")
    assert first == ("forward", "a", 24224, "")
    assert second == ("forward+tls", "::1", 1, "")
    assert third == ("unix", "", 0, "/run/f")
    assert [first.tls, second.tls, third.tls] == [False, True, False]


@pytest.mark.parametrize(
    "raw", ["a:24224", "tcp://a", "unix://a", "unix:///", "stdout", "forward://a/b", "forward:"]
)
def test_what_is_not_a_fluent_url(raw):
    forms = "forward://host:24224, forward+tls://host:24224, unix:///path or stdout:"
    assert refused("urls", raw) == f"{raw!r} is not an address; write {forms}"


def test_stdout_stands_alone():
    raw = "stdout:,forward://a"
    assert refused("urls", raw) == f"{raw!r} has stdout: beside others; write stdout: alone, or leave it out"


# The endpoint's own


@pytest.mark.parametrize(
    ("raw", "listen", "where"),
    [
        ("off", "off", None),
        (False, "off", None),
        (" OFF ", "off", None),
        ("127.0.0.1:9464", "127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("[::]:80", "[::]:80", ("::", 80)),
        ("localhost:1", "localhost:1", ("localhost", 1)),
    ],
)
def test_where_to_listen(raw, listen, where):
    assert addresses.LISTEN.parse(raw) == listen
    assert addresses.split_listen(listen) == where


@pytest.mark.parametrize("raw", ["9464", ":9464", "a", "a:0", "a:65536", "a:1/x", "http://a:1", "on", ""])
def test_where_nobody_can_listen(raw):
    forms = "127.0.0.1:9464, 0.0.0.0:9464 for every address of this host, or off"
    with pytest.raises(ValueError, match="is not an address") as caught:
        addresses.LISTEN.parse(raw)
    assert str(caught.value) == f"{raw!r} is not an address; write {forms}"


# Subjects


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a", "a.b", False),
        ("a.>", "a", False),
        ("a.>", "a.b.c", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("*.b", "a.*", True),
        ("*.b", "a.c", False),
        ("*", "a.>", False),
        (">", "a.b", True),
    ],
)
def test_which_subjects_overlap(one, other, same):
    assert overlap(one, other) is same
    assert overlap(other, one) is same


@given(SUBJECTS, TOKENS)
def test_a_subject_overlaps_with_what_it_matches(subject, token):
    match = subject.replace("*", token).replace(">", f"{token}.{token}")
    assert overlap(subject, match)
    assert overlap(match, subject)
    assert not overlap(match, f"{match}.more")


@given(SUBJECTS)
def test_a_bare_subject_has_no_wildcard(subject):
    assert not set(bare_subject(subject)) & {"*", ">"}


# Subjects of a stream


@given(st.lists(SUBJECTS, unique=True))
def test_subjects_are_read_as_they_are_shown(subjects):
    assert addresses.SUBJECTS.parse(addresses.SUBJECTS.show(subjects)) == tuple(subjects)
    assert addresses.SUBJECTS.parse(subjects) == tuple(subjects)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("a,a", "more than once"),
        ("a..b", "an empty part"),
        ("a.>.b", "a misplaced wildcard"),
        ("a b", "a space"),
    ],
)
def test_what_is_no_list_of_subjects(raw, problem):
    assert problem in refused("subjects", raw)


@pytest.mark.parametrize("kind", [addresses.SERVERS, addresses.FLUENT_URLS, addresses.LISTEN])
@pytest.mark.parametrize("raw", ["nats://me:hunter2@a:1", "me:hunter2@a:1", ["hunter2@a"], "hunter2@"])
def test_what_may_be_a_credential_is_not_repeated(kind, raw):
    with pytest.raises(ValueError, match="has an @, as credentials have") as caught:
        kind.parse(raw)
    assert "hunter2" not in str(caught.value)
