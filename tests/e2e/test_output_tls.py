"""The outputs that speak HTTPS: whose certificate they take, with the one that they show."""

from __future__ import annotations

import ssl

import pytest
import trustme
from building import bare
from http_server import Answer, HttpServer
from outputs import output
from programs import wait_until

ANSWERS = {
    "elasticsearch": Answer(200, b'{"errors":false}'),
    "opensearch": Answer(200, b'{"errors":false}'),
    "loki": Answer(204),
    "http": Answer(200),
}


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def way(directory, name, authority, server):
    ca, client = directory / "ca.pem", directory / "client.pem"
    authority.cert_pem.write_to_path(ca)
    authority.issue_cert("nats-fluent").private_key_and_cert_chain_pem.write_to_path(client)
    prefix = {"http": "HTTP_OUTPUT"}.get(name, name.upper())
    places = {"HOST": "localhost", "PORT": server.port, "TLS": "on"}
    files = {"CA_FILE": ca, "CERT_FILE": client, "KEY_FILE": client}
    environ = {f"{prefix}_{setting}": value for setting, value in (places | files).items()}
    return output(directory, f"{name}.conf", **environ)


def context(authority, host):
    """A server of that name, which asks for a certificate."""
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(found)
    authority.issue_cert(host).configure_cert(found)
    return found


@pytest.mark.parametrize("name", ANSWERS)
def test_records_go_to_who_has_the_certificate(tmp_path, authority, name):
    tls = context(authority, "localhost")
    with (
        HttpServer(lambda _: ANSWERS[name], tls=tls) as server,
        way(tmp_path, name, authority, server) as found,
    ):
        found.publish([("activities", bare({"number": 1}, ""))])
        wait_until(lambda: server.requests, what="a request")
        found.finish(1)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_certificate_of_another_host_is_none(tmp_path, authority, name):
    tls = context(authority, "elsewhere.example")
    with (
        HttpServer(lambda _: ANSWERS[name], tls=tls) as server,
        way(tmp_path, name, authority, server) as found,
    ):
        found.publish([("activities", bare({"number": 1}, ""))])
        log = found.shipper.stderr
        wait_until(lambda: "certificate verify failed" in log.read_text(), what="it says what is wrong")
        found.shipper.kill()  # else it would wait for its Grace
    assert server.requests == []
