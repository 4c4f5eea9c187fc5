"""Messages of a stream, and of core NATS, from the read to the acknowledgement and back, in any order of events.

The parts are the real ones but for the socket at each end: `JetStreamSource` without a connection, the pipeline with
its inbox, and chunks that the test acknowledges, puts on disk and loads as the sink and the spooler do. A model beside
them says what must be true after each step.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from itertools import count

import msgpack
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from piping import NEVER

from nats_fluent import inbox as inbox_module
from nats_fluent import pipeline as pipeline_module
from nats_fluent.delivery import Chunk, Delivery, Outcome
from nats_fluent.forward.codec import read_entries
from nats_fluent.pipeline import DELIVERY_BYTES, Pipeline
from nats_fluent.record import FILTERED, Record, Transformed
from nats_fluent.sections import BatchSettings, JetStreamSettings, NatsSettings
from nats_fluent.source.jetstream import JetStreamSource, _Inbox
from nats_fluent.topics import Topic

STREAM = "events"
TIME = 10**18


class Made:
    """Makes of a payload what it says: `kind size number`."""

    def record(self, delivery, now_ns):
        kind, size, number = delivery.payload.split(b" ")[:3]
        first, *more = (self.one(kind, int(size), int(number), part, now_ns) for part in range(parts(kind)))
        if kind == b"filtered":
            return FILTERED
        ack_asked = kind in (b"asks", b"both")
        transformed = Transformed(tuple(more)) if more else None
        error = "it is junk" if kind == b"junk" else ""
        return Record(first.tag, TIME, first.packed, ack_asked, error, transformed=transformed)

    def one(self, kind, size, number, part, now_ns):
        fields = {"number": number, "part": part, "much": "x" * size}
        return Record("junk" if kind == b"junk" else f"t{part % 2}", now_ns, msgpack.packb(fields))


def parts(kind):
    return 3 if kind in (b"several", b"both") else 1


class Way(RuleBasedStateMachine):
    """One way from NATS to a log shipper. A stream's messages come again until they are acknowledged."""

    @initialize(
        stream=st.booleans(),
        answer_late=st.booleans(),
        max_records=st.integers(1, 4),
        buffer_bytes=st.sampled_from([3_000, 20_000]),
        in_time=st.booleans(),
    )
    def begin(self, stream, answer_late, max_records, buffer_bytes, in_time):
        self.in_time = in_time
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(inbox_module, "LOOSE", 3)
        self.patch.setattr(pipeline_module, "SLICE", 3)
        self.loop = asyncio.new_event_loop()
        self.stream = stream
        self.numbers = count(1)
        self.dropped = []
        self.answered = []
        self.sink = []  # chunks, as the sink has them: in memory
        self.disk = []  # and as the spooler has them, behind those
        self.kinds = {}  # by number, of each publication
        self.given_up = set()  # numbers of what was dropped
        self.records = Counter()  # by (number, part), of what the log shipper has
        self.made = []  # numbers, in the order in which their first records went to the sink
        self.unacknowledged = {}  # by number, what the server has delivered and heard nothing of: how often
        self.to_come = []  # numbers that the server has still to deliver, or to deliver again
        self.acknowledged = Counter()
        self.chunk_numbers = count(1)
        self.run(self.open(answer_late, max_records, buffer_bytes))

    async def open(self, answer_late, max_records, buffer_bytes):
        self.pipeline = Pipeline(
            BatchSettings(max_records=max_records, max_bytes=2_000, linger=NEVER, buffer_bytes=buffer_bytes),
            Made(),
            new_chunk_id=lambda: str(next(self.chunk_numbers)),
            dropped=self.dropped.append,
            answer_late=answer_late,
        )
        self.account = self.pipeline.account
        self.source = JetStreamSource(
            NatsSettings(),
            (Topic("a", "a"), Topic("b", "b")),
            jetstream=JetStreamSettings(stream=STREAM),
            receive=self.pipeline.receive,
            room=lambda: self.pipeline.room,
        )
        self.source._connection.fail = self.failed
        self.task = asyncio.create_task(self.pipeline.run(submit=self.submit, acknowledge=self.answer))

    def failed(self, error):
        raise AssertionError("the source ended") from error

    def submit(self, chunk):
        self.sink.append(chunk)
        if chunk.tag == "t0":
            read = (record for _, record in read_entries(chunk.entries))
            self.made += (record["number"] for record in read if record["part"] == 0)

    async def answer(self, reply):
        self.answered.append(reply)

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    # What NATS does

    @rule(
        messages=st.lists(
            st.tuples(
                st.sampled_from([b"good", b"good", b"several", b"junk", b"filtered", b"asks", b"both"]),
                st.sampled_from("ab"),
                st.sampled_from([0, 10, 10, 900, 5_000]),
                st.booleans(),
            ),
            min_size=1,
            max_size=7,
        )
    )
    def publish(self, messages):
        made = []
        for kind, subject, size, headers in messages:
            number = next(self.numbers)
            padding = b"p" * size
            payload = b"%s %d %d %s" % (kind, size, number, padding)
            self.kinds[number] = kind, subject, payload, b"NATS/1.0\r\nA: b\r\n\r\n" if headers else None
            made.append(number)
        if self.stream:
            self.to_come += made
        else:
            before = self.account.dropped
            for number in made:
                self.pipeline.receive([self.core(number)])
                if self.account.dropped > before:
                    before = self.account.dropped
                    self.given_up.add(number)

    def core(self, number):
        _, subject, payload, headers = self.kinds[number]
        return Delivery(subject, subject, payload, f"reply.{number}", headers)

    @precondition(lambda self: self.to_come)
    @rule(most=st.integers(1, 7))
    def deliver(self, most):
        """One read brings some of the messages that the server has to deliver, or to deliver again."""
        some, self.to_come = self.to_come[:most], self.to_come[most:]
        messages = []
        for number in some:
            _, subject, payload, headers = self.kinds[number]
            times = self.unacknowledged[number] = self.unacknowledged.get(number, 0) + 1
            reply = f"$JS.ACK.{STREAM}.c.{times}.{number}.{number}.{TIME + number}.0"
            messages.append((self.inbox, subject, reply, payload, headers))
        self.source._taken(messages)
        self.hear()

    inbox = _Inbox("_INBOX.x")

    @precondition(lambda self: self.unacknowledged)
    @rule(data=st.data())
    def wait_too_long(self, data):
        """The server takes a message for lost, and delivers it again."""
        number = data.draw(st.sampled_from(sorted(self.unacknowledged)))
        if number not in self.to_come:
            self.to_come.append(number)

    @rule(most=st.integers(1, 7))
    def lose_the_connection(self, most):
        """What waits to be told the server is lost, and what it has not heard of comes again."""
        self.source._outgoing.take(1 << 30)
        self.to_come = [
            *self.unacknowledged,
            *(each for each in self.to_come if each not in self.unacknowledged),
        ]
        if self.to_come:
            self.deliver(most)

    def hear(self):
        """The server hears what it is told."""
        lines = self.source._outgoing.take(1 << 30).split(b"\r\n")
        for command, said in zip(lines[::2], lines[1::2], strict=False):
            number = int(command.split()[1].split(b".")[5])
            if said in (b"+ACK", b"+TERM"):
                self.acknowledged[number] += 1
                self.unacknowledged.pop(number, None)
                self.may_be_acknowledged(number)
            else:
                assert said.startswith(b"-NAK"), said
                if number in self.unacknowledged and number not in self.to_come:
                    self.to_come.append(number)

    def may_be_acknowledged(self, number):
        kind = self.kinds[number][0]
        if kind != b"filtered":
            assert all(self.records[number, part] for part in range(parts(kind)))

    # What the program does

    @rule(turns=st.integers(1, 4))
    def work(self, turns):
        async def turn():
            for _ in range(turns):
                await asyncio.sleep(0)

        self.run(turn())
        self.hear()

    @rule()
    def linger(self):
        self.pipeline._batcher.flush()
        self.pipeline._wake()
        self.work(3)

    # What the sink and the spooler do

    @precondition(lambda self: self.sink)
    @rule(most=st.integers(1, 3), lost=st.booleans())
    def acknowledge(self, most, lost):
        for chunk in self.sink[:most]:
            for _, record in read_entries(chunk.entries):
                self.records[record["number"], record["part"]] += 1
            self.pipeline.settled(chunk, Outcome.DELIVERED)
        del self.sink[:most]
        if lost:
            self.lose_the_connection(7)
        self.hear()

    @precondition(lambda self: self.sink and not self.stream)
    @rule(always=st.booleans())
    def spool(self, always):
        """The newest that is in memory goes to disk; in mode `always`, it stays in memory, too."""
        chunk = self.sink[-1]
        if always:
            self.pipeline.stored(chunk)
        else:
            self.sink.pop()
            self.pipeline.spooled(chunk)
            self.disk.insert(0, Chunk(id=chunk.id, tag=chunk.tag, entries=chunk.entries, count=chunk.count))

    @precondition(lambda self: self.disk)
    @rule(readable=st.booleans())
    def load(self, readable):
        chunk = self.disk.pop(0)
        if readable:
            self.pipeline.loaded(chunk)
            self.sink.append(chunk)
        else:
            self.pipeline.lost(chunk.count)
            for _, record in read_entries(chunk.entries):
                self.given_up.add(record["number"])

    # What must be true

    @invariant()
    def nothing_died(self):
        assert not (hasattr(self, "task") and self.task.done())

    def waiting(self):
        """What is in the inbox, in its order."""
        box = self.pipeline._inbox
        found = list(box._loose)
        for packed in box._packed:
            if isinstance(packed, list):
                found += packed
            else:
                found += (Delivery(*fields) for fields in inbox_module._decoder.decode(packed[:]))
        return [*found, *box._last]

    @invariant()
    def the_account_is_what_is_there(self):
        if not hasattr(self, "pipeline"):
            return
        account, batcher, waiting = self.account, self.pipeline._batcher, self.waiting()
        assert self.pipeline.waiting == len(waiting)
        in_chunks = sum(chunk.count for chunk in [*self.sink, *batcher.ready])
        assert account.in_memory == len(waiting) + batcher.records + in_chunks
        assert account.spooled == sum(chunk.count for chunk in self.disk)
        assert account.delivered == self.records.total()
        assert account.dropped == len(self.dropped)

    @invariant()
    def the_budget_is_what_is_there(self):
        if not hasattr(self, "pipeline"):
            return
        pipeline = self.pipeline
        waiting = sum(charge(each) for each in self.waiting())
        opened = sum(chunk.size for chunk in pipeline._batcher._open.values())
        ready = sum(len(chunk.entries) for chunk in pipeline._batcher.ready)
        assert pipeline.held_bytes == waiting + opened + ready + sum(chunk.memory for chunk in self.sink)

    @invariant()
    def what_is_unsettled_is_here(self):
        """Each message of the stream that is held is in the pipeline, once; and no other."""
        if not hasattr(self, "pipeline"):
            return
        keys = Counter(each.key for each in self.waiting())
        several = set()
        batcher = self.pipeline._batcher
        held = [waiting for chunk in batcher._open.values() for waiting in chunk.waiting]
        held += [waiting for chunk in [*self.sink, *batcher.ready] for waiting in chunk.waiting]
        for waiting in held:
            owner = getattr(waiting.settle, "_key", None)
            if owner is not None:
                several.add(owner)
            elif self.stream:
                keys.update(waiting.keys)
        keys.update(several)
        if self.stream:
            assert keys == Counter(self.source._unsettled._held.keys())

    @invariant()
    def none_overtakes_another(self):
        """Nothing is made into a record twice. What was given back to a stream comes later, and nothing else does."""
        if hasattr(self, "pipeline"):
            assert len(self.made) == len(set(self.made))
            if not self.stream:
                assert self.made == sorted(self.made)

    def teardown(self):
        if not hasattr(self, "pipeline"):
            return
        try:
            if self.in_time:
                self.end()
        finally:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self.run(asyncio.wait_for(self.task, 10))
        if not self.in_time:
            self.give_up()
        self.close()

    def close(self):
        self.loop.close()
        self.patch.undo()

    def give_up(self):
        """The time is up: the stream has again what it did not hear of, and what else is in memory is left."""
        left = self.account.in_memory
        self.source._connection._closing = True  # there is none to be closed
        self.run(self.source.close())
        self.pipeline.returned(self.source.returned)
        assert self.account.in_memory == (0 if self.stream else left)
        received = sum(self.account.received.values())
        if self.to_come:
            self.deliver(len(self.to_come))  # it was on its way
            assert self.to_come  # the server is told to deliver it again
        assert sum(self.account.received.values()) == received

    def end(self):
        """All is delivered in the end, but for what was dropped; what is too large for memory never is."""
        for _ in range(500):
            self.linger()
            self.the_account_is_what_is_there()
            while self.disk:
                self.load(readable=True)
            while self.sink:
                self.acknowledge(3, lost=False)
            if self.to_come:
                self.deliver(1)
            elif not self.account.held:
                break
        assert (self.account.held, self.pipeline.held_bytes) == (0, 0)
        assert not self.source._unsettled._held
        assert not self.pipeline._together
        for number, (kind, _, payload, _) in self.kinds.items():
            if number in self.given_up or kind == b"filtered" or number in self.unacknowledged:
                continue
            times = {self.records[number, part] for part in range(parts(kind))}
            assert times == {1}, (number, payload)
        for number in self.unacknowledged:  # it will never fit
            assert len(self.kinds[number][2]) + DELIVERY_BYTES > self.pipeline.room


def charge(delivery):
    return len(delivery.payload) + DELIVERY_BYTES


TestWay = Way.TestCase
TestWay.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
