"""What a server's certificate says: whose it is, who issued it, until when it holds."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.x509 import Certificate

_DAY = 86_400


def accepted(found: Mapping[str, Any], now: float) -> str:
    """Say what a certificate is that was accepted.

    Args:
        found: what `ssl.SSLSocket.getpeercert` returned.
        now: seconds since 1970.
    """
    return _said(
        _name(found.get("subject", ())),
        [str(name) for _, name in found.get("subjectAltName", ())],
        _name(found.get("issuer", ())),
        float(ssl.cert_time_to_seconds(found["notAfter"])),
        now,
    )


async def refused(host: str, port: int, *, greeted: bool, within: float, now: float) -> str:
    """Connect, and say what certificate the server shows, whoever issued it; nothing else is sent to it.

    Args:
        host: a name or an address.
        port: the TCP port.
        greeted: whether the server sends a line first, as NATS does, and TLS begins after it.
        within: seconds for all of it.
        now: seconds since 1970.

    Returns:
        What it is; empty when the server shows none.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    writer: asyncio.StreamWriter | None = None
    der: bytes | None = None
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        try:
            async with asyncio.timeout(within):
                reader, writer = await asyncio.open_connection(host, port)
                if greeted:
                    await reader.readline()
                await writer.start_tls(context, server_hostname=host)
                # A client certificate is asked for after this in TLS 1.3, and its absence does not matter here.
                der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            if writer is not None:
                writer.transport.abort()
    if not der:
        return ""
    from cryptography import x509  # noqa: PLC0415 - it takes as long to import as the rest of a check to run

    with contextlib.suppress(ValueError):
        return _of_x509(x509.load_der_x509_certificate(der), now)
    return ""


def _of_x509(found: Certificate, now: float) -> str:
    from cryptography import x509  # noqa: PLC0415 - as above

    names: list[str] = []
    with contextlib.suppress(x509.ExtensionNotFound, ValueError):
        extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [str(name.value) for name in extension.value]
    until = found.not_valid_after_utc.timestamp()
    return _said(found.subject.rfc4514_string(), names, found.issuer.rfc4514_string(), until, now)


def _said(subject: str, names: list[str], issuer: str, until: float, now: float) -> str:
    day = dt.datetime.fromtimestamp(until, dt.UTC).date()
    days = int(abs(until - now) // _DAY)
    ends = f"expires {day}, in {days} days" if until >= now else f"expired {day}, {days} days ago"
    of = ", ".join(names) or "no name"
    text = f"certificate for {of} (subject {subject or 'empty'}), issued by {issuer or 'nobody'}, {ends}"
    return text if text.isprintable() else ascii(text)


def _name(rdns: Any) -> str:  # noqa: ANN401 - as ssl has it: a tuple of tuples of pairs
    short = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C"}
    return ",".join(f"{short.get(key, key)}={value}" for rdn in rdns for key, value in rdn)
