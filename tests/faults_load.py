"""What a run with a fault publishes, and what of it came out: numbered publications, at a steady rate."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
import time
from typing import NamedTuple

from building import publication
from commands import pub
from programs import PATIENCE, wait_until
from taking import hpub

SUBJECT = "faults"
KEYS = 20
RATE = 2000
"""Publications a second."""
BATCH = 20
"""Publications that are sent, and confirmed, as one."""
TEXT = "x" * 300


def payload(number):
    """The publication of that number; all of one `key` are to stay in order.

    It has no time of its own: its record has that of receipt.
    """
    content = {"ID": f"key-{number % KEYS}", "number": number, "text": TEXT}
    return publication(content, SUBJECT, time=None)


class Load:
    """Publishes in a thread, until it is stopped; a server that goes away is waited for.

    Each batch is confirmed: by the answer to a PING, which says that the server has it, or, for a stream, by the answer
    to each publication, which says that it is stored. What a stream did not confirm is sent again, with the id by which
    the server knows what it has. What core NATS did not confirm is not: such a number counts as published if it
    arrives.

    Attributes:
        confirmed: the numbers that the server had, or stored.
        unconfirmed: those of which nobody knows.
    """

    def __init__(self, port, *, stream=False, rate=RATE):
        self.port = port
        self.confirmed = set()
        self.unconfirmed = set()
        self._stream = stream
        self._rate = rate
        self._next = 0
        self._confirmed = 0
        self._hurry = 0
        self._stopping = threading.Event()
        self._between = threading.Lock()
        self._error = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()

    def stop(self):
        """Return when the last batch is confirmed."""
        self.__exit__()
        if self._error is not None:
            raise self._error

    def wait_confirmed(self, more=BATCH):
        """Wait until so many more publications are confirmed, of batches that begin after this."""
        enough = self._next + more
        wait_until(lambda: self._confirmed >= enough or self._error, what=f"{more} are published")

    def held(self):
        """A context in which nothing is published, and all that was is confirmed."""
        return self._between

    @contextlib.contextmanager
    def at(self, rate, *, first=0):
        """Publish so many a second in the block, the first of them without a pause."""
        before, self._rate, self._hurry = self._rate, rate, self._next + first
        try:
            yield
        finally:
            self._rate, self._hurry = before, 0

    def as_fast_as_it_goes(self):
        """Publish without a pause in the block."""
        return self.at(None)

    def _run(self):
        connection = None
        try:
            due = time.monotonic()
            while not self._stopping.is_set():
                with self._between:
                    numbers = range(self._next, self._next + BATCH)
                    self._next = numbers.stop
                    connection = self._publish(connection, numbers)
                if (rate := self._rate) and self._next >= self._hurry:
                    due = max(due + BATCH / rate, time.monotonic() - 0.1)
                    self._stopping.wait(max(0, due - time.monotonic()))
        except Exception as error:  # noqa: BLE001 - handed to the test
            self._error = error
        finally:
            if connection is not None:
                connection.close()

    def _publish(self, connection, numbers):
        """Publish, and return the connection to go on with."""
        while True:
            try:
                if connection is None:
                    connection = Connection(self.port)
                connection.publish(numbers, stream=self._stream)
            except OSError:
                sent, connection = connection is not None, None
                if sent and not self._stream:
                    self.unconfirmed.update(numbers)
                    return None
                if self._stopping.wait(0.05):  # the server is away
                    self.unconfirmed.update(numbers)
                    return None
            else:
                self.confirmed.update(numbers)
                self._confirmed = numbers.stop
                return connection


class Connection:
    """A connection to NATS, by hand, so that what is confirmed is known exactly."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._lines = self._socket.makefile("rb")
        self._inbox = f"_INBOX.{secrets.token_hex(8)}"
        try:
            self._line()
            self._socket.sendall(b'CONNECT {"verbose":false,"headers":true}\r\n')
            self._socket.sendall(f"SUB {self._inbox} 1\r\n".encode())
        except OSError:
            self.close()
            raise

    def publish(self, numbers, *, stream):
        """Return once all is confirmed.

        Raises:
            OSError: the connection ended before.
        """
        try:
            if stream:
                self._store(numbers)
            else:
                self._socket.sendall(
                    b"".join(pub(SUBJECT, payload(number)) for number in numbers) + b"PING\r\n"
                )
                while self._line() != b"PONG\r\n":
                    pass
        except OSError:
            self.close()
            raise

    def ask(self, subject, body):
        """Return the answer of NATS itself to a request."""
        data = json.dumps(body).encode()
        self._socket.sendall(pub(f"{subject} {self._inbox}", data))
        return json.loads(self._message())

    def close(self):
        self._lines.close()
        self._socket.close()

    def _store(self, numbers):
        self._socket.sendall(
            b"".join(
                hpub(
                    f"{SUBJECT} {self._inbox}",
                    b"NATS/1.0\r\nNats-Msg-Id: %d\r\n\r\n" % number,
                    payload(number),
                )
                for number in numbers
            )
        )
        for _ in numbers:
            answer = self._message()
            if "error" in json.loads(answer):
                raise ConnectionResetError(f"not stored: {answer}")

    def _message(self):
        while not (line := self._line()).startswith((b"MSG ", b"HMSG ")):
            pass
        answer = self._lines.read(int(line.split()[-1]) + 2)
        if line.startswith(b"HMSG "):
            raise ConnectionResetError(f"nobody answers: {answer}")  # the stream is not there yet
        return answer

    def _line(self):
        line = self._lines.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the server closed the connection")
        if line == b"PING\r\n":
            self._socket.sendall(b"PONG\r\n")
        assert not line.startswith(b"-ERR"), line
        return line


def ask(port, request, body):
    """What JetStream answers to a request, such as ``STREAM.PURGE.name``."""
    connection = Connection(port)
    try:
        return connection.ask(f"$JS.API.{request}", body)
    finally:
        connection.close()


class Came(NamedTuple):
    """One record, in the order in which the receiver got them."""

    number: int
    id: str
    timestamp: str

    @property
    def run(self):
        """The process that made it."""
        return self.id.partition("-")[0]


def came(record):
    return Came(record["content"]["entity"]["number"], record["id"], record["timestamp"])


class Count(NamedTuple):
    """What became of what was published.

    Attributes:
        published: how many, by the server's word or because they came.
        lost: the numbers that never came, in order.
        duplicated: records that came though their number had.
        new_ids: those of them whose id had not: a reader cannot tell that they came before.
        reordered: numbers whose first arrival was behind that of a later one of the same key.
    """

    published: int
    lost: tuple[int, ...]
    duplicated: int
    new_ids: int
    reordered: int


def count(load, arrivals):
    """Count what came against what was published."""
    seen, ids, latest = set(), set(), dict.fromkeys(range(KEYS), -1)
    duplicated = new_ids = reordered = 0
    for number, record_id, _ in arrivals:
        if number in seen:
            duplicated += 1
            new_ids += record_id not in ids
        else:
            seen.add(number)
            key = number % KEYS
            reordered += number < latest[key]
            latest[key] = max(latest[key], number)
        ids.add(record_id)
    stray = seen - load.confirmed - load.unconfirmed
    assert not stray, f"never published: {sorted(stray)[:10]}"
    lost = tuple(sorted(load.confirmed - seen))
    return Count(len(load.confirmed | seen), lost, duplicated, new_ids, reordered)
