"""The Forward sink and a real Fluent Bit."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from typing import TYPE_CHECKING

import pytest
from forward_server import until
from programs import FluentBit, Program, started, wait_until
from sending import LOOPS, TIME_NS, chunk_of, numbered, run_on, sending
from taking import Certificates

from nats_fluent.addresses import FluentUrl
from nats_fluent.options import Secret
from nats_fluent.sections import FluentSettings

if TYPE_CHECKING:
    from pathlib import Path

RECORD = {
    "text": '\u00e9 \U0001f600 " \\ \n',
    "int": -(2**63),
    "float": 0.5,
    "null": None,
    "yes": True,
    "list": [1, "two", {"three": 3}],
}
SECURE = "    Shared_Key the key\n    Self_Hostname shipper\n"


def settings_for(server, **changes):
    return FluentSettings(url=(FluentUrl("forward", "127.0.0.1", server.port),), **changes)


def printed(server):
    return [json.loads(line) for line in server.lines()]


async def printed_records(server, count):
    await until(lambda: len(server.lines()) >= count, what=f"{count} records are printed")
    records = printed(server)
    return [{name: value for name, value in record.items() if name != "date"} for record in records]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "how", [{}, {"compress": "gzip"}, {"mode": "forward"}], ids=["packed", "gzip", "forward"]
)
def test_records_come_out_as_they_went_in(fluent_bit, how, loop):
    async def main():
        async with sending(settings_for(fluent_bit, **how)) as client:
            await client.deliver(chunk_of(RECORD, {"n": 1}), chunk_of({"n": 2}))
        assert await printed_records(fluent_bit, 3) == [RECORD, {"n": 1}, {"n": 2}]

    run_on(loop, main())


async def test_many_chunks_come_out_once(fluent_bit):
    async with sending(settings_for(fluent_bit)) as client:
        await client.deliver(*numbered(100))
        assert client.sink.stats.failures == client.sink.stats.unknown_acks == 0
    records = await printed_records(fluent_bit, 10_000)
    assert [record["id"] for record in records] == [str(n) for n in range(10_000)]


async def test_the_time_has_nanoseconds(tmp_path):
    conf = tmp_path / "own.conf"
    probe = FluentBit(tmp_path)  # for its port
    conf.write_text(
        f"[SERVICE]\n    Flush 0.2\n[INPUT]\n    Name forward\n    Listen 127.0.0.1\n    Port {probe.port}\n"
        "[OUTPUT]\n    Name stdout\n    Match *\n    Format msgpack\n"
    )
    with started(FluentBit(tmp_path, conf=conf, port=probe.port)) as server:
        async with sending(settings_for(server)) as client:
            await client.deliver(chunk_of({"n": 1}, {"n": 2}))
        await until(lambda: len(server.lines()) >= 2, what="the records are printed")
        printed = server.stdout.read_text()
    assert re.findall(r"aporeto\.events: \[\[(\d+\.\d+),", printed) == [
        "1560375482.268588123",
        "1560375482.268588124",
    ]
    assert TIME_NS == 1560375482268588123


async def test_shared_key_and_user(tmp_path):
    with started(FluentBit(tmp_path, forward=SECURE + "    Security.Users me the-password\n")) as server:
        known = {"shared_key": Secret("the key"), "user": "me", "password": Secret("the-password")}
        async with sending(settings_for(server, **known)) as client:
            await client.deliver(*numbered(3))
        assert len(await printed_records(server, 300)) == 300


async def test_a_shared_key_alone(tmp_path):
    with started(FluentBit(tmp_path, forward=SECURE)) as server:
        async with sending(settings_for(server, shared_key=Secret("the key"))) as client:
            await client.deliver(*numbered(3))
        assert len(await printed_records(server, 300)) == 300


@pytest.mark.parametrize(
    "wrong",
    [
        {"shared_key": Secret("another key"), "user": "me", "password": Secret("the-password")},
        {"shared_key": Secret("the key"), "user": "me", "password": Secret("another")},
        {"shared_key": Secret("the key"), "user": "you", "password": Secret("the-password")},
        {"shared_key": Secret("the key")},
        {},
    ],
    ids=["key", "password", "user", "no user", "no key"],
)
async def test_a_client_that_may_not_is_told_so_once(tmp_path, wrong):
    with started(FluentBit(tmp_path, forward=SECURE + "    Security.Users me the-password\n")) as server:
        async with sending(settings_for(server, **wrong)) as client:
            client.sink.submit(chunk_of({"a": 1}))
            await until(lambda: client.sink.stats.failures >= 3, what="three attempts")
            assert client.events().count("refused by the log shipper") == 1
            assert client.sink.pending == 1
        assert server.lines() == []


async def test_a_key_that_the_server_does_not_ask_for(fluent_bit):
    async with sending(settings_for(fluent_bit, shared_key=Secret("key"), connect_timeout=0.3)) as client:
        reason = "waiting for HELO in vain"
        await until(lambda: reason in client.sink.stats.reason, what="the reason")
        assert client.events() == ["cannot reach the log shipper"]


def tls_of(certificates, *, verify=False):
    pem = certificates.server_file
    text = f"    tls on\n    tls.crt_file {pem}\n    tls.key_file {pem}\n"
    if verify:
        text += f"    tls.verify on\n    tls.verify_client_cert on\n    tls.ca_file {certificates.ca_file}\n"
    return text


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tls(tmp_path, loop, host):
    certificates = Certificates(tmp_path)

    async def main(server):
        url = FluentUrl("forward+tls", host, server.port)
        async with sending(FluentSettings(url=(url,), ca_file=certificates.ca_file)) as client:
            await client.deliver(*numbered(10, each=500, padding=900))
            assert client.sink.stats.failures == 0
        assert len(await printed_records(server, 5000)) == 5000

    with started(FluentBit(tmp_path, forward=tls_of(certificates))) as server:
        run_on(loop, main(server))


async def test_tls_with_a_client_certificate_whose_key_is_encrypted_and_a_shared_key(tmp_path):
    certificates = Certificates(tmp_path)
    settings = {
        "ca_file": certificates.ca_file,
        "cert_file": certificates.cert_file,
        "key_file": certificates.key_file(passphrase="open sesame"),
        "key_password": Secret("open sesame"),
        "shared_key": Secret("the key"),
    }
    with started(FluentBit(tmp_path, forward=tls_of(certificates, verify=True) + SECURE)) as server:
        url = FluentUrl("forward+tls", "127.0.0.1", server.port)
        async with sending(FluentSettings(url=(url,), **settings)) as client:
            await client.deliver(*numbered(3))
        async with sending(
            FluentSettings(url=(url,), ca_file=certificates.ca_file, shared_key=Secret("the key"))
        ) as stranger:
            await until(lambda: stranger.logged, what="a line in the log")
            assert stranger.events() == ["cannot reach the log shipper"]
        assert len(await printed_records(server, 300)) == 300


@pytest.mark.parametrize("loop", LOOPS)
def test_a_certificate_that_is_not_trusted_or_for_another_name(tmp_path, loop):
    certificates = Certificates(tmp_path)
    (tmp_path / "other").mkdir()
    other = Certificates(tmp_path / "other")

    async def main(server):
        for host, ca_file in (("127.0.0.1", other.ca_file), ("127.0.0.2", certificates.ca_file)):
            url = FluentUrl("forward+tls", host, server.port)
            async with sending(FluentSettings(url=(url,), ca_file=ca_file)) as client:
                await until(lambda client=client: client.logged, what="a line in the log")
                assert "the server's certificate is not accepted" in client.reasons()[0]

    # 127.0.0.2 is loopback too, and in no certificate.
    with started(FluentBit(tmp_path, forward=tls_of(certificates) + "    Listen 0.0.0.0\n")) as server:
        run_on(loop, main(server))


class UnixFluentBit(FluentBit):
    """Listens on a Unix socket only."""

    def __init__(self, directory: Path, path: Path) -> None:
        super().__init__(directory, forward=f"    Unix_Path {path}\n")
        self.path = path

    def start(self) -> None:
        Program.start(self)
        wait_until(self.path.exists, what="the socket is there")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_unix_socket(tmp_path, loop):
    async def main(server):
        url = FluentUrl("unix", path=str(server.path))
        async with sending(FluentSettings(url=(url,))) as client:
            await client.deliver(*numbered(10))
            assert client.sink.stats.server == f"unix://{server.path}"
        assert len(await printed_records(server, 1000)) == 1000

    with started(UnixFluentBit(tmp_path, tmp_path / "s")) as server:
        run_on(loop, main(server))


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_that_is_killed_and_comes_back_loses_nothing(tmp_path, loop):
    server = FluentBit(
        tmp_path,
        service=f"    storage.path {tmp_path / 'storage'}\n    storage.sync normal\n",
        forward="    storage.type filesystem\n",
    )
    chunks = numbered(300)

    async def main():
        async with sending(settings_for(server, ack_timeout=2.0, window=4)) as client:
            for round_ in range(3):
                for chunk in chunks[round_ * 100 : round_ * 100 + 100]:
                    client.sink.submit(chunk)
                before = len(client.settled)
                await until(lambda before=before: len(client.settled) > before + 20, what="some are settled")
                server.process.kill()  # at once, with chunks on their way
                await asyncio.to_thread(server.process.wait)
                await until(lambda: not client.sink.stats.connected, what="the loss is noticed")
                await asyncio.to_thread(server.start)
            await client.deliver()
            assert client.settled == [chunk.id for chunk in chunks]
            assert client.sink.stats.chunks_resent > 0

        def ids():
            # A kill can tear the line that is being written.
            return set(re.findall(rb'"id":"(\d+)"', server.stdout.read_bytes()))

        await until(lambda: len(ids()) == 30_000, what="every record is printed")

    with started(server):
        run_on(loop, main())


async def test_a_server_that_stands_still_and_goes_on(fluent_bit):
    """As one whose input is paused: connections are made, and nothing is answered."""
    async with sending(settings_for(fluent_bit, ack_timeout=0.5)) as client:
        await client.deliver(*numbered(1))
        fluent_bit.process.send_signal(signal.SIGSTOP)
        try:
            for chunk in numbered(20):
                client.sink.submit(chunk)
            await until(lambda: client.sink.stats.failures >= 2, what="two overdue acknowledgements")
            assert not client.sink.stats.connected
        finally:
            fluent_bit.process.send_signal(signal.SIGCONT)
        await client.deliver()
        # And perhaps again, where the machine is so busy that it is late with others as well.
        assert client.events()[:3] == [
            "connected to the log shipper",
            "lost the log shipper",
            "connected to the log shipper",
        ]


async def test_a_chunk_that_is_larger_than_the_server_takes_is_named(tmp_path):
    with started(
        FluentBit(tmp_path, forward="    Buffer_Chunk_Size 32k\n    Buffer_Max_Size 64k\n")
    ) as server:
        async with sending(settings_for(server)) as client:
            (large,) = numbered(1, each=100, padding=1000)
            client.sink.submit(large)
            event = "a chunk is sent again and again and not acknowledged"
            await until(lambda: event in client.events(), what="the chunk is named")
            line = client.logged[client.events().index(event)]
            assert line["chunk"] == large.id
            assert line["bytes"] == len(large.entries)
