"""What another number of workers left is taken over: each chunk once, and none of a run that goes on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from nats_fluent import spool as spool_module
from nats_fluent.delivery import Chunk
from nats_fluent.errors import SettingsError
from nats_fluent.heirs import inherit
from nats_fluent.sections import BatchSettings, NatsSettings, SpoolSettings
from nats_fluent.settings import Settings
from nats_fluent.shares import orphans, share, spools
from nats_fluent.spool import Spool


def leave(directory, *names):
    """Write chunks as a process that has ended."""
    spool = Spool(str(directory), fsync=False)
    found = spool.open()
    for number, name in enumerate(names, start=found.next_number):
        spool.write(number, Chunk(id=name, tag="t", entries=b"entries", count=2, undecodable=0))
    spool.close()


def take(base, workers, number=1, *, fsync=False):
    """Open the spool of a worker as it does, close it, and return (ids in order, what it found)."""
    settings = Settings(workers=workers, spool=SpoolSettings(mode="always", dir=str(base)))
    own = share(settings, number) if workers > 1 else settings
    spool = Spool(own.spool.dir, fsync=fsync)
    try:
        found, left = inherit(spool, spool.open(), orphans(Path(own.spool.dir), own.workers), fsync=fsync)
        assert found.next_number > max((stored.number for stored in found.chunks), default=0)
        return [spool.read(stored).id for stored in found.chunks], found, left
    finally:
        spool.close()


@pytest.mark.parametrize("fsync", [True, False])
def test_fewer_workers_have_what_more_left(tmp_path, fsync):
    for number in (1, 2, 3, 10):
        leave(tmp_path / f"worker-{number}", f"{number}a", f"{number}b")
    assert take(tmp_path, 2, 2)[0] == ["2a", "2b"]
    ids, _, left = take(tmp_path, 2, fsync=fsync)
    assert ids == ["1a", "1b", "3a", "3b", "10a", "10b"]
    assert left == {str(tmp_path / f"worker-{number}"): (2, 4) for number in (3, 10)}
    assert take(tmp_path, 2)[0] == ids
    assert take(tmp_path, 2)[2] == {}


def test_one_alone_has_what_all_left_and_the_first_of_several_what_one_alone_left(tmp_path):
    leave(tmp_path, "alone")
    leave(tmp_path / "worker-1", "first")
    leave(tmp_path / "worker-2", "second")
    assert take(tmp_path, 1)[0] == ["alone", "first", "second"]
    assert take(tmp_path, 3)[0] == ["alone", "first", "second"]
    assert take(tmp_path, 3, 2)[0] == []


def test_where_nothing_was_left_nothing_is_made(tmp_path):
    assert take(tmp_path / "new", 1)[0] == []
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lock"]


@pytest.mark.parametrize("name", ["worker-x", "worker-", "worker-²", "worker-0", "worker-3.bak"])
def test_what_is_no_workers_directory_is_left_alone(tmp_path, name):
    leave(tmp_path / name, "a")
    assert take(tmp_path, 1)[0] == []


def test_a_file_of_that_name_is_no_directory(tmp_path):
    (tmp_path / "worker-3").write_text("")
    assert take(tmp_path, 1)[0] == []


def test_a_run_that_has_not_ended_keeps_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "LOCK_WITHIN", 0.0)
    leave(tmp_path / "worker-3", "a")
    other = Spool(str(tmp_path / "worker-3"), fsync=False)
    other.open()
    with pytest.raises(SettingsError, match="worker-3 is in use by another process"):
        take(tmp_path, 2)
    other.close()
    assert take(tmp_path, 2)[0] == ["a"]


def test_when_it_cannot_all_be_moved_the_next_start_has_the_rest(tmp_path, monkeypatch):
    leave(tmp_path / "worker-3", "a", "b")
    rename, moved = Path.rename, []

    def once(self, target):
        if moved:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        moved.append(target)
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", once)
        with pytest.raises(SettingsError, match=r"cannot take over .*worker-3 \(Invalid cross-device link\)"):
            take(tmp_path, 2)
    assert take(tmp_path, 2)[0] == ["a", "b"]


def test_what_is_damaged_there_is_set_aside_there(tmp_path):
    leave(tmp_path / "worker-3", "a", "b")
    (tmp_path / "worker-3" / "0000000000000001.chunk").write_bytes(b"NF")
    ids, found, _ = take(tmp_path, 2)
    assert ids == ["b"]
    assert [name for name, _ in found.aside] == ["../worker-3/0000000000000001.chunk"]
    assert (tmp_path / "worker-3" / "0000000000000001.chunk.bad").exists()


def test_a_share_of_the_settings():
    whole = Settings(
        workers=3,
        nats=NatsSettings(name="n"),
        batch=BatchSettings(buffer_bytes=1000),
        spool=SpoolSettings(mode="always", dir="/s", max_bytes=2),
    )
    own = share(whole, 2)
    assert (own.nats.name, own.batch.buffer_bytes, own.http.listen) == ("n-2", 333, "off")
    assert (own.spool.dir, own.spool.max_bytes, own.workers) == ("/s/worker-2", 1, 3)
    assert share(Settings(workers=2), 1).spool.dir == ""


def test_the_spools_of_all_processes_and_those_that_were_left(tmp_path):
    def names(workers):
        settings = Settings(workers=workers, spool=SpoolSettings(mode="always", dir=str(tmp_path)))
        return [os.path.relpath(each.dir, tmp_path) for each in spools(settings)]

    assert names(1) == ["."]
    for number in (1, 3):
        (tmp_path / f"worker-{number}").mkdir()
    assert names(1) == [".", "worker-1", "worker-3"]
    assert names(2) == ["worker-1", "worker-2", ".", "worker-3"]
