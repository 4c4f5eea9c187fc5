"""TLS to a real nats-server: its certificate, ours, and every file that can be wrong."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from programs import PATIENCE, NatsServer, started
from taking import Certificates, settings_for, taking

from nats_fluent.errors import SettingsError, SourceError
from nats_fluent.options import Secret
from nats_fluent.source import connect
from nats_fluent.source.connect import connect_once

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = "cannot connect to NATS; trying again"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


async def publish_and_take(server: NatsServer, changes: dict[str, object]) -> None:
    """What one replica's ack says to another's subject comes back over TLS."""
    async with taking(settings_for(server, **changes), "activities") as taken:
        assert taken.lines("connected to NATS")[0]["tls"] is True
        await taken.source.acknowledge("activities")
        await taken.wait_for(1)
        assert taken.payloads == [b"ack"]


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_a_server_whose_ca_is_known(tmp_path: Path, certificates: Certificates, scheme: str) -> None:
    with started(NatsServer(tmp_path, certificates.server_config())) as server:
        servers = (f"{scheme}://127.0.0.1:{server.port}",)
        await publish_and_take(server, {"ca_file": certificates.ca_file, "servers": servers})


async def test_a_server_that_starts_again_is_reached_over_tls_again(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "RECONNECT_WAIT", 0.05)
    server = NatsServer(tmp_path, certificates.server_config())
    with started(server):
        async with taking(settings_for(server, ca_file=certificates.ca_file), "activities") as taken:
            server.stop()
            server.start()
            await taken.wait_log("connected to NATS", 2)
            assert [line["tls"] for line in taken.lines("connected to NATS")] == [True, True]


async def test_a_server_whose_ca_is_not_known_is_refused(tmp_path: Path, certificates: Certificates) -> None:
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    reason = "the server's certificate is refused: unable to get local issuer certificate"
    with started(NatsServer(tmp_path, certificates.server_config())) as server:
        settings = settings_for(server, ca_file=stranger)
        with pytest.raises(SourceError, match=reason):
            await connect_once(settings, PATIENCE)
        async with taking(settings, "activities", subscribed=False) as taken:
            await taken.wait_log(REFUSED)
            assert taken.lines(REFUSED)[0]["reason"] == reason


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path, certificates: Certificates) -> None:
    certificates.ca.issue_cert("nats.example").private_key_and_cert_chain_pem.write_to_path(
        certificates.server_file
    )
    with (
        started(NatsServer(tmp_path, certificates.server_config())) as server,
        pytest.raises(SourceError, match=r"IP address mismatch, certificate is not valid for '127\.0\.0\.1'"),
    ):
        await connect_once(settings_for(server, ca_file=certificates.ca_file), PATIENCE)


@pytest.mark.parametrize("passphrase", [None, "open sesame"])
@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
async def test_a_client_certificate(
    tmp_path: Path, certificates: Certificates, form: str, passphrase: str | None
) -> None:
    with started(NatsServer(tmp_path, certificates.server_config(verify=True))) as server:
        changes = {
            "ca_file": certificates.ca_file,
            "cert_file": certificates.cert_file,
            "key_file": certificates.key_file(form=form, passphrase=passphrase),
            "key_password": Secret(passphrase) if passphrase else None,
        }
        await publish_and_take(server, changes)
        assert (await connect_once(settings_for(server, **changes), PATIENCE)).tls


async def test_a_server_that_asks_for_a_certificate_and_gets_none(
    tmp_path: Path, certificates: Certificates
) -> None:
    with started(NatsServer(tmp_path, certificates.server_config(verify=True))) as server:
        settings = settings_for(server, ca_file=certificates.ca_file)
        with pytest.raises(SourceError, match=r"tlsv13 alert certificate required|did not say why"):
            await connect_once(settings, PATIENCE)
        async with taking(settings, "activities", subscribed=False) as taken:
            await taken.wait_log(REFUSED)
            await asyncio.sleep(0.1)
            assert not taken.source.connected


async def test_a_server_that_speaks_tls_is_never_spoken_to_without(
    tmp_path: Path, certificates: Certificates
) -> None:
    # Nothing asks for TLS here: the server does, and its certificate is held against the system's CAs.
    with (
        started(NatsServer(tmp_path, certificates.server_config())) as server,
        pytest.raises(SourceError, match="certificate is refused"),
    ):
        await connect_once(settings_for(server), PATIENCE)


async def test_a_server_without_tls_is_told_nothing(
    nats_server: NatsServer, certificates: Certificates
) -> None:
    settings = settings_for(nats_server, ca_file=certificates.ca_file, user="me", password=Secret("s3cret"))
    with pytest.raises(SourceError, match="does not offer it: nothing was sent to it"):
        await connect_once(settings, PATIENCE)


async def test_a_file_that_cannot_be_used_is_found_before_any_connection(
    nats_server: NatsServer, certificates: Certificates
) -> None:
    settings = settings_for(
        nats_server,
        cert_file=certificates.cert_file,
        key_file=certificates.key_file(passphrase="right"),
        key_password=Secret("wrong"),
    )
    with pytest.raises(SettingsError, match=r"nats\.key_password: it does not open"):
        await connect_once(settings, PATIENCE)
    with pytest.raises(SettingsError, match=r"nats\.key_password: it does not open"):
        async with taking(settings, "activities"):
            pass


def test_tls_before_version_1_2_is_not_spoken(certificates: Certificates, nats_server: NatsServer) -> None:
    context = connect.tls_context(settings_for(nats_server, ca_file=certificates.ca_file))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
