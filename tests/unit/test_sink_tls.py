from __future__ import annotations

import ssl

import pytest
from taking import Certificates

from nats_fluent.errors import SettingsError
from nats_fluent.options import Secret
from nats_fluent.sections import FluentSettings
from nats_fluent.sink.stream import tls_context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


def test_the_name_is_verified_and_old_tls_is_refused(certificates):
    context = tls_context(FluentSettings(ca_file=certificates.ca_file))
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == 1


def test_without_a_ca_file_the_systems_are_trusted():
    assert tls_context(FluentSettings()).verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("passphrase", [None, "open sesame"])
def test_a_client_certificate_and_its_key(certificates, passphrase):
    tls_context(
        FluentSettings(
            ca_file=certificates.ca_file,
            cert_file=certificates.cert_file,
            key_file=certificates.key_file(passphrase=passphrase),
            key_password=passphrase and Secret(passphrase),
        )
    )


@pytest.mark.parametrize("password", [None, Secret("closed")])
def test_a_key_that_does_not_open_is_named_and_nobody_is_asked(certificates, password):
    key = certificates.key_file(passphrase="open sesame")
    settings = FluentSettings(cert_file=certificates.cert_file, key_file=key, key_password=password)
    with pytest.raises(SettingsError, match=r"fluent\.key_password does not open the key") as raised:
        tls_context(settings)
    assert str(key) in str(raised.value)
    assert "closed" not in str(raised.value)


def test_a_file_without_certificates_is_named(certificates):
    key = certificates.key_file()
    with pytest.raises(SettingsError, match=r"^fluent\.ca_file: no certificates in .*\.key"):
        tls_context(FluentSettings(ca_file=key))
