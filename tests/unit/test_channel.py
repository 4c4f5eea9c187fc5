"""What a supervisor and a worker say to each other arrives as it was said."""

from __future__ import annotations

import asyncio
import socket

import pytest

from nats_fluent.channel import Order, Said, hear, ordered, said, take_order
from nats_fluent.facts import Facts, SpoolFacts, StreamFacts, TopicFacts
from nats_fluent.options import Secret
from nats_fluent.settings import load

TOML = """
topics = [
    {subject = "events.>", topic = "events", include = {identity = ["enforcer"], namespace = ["/apomux"]}},
    "activities",
]
workers = 2
[nats]
user = "joe"
password = "se$cret"
servers = "tls://a:1,tls://b:2"
[fluent]
url = "forward+tls://a:1,unix:///b"
shared_key_file = "key"
[jetstream]
stream = "S"
filter_subjects = "a,b"
"""


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_settings_of_every_kind_arrive_with_their_secrets(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text("a key")
    (tmp_path / "settings.toml").write_text(TOML)
    settings = load(flags={}, environ={}, file=tmp_path / "settings.toml").settings
    ours, theirs = pair
    ours.sendall(ordered(Order(2, settings)) + b"?")
    number, found = take_order(theirs)
    assert number == 2
    for secret, text in ((found.nats.password, "se$cret"), (found.fluent.shared_key, "a key")):
        assert isinstance(secret, Secret)
        assert secret.get() == text
    assert found.topics == settings.topics
    assert found.fluent.url == settings.fluent.url
    assert found.jetstream == settings.jetstream
    assert theirs.recv(10) == b"?"


@pytest.mark.parametrize("sent", [b"", b"\0\0\0", b"\0\0\0\x09half"])
def test_a_worker_without_an_order_knows_it(pair, sent):
    ours, theirs = pair
    ours.sendall(sent)
    ours.close()
    with pytest.raises(EOFError):
        take_order(theirs)


async def test_what_a_worker_says_arrives_until_it_is_gone(pair):
    ours, theirs = pair
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    facts = Facts(
        topics={"t": TopicFacts(received=3)},
        stream=StreamFacts(stream="S", durable="d"),
        spool=SpoolFacts(mode="off"),
    )
    theirs.sendall(said(Said(facts=facts)) + said(Said(problems=("one", "two"))) + b"\0\0\1")
    theirs.close()
    assert await hear(reader) == Said(facts=facts)
    assert await hear(reader) == Said(problems=("one", "two"))
    assert await hear(reader) is None
    writer.close()
    await writer.wait_closed()
