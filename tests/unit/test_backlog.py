"""What goes to disk when, what comes back, and that nothing overtakes, is lost or comes twice."""

from __future__ import annotations

import pytest

from nats_fluent.backlog import BLOCK, HEAD, RETRY, Backlog, Load, Remove, Stored, Write, footprint, reserve
from nats_fluent.delivery import CHUNK_BYTES, Chunk
from nats_fluent.sections import SpoolSettings
from nats_fluent.settings import Settings
from nats_fluent.spooler import reserved

ROOM = 1 << 30


def chunk(name, size=100):
    return Chunk(id=str(name), tag="t", entries=b"x" * size, count=1)


def on_disk(number, size=100):
    return Stored(number, 1, 0, size, footprint(size + HEAD), written=1e9 + number)


def _of_chunks(size):
    """Bytes of memory for so many bytes in chunks of a hundred."""
    return size + size // 100 * CHUNK_BYTES


class Line:
    """A backlog of chunks of 100 bytes, and what was sent."""

    def __init__(self, *, always=False, memory=250, reserve=250, window=1, max_bytes=ROOM, found=()):
        self.backlog = Backlog(
            always=always,
            memory=_of_chunks(memory),
            reserve=_of_chunks(reserve),
            window=window,
            max_bytes=max_bytes,
            found=found,
            first=found[-1].number + 1 if found else 1,
        )
        self.now = 1000.0
        self.sink = []
        self.made = []

    def submit(self, *chunks):
        for each in chunks:
            self.backlog.submit(each)
            self.send()
        return self

    def send(self):
        self.sink += self.backlog.ready(self.now)

    def next(self):
        return self.backlog.next(self.now)

    def sent(self):
        return [each.id for each in self.sink]

    def acknowledge(self, count=1):
        for _ in range(count):
            self.backlog.settled(self.sink.pop(0))
            self.send()

    def step(self):
        """Do the next step, with success; return what it was, in a word."""
        step = self.next()
        match step:
            case Write(number, each):
                if self.backlog.wrote(on_disk(number, len(each.entries))):
                    self.sink.append(each)
                word = f"write {each.id}"
            case Load(stored):
                each = chunk(stored.number)
                if self.backlog.loaded(each):
                    self.sink.append(each)
                word = f"load {stored.number}"
            case Remove(files):
                self.backlog.removed()
                word = "remove " + ",".join(str(stored.number) for stored in files)
            case _:
                word = ""
        self.send()
        return word

    def steps(self):
        return list(iter(self.step, ""))


# overflow


def test_since_when_the_oldest_file_is_there():
    line = Line(window=100, reserve=ROOM, found=[on_disk(2), on_disk(3)])
    assert line.backlog.oldest == 1e9 + 2
    line.steps()
    assert line.sent() == ["2", "3"]
    assert line.backlog.oldest == 1e9 + 2
    line.acknowledge()
    assert line.backlog.oldest == 1e9 + 3
    line.acknowledge()
    assert line.backlog.oldest is None
    assert line.submit(chunk(4)).backlog.oldest is None  # in memory only


def test_what_the_sink_has_room_for_does_not_touch_the_disk():
    line = Line().submit(chunk(1), chunk(2))
    assert line.sent() == ["1", "2"]
    line.acknowledge(2)
    assert line.steps() == []
    assert line.backlog.idle


def test_what_it_has_no_room_for_goes_to_disk_and_comes_back_in_order():
    line = Line().submit(*(chunk(n) for n in range(1, 7)))
    assert line.sent() == ["1", "2", "3"]  # 200 bytes leave room for one more
    assert line.steps() == ["write 4", "write 5", "write 6"]
    assert line.backlog.chunks_on_disk == 3
    line.acknowledge(2)
    assert (line.steps(), line.sent()) == (["load 4"], ["3", "4"])
    line.submit(chunk(7))
    assert (line.steps(), line.sent()) == (["write 7"], ["3", "4"])
    line.acknowledge(2)
    assert line.steps() == ["remove 4", "load 5", "load 6"]
    line.acknowledge(2)
    assert (line.steps(), line.sent()) == (["remove 5,6", "load 7"], ["7"])
    line.submit(chunk(8))  # nothing is on disk only
    assert line.sent() == ["7", "8"]
    line.acknowledge(2)
    assert line.steps() == ["remove 7"]
    assert line.backlog.disk_bytes == 0


def test_what_waits_when_the_disk_is_read_to_the_end_is_not_written():
    line = Line(found=[on_disk(1)]).submit(chunk(2), chunk(3))
    assert line.sent() == []
    assert line.steps()[0] == "load 1"
    assert line.sent() == ["1", "2", "3"]


def test_what_is_being_written_is_not_overtaken():
    line = Line(found=[on_disk(1)])
    assert line.step() == "load 1"
    line.submit(chunk(2), chunk(3), chunk(4))
    writing = line.next()
    assert (writing.number, line.next()) == (4, None)
    line.submit(chunk(5))
    line.acknowledge(3)
    assert line.sent() == []
    assert line.backlog.wrote(on_disk(4))
    line.sink.append(writing.chunk)
    line.send()
    assert line.sent() == ["4", "5"]
    assert line.steps() == ["remove 1"]  # 4 has its file until it is acknowledged
    line.acknowledge(2)
    assert line.steps() == ["remove 4"]


def test_reading_and_writing_take_turns():
    line = Line(window=100, memory=10, found=[on_disk(n) for n in (1, 2, 3)], reserve=ROOM)
    line.submit(chunk(4), chunk(5))
    assert line.steps() == ["load 1", "write 4", "load 2", "write 5", "load 3", "load 4", "load 5"]


def test_a_chunk_that_is_larger_than_the_reserve_is_loaded_alone():
    line = Line(window=100, reserve=50, found=[on_disk(1), on_disk(2)])
    assert line.steps() == ["load 1"]
    line.acknowledge()
    assert line.steps() == ["remove 1", "load 2"]


def test_how_much_is_loaded_ahead():
    assert Line(window=2, reserve=ROOM, found=[on_disk(n) for n in range(1, 9)]).steps() == [
        "load 1",
        "load 2",
        "load 3",
        "load 4",
    ]
    assert reserve(256 << 20, 1_000_000, 8) == 16_000_000
    assert reserve(1_000_000, 1_000_000, 8) == 250_000
    assert reserved(Settings()) == 0
    assert reserved(Settings(spool=SpoolSettings(mode="always", dir="d"))) == 16_000_000


# always


def test_always_writes_before_it_sends_and_does_not_read_again():
    line = Line(always=True).submit(chunk(1), chunk(2))
    assert line.sent() == []
    assert (line.step(), line.sent()) == ("write 1", ["1"])
    assert (line.step(), line.sent()) == ("write 2", ["1", "2"])
    line.acknowledge(2)
    assert line.steps() == ["remove 1,2"]


def test_always_keeps_in_memory_what_the_sink_has_room_for():
    line = Line(always=True).submit(*(chunk(n) for n in range(1, 6)))
    line.steps()
    assert (line.sent(), line.backlog.chunks_on_disk) == (["1", "2", "3"], 2)


# A disk that takes no more


SMALL = 3 * BLOCK


def test_a_full_disk_leaves_it_to_memory_until_there_is_room():
    line = Line(max_bytes=SMALL).submit(*(chunk(n) for n in range(1, 9)))
    assert line.steps() == ["write 4", "write 5", "write 6"]
    assert line.backlog.blocked(line.now)
    assert not line.backlog.roomy_disk
    line.acknowledge(3)
    assert line.steps() == ["load 4", "load 5"]
    line.acknowledge(1)
    assert line.steps() == ["remove 4", "write 7", "load 6"]
    assert line.sent() == ["5", "6"]
    assert line.backlog.disk_bytes == SMALL
    while line.sink:
        line.acknowledge()
        line.steps()
    assert line.backlog.roomy_disk
    assert line.backlog.disk_bytes == 0


def test_a_write_that_fails_is_tried_again_and_nothing_overtakes_it():
    line = Line(memory=100, reserve=100).submit(chunk(1), chunk(2), chunk(3))
    assert line.next().chunk.id == "2"
    line.backlog.not_written(line.now)
    assert line.backlog.blocked(line.now)
    assert (line.next(), line.backlog.due(line.now)) == (None, line.now + RETRY)
    line.now += RETRY
    assert line.backlog.due(line.now) is None
    assert line.steps() == ["write 2", "write 3"]
    assert line.sent() == ["1"]


def test_overflow_sends_from_memory_what_it_cannot_write():
    line = Line(memory=100).submit(chunk(1), chunk(2), chunk(3))
    line.next()
    line.backlog.not_written(line.now)
    line.acknowledge()
    assert line.sent() == ["2"]
    line.acknowledge()
    assert line.sent() == ["3"]


def test_room_on_disk_makes_it_try_at_once():
    line = Line(always=True).submit(chunk(1))
    assert line.step() == "write 1"
    line.submit(chunk(2))
    line.next()
    line.backlog.not_written(line.now)
    assert line.next() is None
    line.acknowledge()
    assert line.steps() == ["remove 1", "write 2"]


def test_always_waits_for_room_that_will_come():
    line = Line(always=True, max_bytes=BLOCK).submit(chunk(1), chunk(2), chunk(3))
    assert (line.steps(), line.sent()) == (["write 1"], ["1"])
    line.acknowledge()
    assert (line.steps(), line.sent()) == (["remove 1", "write 2"], ["2"])


def test_always_sends_unwritten_what_no_room_will_come_for():
    line = Line(always=True, max_bytes=BLOCK).submit(chunk(1), chunk(2, size=2 * BLOCK), chunk(3))
    assert line.steps() == ["write 1"]
    line.acknowledge()
    assert line.sent() == ["2"]
    assert line.steps() == ["remove 1", "write 3"]
    assert line.sent() == ["2"]  # it has all the room of the sink
    line.acknowledge()
    assert line.steps() == ["load 3"]


def test_always_sends_unwritten_while_the_disk_is_broken_and_writes_when_it_is_whole():
    line = Line(always=True).submit(chunk(1))
    line.next()
    line.backlog.not_written(line.now)
    line.send()
    line.submit(chunk(2))
    assert line.sent() == ["1", "2"]
    line.now += RETRY
    line.submit(chunk(3))
    assert line.sent() == ["1", "2"]
    assert (line.step(), line.sent()) == ("write 3", ["1", "2", "3"])


def test_what_cannot_be_removed_still_takes_room():
    line = Line(always=True, max_bytes=BLOCK).submit(chunk(1))
    line.step()
    line.acknowledge()
    assert line.backlog.disk_bytes == 0
    line.backlog.removed(line.next().files)
    assert line.backlog.disk_bytes == BLOCK
    assert line.submit(chunk(2)).sent() == ["2"]


def test_what_cannot_be_read_just_now_is_tried_again():
    line = Line(found=[on_disk(1)])
    line.next()
    line.backlog.not_loaded(line.now)
    assert (line.next(), line.backlog.due(line.now)) == (None, line.now + RETRY)
    line.now += RETRY
    assert line.steps() == ["load 1"]
    assert line.backlog.due(0.0) is None


def test_what_can_never_be_read_is_left_out():
    line = Line(found=[on_disk(1), on_disk(2)])
    line.next()
    line.backlog.unreadable()
    assert line.backlog.disk_bytes == BLOCK
    assert line.steps() == ["load 2"]


def test_a_step_is_reported_as_what_it_was():
    line = Line(found=[on_disk(1)])
    line.next()
    with pytest.raises(AssertionError):
        line.backlog.removed()


# The end


def test_at_the_end_what_is_on_disk_stays_there():
    line = Line(found=[on_disk(1), on_disk(2), on_disk(3)])
    line.step()
    line.backlog.stop_loading()
    line.submit(chunk(4))
    assert line.steps() == ["write 4"]
    line.acknowledge()
    assert line.steps() == ["remove 1"]
    assert (line.backlog.idle, line.backlog.chunks_on_disk) == (True, 3)


def test_at_the_end_a_full_disk_is_read_on():
    line = Line(found=[on_disk(1), on_disk(2)], max_bytes=2 * BLOCK, window=1)
    line.backlog.stop_loading()
    line.submit(chunk(3))
    assert line.steps() == ["load 1", "load 2"]
    assert line.sent() == ["1", "2", "3"]


def test_what_is_stowed():
    """The sink has one with a file and, after it, one without; one waits."""
    line = Line(always=True, max_bytes=BLOCK, memory=2 * BLOCK).submit(chunk(1))
    line.step()
    line.backlog._max_bytes = ROOM
    line.submit(chunk(2), chunk(3))
    line.next()
    line.backlog.not_written(line.now)
    line.backlog._sent_stored = 0
    line.send()
    assert line.sent() == ["1", "2", "3"]
    assert [each.id for each in line.backlog.stow()] == ["1"]
    line.submit(chunk(4))
    assert line.steps() == ["write 2", "write 3", "write 4"]
    assert (line.backlog.idle, line.backlog.chunks_on_disk, line.backlog.given_up) == (True, 4, [])


def test_what_cannot_be_stowed_is_given_up():
    line = Line(max_bytes=2 * BLOCK, memory=ROOM).submit(
        chunk(1), chunk(2, size=2 * BLOCK), chunk(3), chunk(4)
    )
    assert line.backlog.stow() == []
    assert line.next().number == 1
    line.backlog.not_written(line.now)
    assert line.steps() == ["write 3", "write 4"]
    assert [each.id for each in line.backlog.given_up] == ["1", "2"]
    assert line.backlog.idle


@pytest.mark.parametrize("readable", [True, False])
def test_what_is_being_read_when_the_end_comes(readable):
    line = Line(window=100, found=[on_disk(1), on_disk(2), on_disk(3)])
    line.step()
    assert line.next().stored.number == 2
    assert [each.id for each in line.backlog.stow()] == ["1"]
    if readable:
        assert not line.backlog.loaded(chunk(2))
    else:
        line.backlog.unreadable()
    assert line.steps() == []
    assert [stored.number for stored in line.backlog._on_disk] == ([1, 2, 3] if readable else [1, 3])
