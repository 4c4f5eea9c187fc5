"""Every error that this package raises on purpose.

::

    NatsFluentError
     +-- SettingsError      a setting, or a file that it names, cannot be used: exit code 2
     +-- Undecodable        a payload is not a publication; it becomes a record of its own
     +-- ForwardError       the Forward connection
     |    +-- RemoteProtocolError   the server sent what the protocol does not allow
     |    +-- LocalProtocolError    this program used a connection in a way that it does not allow
     |    +-- HandshakeRefused      the server refused the shared key, user or host name
     |    +-- ServerUnavailable     no connection, or it was lost
     +-- SourceError        the NATS connection
     +-- SpoolError         a file in the spool is no whole chunk; it is set aside
     +-- RunFailed          the program stopped because a part of it died: exit code 1

A message says where, what was found, and what to do.
"""

from __future__ import annotations

import traceback

MOST_CAUSES = 5
"""Exceptions that are named of those behind one."""


def told(error: BaseException) -> str:
    """Name an exception, and what is behind it: those of a group, and what each was raised from."""
    named: list[str] = []
    behind = [error]
    while behind and len(named) <= MOST_CAUSES:
        each = behind.pop(0)
        named.append(f"{type(each).__name__}: {each}")
        if isinstance(each, BaseExceptionGroup):
            behind += each.exceptions
        if each.__cause__ is not None:
            behind.append(each.__cause__)
    return "; because of ".join(named)


def kind_and_place(error: BaseException) -> str:
    """Name the class of an exception and where it was raised; not its message, which may hold what was published."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} ({frame.filename.rpartition('/')[2]}:{frame.lineno})"


class NatsFluentError(Exception):
    """The base of every error of this package."""


class SettingsError(NatsFluentError):
    """One or more settings cannot be used.

    Attributes:
        problems: one sentence each; the message is these, a line each.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Undecodable(NatsFluentError):  # noqa: N818 - it names the outcome, as the record's tag does
    """A payload cannot be decoded.

    Attributes:
        stage: what was being read: ``publication``, ``content``, ``entity`` or ``headers``.
        reason: what was found there, with the position in bytes where one is known.
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason


class ForwardError(NatsFluentError):
    """The Forward connection failed; what is not acknowledged is sent again."""


class RemoteProtocolError(ForwardError):
    """The server sent bytes that the Forward protocol does not allow."""


class LocalProtocolError(ForwardError):
    """A connection was used in a way that its state does not allow: a bug of this program."""


class HandshakeRefused(ForwardError):  # noqa: N818 - the protocol's word
    """The server refused the shared key, the user or the host name."""


class ServerUnavailable(ForwardError):  # noqa: N818 - what the log line says
    """The server cannot be reached, or the connection was lost."""


class SourceError(NatsFluentError):
    """NATS cannot be used: refused, closed, or not what was asked for."""


class SpoolError(NatsFluentError):
    """A file in the spool is torn, damaged, or not from this program."""


class RunFailed(NatsFluentError):  # noqa: N818 - what happened, not what kind of error
    """A part of the running program died and took the program with it."""
