"""Whatever a file of the spool holds, the others are found and read, and it is whole or set aside."""

from __future__ import annotations

import contextlib
import struct
import tempfile
import zlib
from pathlib import Path

from nats_fluent import spool
from nats_fluent.delivery import Chunk
from nats_fluent.errors import SpoolError

GOOD = Chunk(id="good", tag="a.tag", entries=b"entries" * 10, count=3, undecodable=1)
PREFIX = struct.Struct(">7sBII")


def file_of(chunk: Chunk) -> bytes:
    return spool.encode_head(chunk) + chunk.entries


def seeds():
    whole = file_of(GOOD)
    for signed in (b"\x00", b"\x01"):
        yield signed + whole
        yield signed + whole[:-1]
        yield signed + whole[:10]
        yield signed + b"NFCHUNK\x01" + b"\xff" * 8
        yield signed + b"NFCHUNK\x02" + whole[8:]
        yield signed


def signed(data: bytes) -> bytes:
    """Return the file with the checksum that its header should have, which chance would never find."""
    if len(data) < PREFIX.size:
        return data
    magic, version, length, _ = PREFIX.unpack_from(data)
    header = data[PREFIX.size : PREFIX.size + length]
    return PREFIX.pack(magic, version, length, zlib.crc32(header)) + data[PREFIX.size :]


def check(data: bytes) -> None:
    content = signed(data[1:]) if data[:1] == b"\x01" else data[1:]
    with contextlib.suppress(SpoolError):
        chunk = spool.decode(content)
        assert file_of(chunk)[-len(chunk.entries) :] == chunk.entries
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for number in (1, 3):
            (directory / f"{number:016}.chunk").write_bytes(file_of(GOOD))
        (directory / f"{2:016}.chunk").write_bytes(content)
        inside = spool.inspect(name)
        disk = spool.Spool(name, fsync=False)
        try:
            _all_but_one(disk, inside)
        finally:
            disk.close()


def _all_but_one(disk: spool.Spool, inside: spool.Inside | None) -> None:
    found = disk.open()
    numbers = [stored.number for stored in found.chunks]
    assert numbers in ([1, 3], [1, 2, 3])
    assert found.next_number == 4
    assert len(found.aside) == 3 - len(numbers)
    assert inside is not None
    assert (inside.chunks, inside.bad) == (len(numbers), len(found.aside))
    for stored in found.chunks:
        assert stored.size > 0
        try:
            chunk = disk.read(stored)
        except SpoolError:
            assert stored.number == 2
            disk.set_aside(2)
        else:
            assert len(chunk.entries) == stored.length
            if stored.number != 2:
                assert (chunk.id, chunk.tag, chunk.entries) == (GOOD.id, GOOD.tag, GOOD.entries)
