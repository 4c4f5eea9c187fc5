"""A NATS server that says what no server says: it is tried again, and nothing of it stops the program."""

from __future__ import annotations

import pytest
from listening import listening

from nats_fluent.errors import SourceError
from nats_fluent.sections import NatsSettings
from nats_fluent.source.connect import connect_once

INFOS = [
    b"[]",
    b"5",
    b"null",
    b"{",
    b"\xff",
    b"[" * 10_000,
    b'{"server_id": 5, "auth_required": []',
    b'{"connect_urls": 5, "max_payload": "x", "tls_required": 1}',
    b'{"connect_urls": ["[::1", "a:b", 7], "nonce": 5, "auth_required": true}',
]


def saying(line):
    """A server that says so, and reads what it gets."""

    async def say(reader, writer):
        writer.write(b"INFO " + line + b"\r\n")
        await reader.read()

    return listening(say)


@pytest.mark.parametrize("info", INFOS)
async def test_an_info_line_that_is_none_is_a_reason_like_any_other(info):
    async with saying(info) as port:
        with pytest.raises(SourceError):
            await connect_once(NatsSettings(servers=(f"nats://127.0.0.1:{port}",)), 0.3)
