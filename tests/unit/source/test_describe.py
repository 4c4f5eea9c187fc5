"""What is said about each error of the connection."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
from nats import errors

from nats_fluent.source.connect import describe

UNSAID = "the server closed the connection and did not say why; its log does"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('::1', 1)"), "Connection refused"),
        (OSError("Multiple exceptions: [Errno 111] a, [Errno 111] b"), None),
        (socket.gaierror(-2, "Name or service not known"), "[Errno -2] Name or service not known"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), UNSAID),
        (BrokenPipeError(), UNSAID),
        (errors.UnexpectedEOF(), UNSAID),
        (TimeoutError(), "no answer in time"),
        (errors.TimeoutError(), "no answer in time"),
        (errors.FlushTimeoutError(), "flush timeout"),
        (errors.Error("nats: 'Authentication Timeout'"), "Authentication Timeout"),
        (errors.Error(), "Error"),
    ],
)
def test_each_error_has_its_words(error: Exception, said: str | None) -> None:
    assert describe(error) == (said or str(error))


def test_an_error_of_tls_has_openssls_words() -> None:
    error = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] ...")
    error.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert describe(error) == "TLS failed: tlsv13 alert certificate required"


def test_what_speaks_no_tls_is_said_in_words() -> None:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] ...")
    error.reason = "WRONG_VERSION_NUMBER"
    assert describe(error) == "TLS failed: what answers there does not speak TLS; nothing else was sent to it"
