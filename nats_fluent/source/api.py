"""JetStream's API over a connection: what a stream is, and what a consumer is to become.

Raw JSON, as nats-py's models drop what they do not know, which an update would then take from the consumer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from nats import errors

from nats_fluent.errors import NatsFluentError, SourceError
from nats_fluent.source.connect import describe
from nats_fluent.source.consumer import (
    Difference,
    Floor,
    Limits,
    Stream,
    changed,
    differences,
    limits,
    refusal,
    started_after,
    subjects_for,
    unusable,
    wanted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nats.aio.client import Client

    from nats_fluent.sections import JetStreamSettings
    from nats_fluent.source.consumer import Config
    from nats_fluent.topics import Topic

TIMEOUT = 5.0
"""Seconds for an answer."""

_STREAM_MISSING, _CONSUMER_MISSING, _CONSUMER_EXISTS = 10059, 10014, 10148
_NOT_NOW = 503
"""No JetStream, no leader, or no resources: all of which may change."""


class NotYet(NatsFluentError):  # noqa: N818 - what happened
    """JetStream cannot be used now, and may be later: it is tried again."""


class Found(NamedTuple):
    """A consumer that is there.

    Attributes:
        limits: what it allows.
        floor: the sequence in the stream up to which everything is acknowledged.
        pending: messages that it has still to deliver.
        unacknowledged: messages that it has delivered and that are not acknowledged.
        done: what was done to it: nothing, ``made``, or ``changed`` and each difference.
    """

    limits: Limits
    floor: int
    pending: int
    unacknowledged: int
    done: str = ""


class Api:
    """One durable consumer of one stream, as the settings name them.

    Args:
        client: the connection.
        settings: stream, durable, and how it is to be.
        topics: what is to be taken where the settings name no subjects.

    Attributes:
        prefix: of the API's subjects.
        where: stream and consumer, as they stand in these subjects.
    """

    def __init__(self, client: Client, settings: JetStreamSettings, topics: Sequence[Topic]) -> None:
        self._client = client
        self._settings = settings
        self._topics = topics
        self.prefix = f"$JS.{settings.domain}.API" if settings.domain else "$JS.API"
        self.where = f"{settings.stream}.{settings.durable}"

    async def stream(self) -> Stream:
        """Look at the stream.

        Raises:
            NotYet: it is not there, or JetStream is not.
        """
        answer = await self._request(f"STREAM.INFO.{self._settings.stream}")
        _raise_for(answer, self._settings.stream)
        config = answer["config"]
        return Stream(
            tuple(config.get("subjects") or ()),
            config.get("retention", "limits"),
            answer.get("created", ""),
            answer.get("state", {}).get("last_seq", 0),
        )

    async def consumer(self) -> dict[str, Any] | None:
        """Look at the consumer; None when the stream has no such.

        Raises:
            NotYet: the stream is not there, or JetStream is not.
        """
        answer = await self._request(f"CONSUMER.INFO.{self.where}")
        if _code(answer) == _CONSUMER_MISSING:
            return None
        _raise_for(answer, self._settings.stream)
        return answer

    async def compare(self) -> tuple[Stream, Config, dict[str, Any] | None, list[Difference]]:
        """Look at both; return them, the configuration that is wanted, and how the consumer differs from it.

        Raises:
            NotYet: the stream is not there, or JetStream is not.
            SourceError: stream and topics have nothing in common, or the consumer cannot be used whatever is changed.
        """
        settings = self._settings
        # Who may only bind may not be allowed to look at the stream, which is then not needed.
        stream = Stream(())
        if settings.create != "bind" or not settings.filter_subjects:
            stream = await self.stream()
        want = wanted(settings, subjects_for(settings, self._topics, stream.subjects))
        info = await self.consumer()
        if info is None:
            return stream, want, None, []
        found = info["config"]
        if why := unusable(found):
            raise SourceError(
                f"JetStream: the consumer {self.where} cannot be used: {why}. "
                "Give another name with NATS_FLUENT_JETSTREAM_DURABLE."
            )
        return stream, want, info, differences(want, found, stream.subjects)

    async def have(self, floor: Floor) -> Found:
        """See to it that the consumer is there and as wanted.

        Args:
            floor: where one that was deleted is to go on.

        Raises:
            NotYet: the stream is not there, or JetStream is not.
            SourceError: the consumer is missing or differs, and may not be made or changed.
        """
        settings = self._settings
        stream, want, info, rows = await self.compare()
        done = ""
        if info is None:
            if settings.create == "bind":
                raise SourceError(
                    f"JetStream: the stream {settings.stream} has no consumer {settings.durable}, or has it no more. "
                    "Create it, or set NATS_FLUENT_JETSTREAM_CREATE=create."
                )
            after = floor.of(stream)
            info = await self._make(started_after(want, after, retention=stream.retention), "create")
            done = "made"
        elif rows:
            if settings.create != "reconcile":
                raise refusal(self.where, rows)
            info = await self._make(changed(info["config"], want), "update")
            done = f"changed: {'; '.join(map(str, rows))}"
        found = found_in(info)._replace(done=done)
        floor.note(stream, found.floor)
        return found

    async def state(self) -> tuple[bool, str]:
        """Look, and change nothing; return whether `have` would succeed now, and what there is or why not."""
        create = self._settings.create
        try:
            _, _, info, rows = await self.compare()
        except (NotYet, SourceError) as problem:
            return False, str(problem)
        if info is None:
            what = "is not there" if create == "bind" else "is not there, and will be made"
            return create != "bind", f"the stream is there; the consumer {self._settings.durable} {what}"
        if rows and create != "reconcile":
            return False, str(refusal(self.where, rows))
        found = found_in(info)
        text = f"{found.pending} messages to deliver, {found.unacknowledged} unacknowledged"
        return True, f"{text}; will be changed: {'; '.join(map(str, rows))}" if rows else text

    async def _make(self, config: Config, action: str) -> dict[str, Any]:
        body = {"stream_name": self._settings.stream, "config": config, "action": action}
        answer = await self._request(f"CONSUMER.CREATE.{self.where}", msgspec.json.encode(body))
        if "error" in answer:
            if _code(answer) == _CONSUMER_EXISTS:
                raise NotYet("another member made the consumer at the same time")
            if _code(answer) != _STREAM_MISSING and answer["error"].get("code") != _NOT_NOW:
                raise SourceError(
                    f"JetStream: cannot {action} the consumer {self.where}: {answer['error'].get('description')}"
                )
        _raise_for(answer, self._settings.stream)
        return answer

    async def _request(self, subject: str, body: bytes = b"") -> dict[str, Any]:
        try:
            message = await self._client.request(f"{self.prefix}.{subject}", body, timeout=TIMEOUT)
            answer = msgspec.json.decode(message.data)
        except errors.NoRespondersError:
            raise NotYet("JetStream is not enabled for this account, or has no leader") from None
        except (errors.Error, OSError) as error:
            raise NotYet(f"JetStream: {describe(error)}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NotYet(f"JetStream: an answer that is no JSON ({error})") from error
        return answer if isinstance(answer, dict) else {}


def found_in(info: dict[str, Any]) -> Found:
    """Read what the API says of a consumer."""
    return Found(
        limits(info["config"]),
        info.get("ack_floor", {}).get("stream_seq", 0),
        info.get("num_pending", 0),
        info.get("num_ack_pending", 0),
    )


def _code(answer: dict[str, Any]) -> int:
    return int(answer.get("error", {}).get("err_code", 0))


def _raise_for(answer: dict[str, Any], stream: str) -> None:
    if _code(answer) == _STREAM_MISSING:
        raise NotYet(f"the stream {stream} is not there; it is not made by this program")
    if "error" in answer:
        raise NotYet(f"JetStream: {answer['error'].get('description') or answer['error']}")
    if "config" not in answer:
        raise NotYet("JetStream: an answer without a configuration")
