"""``nats-fluent tail``: what is published now, decoded, for a look.

A subscription without a queue group: each message goes to the consumers as if nobody looked. What is looked at may come
faster than it can be shown; then some is dropped and counted, and no consumer waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack
import msgspec
import uvloop
from rich.console import Console
from rich.text import Text

from nats_fluent import logs
from nats_fluent.addresses import SUBJECTS, bare_subject, overlap
from nats_fluent.delivery import Delivery
from nats_fluent.errors import SettingsError
from nats_fluent.recorders import recorder_of
from nats_fluent.signals import stopped_by_signals
from nats_fluent.source.core import CoreSource
from nats_fluent.topics import Topic, topic_name, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nats_fluent.settings import Settings

BUFFER_BYTES = 16 << 20
"""Bytes of messages that may wait to be shown; nats-server keeps up to 64 MB (`max_pending`) for a slow reader, and
then closes the connection."""

MESSAGE_BYTES = 256
"""What a waiting message is charged besides its payload, as in the pipeline (`nats_fluent.pipeline.DELIVERY_BYTES`)."""

SLICE = 256
"""Records that are written as one."""

TELL_EVERY = 1.0
"""Seconds between two lines about what was dropped, at least."""

_TIME = re.compile(r"[0-9-]{10}T([0-9:]{8})(?:\.([0-9]+))?Z", re.ASCII)
_OPERATIONS = {"create": "green", "update": "yellow", "delete": "red"}


class Wanted(NamedTuple):
    """Which records to show; an empty tuple takes all.

    Attributes:
        identities: one of these.
        operations: one of these, in any case.
        namespaces: one of these, or one below it.
    """

    identities: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()

    def __call__(self, record: dict[str, Any]) -> bool:
        """Whether to show the record; one without the field is not, where the field is asked for."""
        if self.identities and record.get("identity") not in self.identities:
            return False
        if self.operations:
            operation = str(record.get("operation", "")).lower()
            if operation not in [each.lower() for each in self.operations]:
                return False
        if self.namespaces:
            found = record.get("namespace")
            return isinstance(found, str) and any(within(found, name) for name in self.namespaces)
        return True


def topics_for(subjects: Sequence[str], settings: Settings) -> tuple[Topic, ...]:
    """Return what to subscribe to: the subjects, or those of the settings; each is its own topic.

    Raises:
        SettingsError: a subject cannot be one.
    """
    try:
        found = SUBJECTS.parse(list(subjects)) if subjects else [topic.subject for topic in settings.topics]
    except ValueError as error:
        raise SettingsError(f"SUBJECT: {error}.") from None
    return tuple(Topic(subject, subject) for subject in found)


def line(record: dict[str, Any], *, short: bool = False) -> Text:
    """Return the record as one line: time, topic, operation, identity, namespace and content.

    With `short`, of the time only what differs from one line to the next: hours to milliseconds, UTC.

    What is in it came over the network: a character that a terminal would act on stands there as its escape.
    """
    text = Text()
    timestamp = printable(record["timestamp"])
    if short and (time_of_day := _TIME.fullmatch(timestamp)):
        timestamp = f"{time_of_day[1]}.{(time_of_day[2] or '')[:3]:0<3}"
    text.append(timestamp, "dim")
    text.append(f" {printable(record['topic'])}", "bold")
    if "error" in record:
        text.append(f" undecodable, {record['size']} bytes: {printable(record['error'])}", "red")
        return text
    operation = printable(record.get("operation", ""))
    for value, style in (
        (operation, _OPERATIONS.get(operation, "")),
        (record.get("identity", ""), "cyan"),
        (record.get("namespace", ""), "magenta"),
    ):
        if value:
            text.append(f" {printable(value)}", style)
    content = record["content"]
    if isinstance(content, dict) and isinstance(content.get("entity"), dict):
        content = content["entity"]  # what is around it in an event was said already
    text.append(f" {printable(msgspec.json.encode(content).decode())}")
    return text


def printable(value: object) -> str:
    """Return the text without anything that a terminal acts on: controls, and what turns the direction."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )


def as_json(records: Iterable[dict[str, Any]]) -> bytes:
    """Return the records, a line of JSON each."""
    return b"".join(msgspec.json.encode(record) + b"\n" for record in records)


def for_people(console: Console) -> Callable[[Iterable[dict[str, Any]]], bytes]:
    """Return what makes lines of records: on a terminal coloured and cut to its width, else whole and plain."""
    cut = console.is_terminal

    def show(records: Iterable[dict[str, Any]]) -> bytes:
        if not cut:
            return "".join(f"{line(record).plain}\n" for record in records).encode("utf-8", "replace")
        with console.capture() as captured:
            for record in records:
                text = line(record, short=True)
                text.truncate(console.width, overflow="ellipsis")
                console.print(text, no_wrap=True, overflow="ignore", crop=False)
        return captured.get().encode("utf-8", "replace")

    return show


def run(
    settings: Settings,
    subjects: Sequence[str],
    *,
    wanted: Wanted,
    json: bool = False,
    count: int | None = None,
) -> int:
    """Show what is published until SIGTERM, Ctrl-C, `count` records, or until nobody reads any more.

    Args:
        settings: the NATS connection, and the names of the topics.
        subjects: what to listen to; by default the subjects of the topics.
        wanted: which records to show.
        json: a line of JSON each, as `nats-fluent run` prints them, in place of lines for people.
        count: how many records to show; None for all.

    Returns:
        The exit code: 0.

    Raises:
        SettingsError: a subject cannot be one, or a TLS file cannot be used.
        SourceError: NATS cannot be used.
    """
    topics = topics_for(subjects, settings)
    logs.configure(format="text", level="warning")
    # Text of msgspec's is UTF-8 whatever the locale is; so is what is shown to people.
    show = as_json if json else for_people(Console(highlight=False, markup=False, emoji=False))
    uvloop.run(_Tail(settings, topics, wanted=wanted, show=show, count=count).run())
    return 0


class _Tail:
    """One run; the arguments are those of `run`, and `show` makes bytes of records."""

    def __init__(
        self,
        settings: Settings,
        topics: Sequence[Topic],
        *,
        wanted: Wanted,
        show: Callable[[Iterable[dict[str, Any]]], bytes],
        count: int | None,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._wanted = wanted
        self._show = show
        self._left = count
        self._recorder = recorder_of(settings, "tail", levels=None, filtered=False)
        self._waiting: deque[Delivery] = deque()
        self._bytes = 0
        self._dropped = 0
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Show until told to stop, or until there is nobody to show it to."""
        stop = asyncio.Event()
        nats = msgspec.structs.replace(self._settings.nats, queue_group="")
        source = CoreSource(nats, self._topics, receive=self._receive)
        with stopped_by_signals(stop):
            await source.start()
            tasks = [
                asyncio.create_task(part)
                for part in (self._print(), source.wait_closed(), stop.wait(), self._tell(source))
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            except (BrokenPipeError, ConnectionResetError):
                pass  # whoever read has seen enough
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await source.close()
                self._tell_dropped()

    def _receive(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            if self._claimed_before(delivery):
                continue
            charge = len(delivery.payload) + MESSAGE_BYTES
            if self._bytes + charge > BUFFER_BYTES:
                self._dropped += 1
                continue
            self._bytes += charge
            self._waiting.append(delivery)
            self._wake.set()

    def _claimed_before(self, delivery: Delivery) -> bool:
        """Whether a subscription before this one has the message, too: the server sends it once for each."""
        for topic in self._topics:
            if topic.subject == delivery.topic:
                return False
            if overlap(topic.subject, delivery.subject):
                return True
        return False

    async def _print(self) -> None:
        while self._left is None or self._left > 0:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting and (self._left is None or self._left > 0):
                records = self._records()
                if records:
                    await _in_thread(lambda records=records: _write(self._show(records)))  # type: ignore[misc]
                else:
                    await asyncio.sleep(0)

    def _records(self) -> list[dict[str, Any]]:
        """Take the next messages, and return the records of those that are wanted."""
        records: list[dict[str, Any]] = []
        for _ in range(min(SLICE, len(self._waiting))):
            delivery = self._waiting.popleft()
            self._bytes -= len(delivery.payload) + MESSAGE_BYTES
            named = Delivery(
                self._name(delivery.subject), delivery.subject, delivery.payload, "", delivery.headers
            )
            record = msgpack.unpackb(self._recorder.record(named, time.time_ns()).packed)
            if self._wanted(record):
                records.append(record)
                if self._left is not None:
                    self._left -= 1
                    if not self._left:
                        break
        return records

    def _name(self, subject: str) -> str:
        return topic_name(self._settings.topics, subject) or bare_subject(subject)

    async def _tell(self, source: CoreSource) -> None:
        """Say, once, what is listened to, and now and then what was dropped."""
        await source.wait_subscribed()
        subjects = ", ".join(topic.subject for topic in self._topics)
        _say(f"Listening to {subjects}; Ctrl-C ends it.")
        while True:
            await asyncio.sleep(TELL_EVERY)
            self._tell_dropped()

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            _say(f"Cannot keep up: {dropped} publications are not shown, wanted or not.")


def _say(what: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{what}\n")
        sys.stderr.flush()


def _write(data: bytes) -> None:
    # Not through sys.stdout: a thread that is stopped in there keeps its lock, and with it the interpreter from ending.
    left = memoryview(data)
    while left:
        left = left[os.write(1, left) :]


async def _in_thread(work: Callable[[], None]) -> None:
    """Run what may block for ever, as a write to a reader that stands still, in a thread that nothing waits for."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def run_it() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as raised:  # noqa: BLE001 - for whoever awaits it
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run_it, name="tail-write", daemon=True).start()
    await ended
