"""The Forward sink's secrets and certificates, which change while it runs: the next connection has them."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trustme
from forward_server import ForwardServer, Shipper
from sending import numbered, sending
from taking import Certificates, until

from nats_fluent.addresses import FluentUrl
from nats_fluent.options import Secret
from nats_fluent.sections import FluentSettings
from nats_fluent.sink import forward

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def accepting(certificates: Certificates, ca: trustme.CA) -> ssl.SSLContext:
    """What the server speaks TLS with, where clients need a certificate of that CA."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # where a refusal is a part of the handshake
    context.load_cert_chain(certificates.server_file)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    return context


async def test_all_of_them_are_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "BACKOFF_MAX", 0.05)
    certificates, new = Certificates(tmp_path), trustme.CA()
    secrets = {name: tmp_path / name for name in ("shared_key", "password", "key_password")}
    for name, file in secrets.items():
        file.write_text(f"old {name}")
    key_file = certificates.key_file(form="TraditionalOpenSSL", passphrase="old key_password")
    shipper = Shipper(shared_key="old shared_key", users={"me": "old password"})
    server = ForwardServer(shipper, tls=accepting(certificates, certificates.ca))
    settings = FluentSettings(
        url=(FluentUrl("forward+tls", "127.0.0.1", server.port),),
        user="me",
        ca_file=certificates.ca_file,
        cert_file=certificates.cert_file,
        key_file=key_file,
        **{name: Secret(file=file) for name, file in secrets.items()},
    )
    chunks = numbered(6)
    async with server, sending(settings) as client:
        await client.deliver(*chunks[:3])

        await server.stop()
        server.tls = accepting(certificates, new)
        shipper.shared_key, shipper.users = "new shared_key", {"me": "new password"}
        await server.start()
        for chunk in chunks[3:]:
            client.sink.submit(chunk)
        await until(lambda: client.sink.stats.failures >= 3, what="the old certificate is refused")

        issued = new.issue_cert("client@nats.test")
        certificates.cert_file.write_bytes(issued.cert_chain_pems[0].bytes())
        key_file.write_bytes(certificates.encrypted(issued, "new key_password"))
        await until(
            lambda: "key_password does not open" in client.sink.stats.reason, what="half of it is said"
        )
        secrets["key_password"].write_text("new key_password")
        await until(lambda: "shared_key mismatch" in client.sink.stats.reason, what="the old key is refused")
        secrets["shared_key"].write_text("new shared_key")
        await until(
            lambda: "password mismatch" in client.sink.stats.reason, what="the old password is refused"
        )
        secrets["password"].write_text("new password")
        await client.deliver()
    assert client.settled == [chunk.id for chunk in chunks]
    assert not any(f"{age} {name}" in repr(client.logged) for age in ("old", "new") for name in secrets)
