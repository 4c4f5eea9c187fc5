"""Chunks on disk: whole or not at all, in order, one process at a time."""

from __future__ import annotations

import errno
import os
import stat

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_fluent import spool as spools
from nats_fluent.backlog import BLOCK, HEAD, Stored
from nats_fluent.delivery import Chunk
from nats_fluent.errors import SettingsError, SpoolError
from nats_fluent.spool import Inside, Spool, decode, encode_head, inspect


def chunk(name="AAAAAAAAAAAAAAAAAAAAAA==", *, entries=b"entries", count=2, undecodable=1, tag="t"):
    return Chunk(id=name, tag=tag, entries=entries, count=count, undecodable=undecodable)


def same(one, other):
    fields = ("id", "tag", "entries", "count", "undecodable", "waiting")
    return all(getattr(one, field) == getattr(other, field) for field in fields)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def spool(directory):
    opened = Spool(str(directory), fsync=True)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(spools, "LOCK_WITHIN", 0.0)


def again(spool):
    """What another process finds."""
    spool.close()
    return spool.open()


def names(directory):
    return sorted(path.name for path in directory.iterdir() if path.name != "lock")


def failing(error, *, of="fsync"):
    def fail(*_):
        raise OSError(error, os.strerror(error))

    return lambda monkeypatch: monkeypatch.setattr(spools.os, of, fail)


# One chunk


@pytest.mark.parametrize("fsync", [True, False])
def test_a_chunk_comes_back_as_it_was(directory, fsync):
    spool = Spool(str(directory), fsync=fsync)
    assert spool.open() == ([], 1, [], [])
    written = spool.write(7, chunk())
    (file,) = directory.glob("*.chunk")
    assert file.name == "0000000000000007.chunk"
    assert written == Stored(7, 2, 1, len(b"entries"), BLOCK, file.stat().st_mtime)
    assert same(spool.read(written), chunk())
    assert again(spool) == ([written], 8, [], [])
    spool.remove(written)
    spool.remove(written)  # as after a removal that failed half-way
    assert names(directory) == []
    spool.close()


@given(
    st.text(), st.text(max_size=300), st.binary(max_size=9000), st.integers(0, 10**6), st.integers(0, 10**6)
)
def test_any_chunk_is_read_as_it_was_written(name, tag, entries, count, undecodable):
    whole = chunk(name, tag=tag, entries=entries, count=count, undecodable=undecodable)
    assert same(decode(encode_head(whole) + entries), whole)


def test_the_head_takes_no_more_than_is_allowed_for():
    largest = 2**63
    tag = "t" * 4000
    assert len(encode_head(chunk(count=largest, undecodable=largest, tag=tag))) <= len(tag) + HEAD


@pytest.mark.parametrize(("entries", "blocks"), [(b"", 1), (b"x" * BLOCK, 2), (b"x" * (10 * BLOCK), 11)])
def test_a_file_takes_whole_blocks(spool, directory, entries, blocks):
    written = spool.write(1, chunk(entries=entries))
    assert written.size == blocks * BLOCK
    assert written.size - BLOCK < (directory / names(directory)[0]).stat().st_size <= written.size


def test_nobody_else_reads_the_records(spool, directory):
    spool.write(1, chunk())
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_the_file_has_its_name_only_when_it_is_on_disk(spool, directory, monkeypatch):
    """What fsync is asked for, and that it comes before and after the renaming."""
    seen = []
    fsync = os.fsync
    monkeypatch.setattr(
        spools.os, "fsync", lambda descriptor: (seen.append(names(directory)), fsync(descriptor))[1]
    )
    spool.write(1, chunk())
    assert seen == [["0000000000000001.chunk.tmp"], ["0000000000000001.chunk"]]


def test_without_fsync_nothing_waits_for_the_disk(directory, monkeypatch):
    failing(errno.EIO)(monkeypatch)
    spool = Spool(str(directory), fsync=False)
    spool.open()
    spool.write(1, chunk())
    spool.close()


@pytest.mark.parametrize("of", ["fsync", "write", "open"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_leaves_nothing(spool, directory, monkeypatch, error, of):
    with monkeypatch.context() as patch:
        failing(error, of=of)(patch)
        with pytest.raises(OSError, match=os.strerror(error)):
            spool.write(1, chunk())
    assert names(directory) == []
    assert same(spool.read(spool.write(1, chunk())), chunk())


def test_a_rename_that_does_not_reach_the_disk_leaves_nothing(spool, directory, monkeypatch):
    def fsync(descriptor):
        if descriptor == spool._handle:
            raise OSError(errno.EIO, "no")

    monkeypatch.setattr(spools.os, "fsync", fsync)
    with pytest.raises(OSError, match="no"):
        spool.write(1, chunk())
    assert names(directory) == []


def test_a_disk_that_takes_a_byte_at_a_time(spool, monkeypatch):
    write = os.write
    monkeypatch.setattr(spools.os, "write", lambda descriptor, data: write(descriptor, data[:1]))
    written = spool.write(1, chunk())
    assert same(spool.read(written), chunk())


# Torn, damaged and foreign files


def file_of(some):
    return encode_head(some) + some.entries


def test_a_file_that_is_cut_off_anywhere_is_set_aside(directory):
    directory.mkdir()
    whole = file_of(chunk())
    for length in range(len(whole)):
        (directory / f"{length + 1:016}.chunk").write_bytes(whole[:length])
    (directory / "9000000000000000.chunk").write_bytes(whole)
    spool = Spool(str(directory), fsync=False)
    found = spool.open()
    assert [stored.number for stored in found.chunks] == [9 * 10**15]
    assert found.next_number == 9 * 10**15 + 1
    assert [name for name, _ in found.aside] == [f"{n + 1:016}.chunk" for n in range(len(whole))]
    assert {reason.partition(":")[0] for _, reason in found.aside} == {"torn", "torn or damaged"}
    assert len([name for name in names(directory) if name.endswith(".chunk.bad")]) == len(whole)
    # Once, and what is set aside keeps its number.
    assert again(spool) == (found.chunks, found.next_number, [], [])
    spool.close()


def test_a_byte_that_is_not_what_was_written_is_noticed(spool, directory):
    whole = bytearray(file_of(chunk()))
    written = spool.write(1, chunk())
    path = directory / "0000000000000001.chunk"
    for place in range(len(whole)):
        whole[place] ^= 0x10
        path.write_bytes(whole)
        whole[place] ^= 0x10
        with pytest.raises(SpoolError):
            spool.read(written)
    path.write_bytes(whole)
    assert same(spool.read(written), chunk())


def test_a_byte_too_many(spool, directory):
    written = spool.write(1, chunk())
    path = directory / "0000000000000001.chunk"
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(SpoolError, match="torn: 8 bytes of entries where 7 were written"):
        spool.read(written)
    assert [name for name, _ in again(spool).aside] == [path.name]


def test_another_chunk_in_its_place(spool, directory):
    written = spool.write(1, chunk())
    (directory / "0000000000000001.chunk").write_bytes(file_of(chunk(count=3)))
    with pytest.raises(SpoolError, match="another chunk"):
        spool.read(written)


def test_a_later_version_is_left_for_a_later_program(directory):
    directory.mkdir()
    whole = bytearray(file_of(chunk()))
    whole[len(spools.MAGIC)] = 2
    path = directory / "0000000000000003.chunk"
    path.write_bytes(whole)
    spool = Spool(str(directory), fsync=False)
    assert spool.open().aside == [(path.name, "of version 2, and this program reads 1")]
    assert path.with_name(path.name + ".bad").read_bytes() == whole
    spool.close()


@pytest.mark.parametrize("raw", [msgspec.msgpack.encode({"id": 1}), b"\x81\xa2id\xa2\xff\xff"])
def test_a_header_that_says_something_else(directory, raw):
    directory.mkdir()
    head = spools._PREFIX.pack(spools.MAGIC, spools.VERSION, len(raw), spools.zlib.crc32(raw))
    (directory / "0000000000000001.chunk").write_bytes(head + raw)
    spool = Spool(str(directory), fsync=False)
    ((_, reason),) = spool.open().aside
    assert reason.startswith("foreign: its header is not one of this program")
    spool.close()


def test_files_of_others_are_left_alone(spool, directory):
    for name in ("README", "1.chunk", "0000000000000001.chunks", "x0000000000000001.chunk"):
        (directory / name).write_text("mine")
    (directory / "lost+found").mkdir()
    assert again(spool) == (
        [],
        1,
        [],
        ["0000000000000001.chunks", "1.chunk", "README", "x0000000000000001.chunk"],
    )
    assert (directory / "README").read_text() == "mine"


def test_a_directory_in_the_place_of_a_chunk_is_set_aside(spool, directory):
    (directory / "0000000000000001.chunk").mkdir()
    found = again(spool)
    assert [name for name, _ in found.aside] == ["0000000000000001.chunk"]
    assert names(directory) == ["0000000000000001.chunk.bad"]


def test_what_cannot_even_be_set_aside_stops_nothing(spool, directory, monkeypatch):
    (directory / "0000000000000001.chunk").write_bytes(b"junk")

    def fail(_number):
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(spool, "set_aside", fail)
    assert [name for name, _ in again(spool).aside] == ["0000000000000001.chunk"]


def test_what_was_not_finished_is_removed(spool, directory):
    (directory / "0000000000000005.chunk.tmp").write_bytes(file_of(chunk()))
    assert again(spool) == ([], 6, [], [])
    assert names(directory) == []


def test_chunks_are_found_in_order(spool):
    written = [spool.write(number, chunk(str(number))) for number in (30, 4, 200, 1)]
    found = again(spool)
    assert found.chunks == sorted(written, key=lambda stored: stored.number)
    assert [spool.read(stored).id for stored in found.chunks] == ["1", "4", "30", "200"]
    assert found.next_number == 201


# The directory


@pytest.mark.usefixtures("quick")
def test_two_processes_do_not_share_a_directory(spool, directory):
    other = Spool(str(directory), fsync=False)
    with pytest.raises(SettingsError) as raised:
        other.open()
    assert str(raised.value) == (
        f"spool.dir: {directory} is in use by another process (pid {os.getpid()}); give each a directory of its own"
    )
    spool.close()
    other.open()
    other.close()


def test_a_process_that_is_just_ending_is_waited_for(spool, directory, monkeypatch):
    other = Spool(str(directory), fsync=False)
    monkeypatch.setattr(spools.time, "sleep", lambda _: spool.close())
    assert other.open() == ([], 1, [], [])
    other.close()


@pytest.mark.parametrize("make", ["file", "below a file"])
def test_what_is_no_directory(tmp_path, make):
    file = tmp_path / "file"
    file.write_text("")
    where = file if make == "file" else file / "spool"
    with pytest.raises(SettingsError, match=r"spool\.dir: cannot use .*file.*; give a directory"):
        Spool(str(where), fsync=False).open()
    with pytest.raises(SettingsError, match=r"spool\.dir: cannot use "):
        inspect(str(where))


def test_a_file_that_may_not_be_read_is_neither_sent_nor_set_aside(spool, directory, monkeypatch):
    """Root may read anything, and tests may run as root: the refusal is played."""
    spool.write(1, chunk())

    def refuse(path, _number):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(spools, "read_stored", refuse)
    with pytest.raises(SettingsError, match=r"0000000000000001.chunk: Permission denied"):
        again(spool)
    assert names(directory) == ["0000000000000001.chunk"]


def test_a_full_disk_is_no_reason_not_to_start(spool, monkeypatch):
    written = spool.write(1, chunk())

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spools.tempfile, "TemporaryFile", full)
    monkeypatch.setattr(spools.os, "pwrite", full)
    assert again(spool).chunks == [written]


def test_a_read_only_disk_is(spool, monkeypatch):
    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(spools.tempfile, "TemporaryFile", read_only)
    with pytest.raises(SettingsError, match="Read-only file system"):
        again(spool)


# Looking from outside


def test_looking_changes_nothing(spool, directory):
    for number in (1, 2):
        spool.write(number, chunk(entries=b"x" * BLOCK))
    (directory / "0000000000000003.chunk").write_bytes(b"junk")
    (directory / "0000000000000004.chunk.bad").write_bytes(b"junk")
    (directory / "0000000000000005.chunk.tmp").write_bytes(b"junk")
    (directory / "README").write_bytes(b"mine")
    before = names(directory)
    assert inspect(str(directory)) == Inside(chunks=2, records=4, size=4 * BLOCK, bad=2)
    assert names(directory) == before


def test_a_chunk_that_is_delivered_while_one_looks(spool, directory, monkeypatch):
    spool.write(1, chunk())
    read_stored = spools.read_stored

    def late(path, number):
        path.unlink()
        return read_stored(path, number)

    monkeypatch.setattr(spools, "read_stored", late)
    assert inspect(str(directory)) == Inside(0, 0, 0, 0)


def test_a_directory_that_is_yet_to_be_made(tmp_path):
    assert inspect(str(tmp_path / "a" / "b")) is None
    assert list(tmp_path.iterdir()) == []
