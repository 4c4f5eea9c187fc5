"""What a server says of itself and of others is looked at before nats-py, and a log, gets it."""

from __future__ import annotations

import pytest

from nats_fluent.source.secured import DISCOVERED, _tame


@pytest.mark.parametrize(
    "url", ["a:4222", "10.0.0.1:4222", "[::1]:4222", "nats-0.nats.svc.cluster.local:4222"]
)
def test_another_server_is_known(url):
    assert _tame({"connect_urls": [url], "x": 1}, 1) == {"connect_urls": [url], "x": 1}


@pytest.mark.parametrize(
    "urls",
    [
        ["me:hunter2@a:4222"],
        ["hunter2@a:4222"],
        ["a"],
        ["a:b"],
        ["a:1/x"],
        ["a:999999"],
        ["[::1"],
        ["a b:1"],
        ["a\n:1"],
        [5, None, ["a:1"]],
        5,
        "a:4222",
        None,
        {},
    ],
)
def test_what_is_no_server_is_left_out(urls):
    assert _tame({"connect_urls": urls}, 1) == {"connect_urls": []}


def test_so_is_what_is_too_many():
    urls = [f"a{number}:4222" for number in range(1000)]
    assert _tame({"connect_urls": urls}, 1)["connect_urls"] == urls[: DISCOVERED - 1]
    assert _tame({"connect_urls": urls}, DISCOVERED + 1)["connect_urls"] == []
