"""Files that make a TLS context, and the sentence for each that does not."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from taking import Certificates

from nats_fluent.errors import SettingsError
from nats_fluent.options import Secret
from nats_fluent.sections import NatsSettings
from nats_fluent.source.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def test_nothing_asks_for_tls() -> None:
    assert tls_context(NatsSettings(servers=("nats://one:4222", "nats://tls:4222"))) is None


def test_one_tls_address_asks_for_it_and_the_systems_cas_are_trusted() -> None:
    context = tls_context(NatsSettings(servers=("nats://one:4222", "tls://two:4222")))
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_ca_file_asks_for_it_and_is_the_only_ca(certificates: Certificates) -> None:
    context = tls_context(NatsSettings(ca_file=certificates.ca_file))
    assert len(context.get_ca_certs()) == 1


def test_a_remark_in_another_alphabet_between_the_certificates(
    certificates: Certificates, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    other = trustme.CA().cert_pem.bytes()
    both.write_bytes("# Zertifikat für alle\n".encode() + certificates.ca_file.read_bytes() + b"\n" + other)
    assert len(tls_context(NatsSettings(ca_file=both)).get_ca_certs()) == 2


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
@pytest.mark.parametrize("passphrase", [None, "päss phrase"])
def test_a_key_in_every_form(certificates: Certificates, form: str, passphrase: str | None) -> None:
    assert tls_context(
        NatsSettings(
            cert_file=certificates.cert_file,
            key_file=certificates.key_file(form=form, passphrase=passphrase),
            key_password=Secret(passphrase) if passphrase else None,
        )
    )


def test_a_certificate_and_its_key_in_one_file(certificates: Certificates, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificates.key_file().read_bytes() + certificates.cert_file.read_bytes())
    assert tls_context(NatsSettings(cert_file=both))


WRONG: dict[str, tuple[Callable[[Certificates, Path], dict], str]] = {
    "no CA file": (
        lambda _, path: {"ca_file": path / "none.pem"},
        "nats.ca_file: {path}/none.pem cannot be read (No such file or directory).",
    ),
    "a directory": (
        lambda _, path: {"ca_file": path},
        "nats.ca_file: {path} cannot be read (Is a directory).",
    ),
    "CA file without PEM": (
        lambda _, path: {"ca_file": written(path, b"\x30\x82")},
        "nats.ca_file: {path}/file is not a PEM file (-----BEGIN ...).",
    ),
    "CA file with a key": (
        lambda certs, _: {"ca_file": certs.key_file()},
        "nats.ca_file: {certs}/client-PKCS8-plain.key holds no PEM certificate that can be read.",
    ),
    "CA file that was cut": (
        lambda certs, path: {"ca_file": written(path, certs.ca_file.read_bytes()[:200])},
        "nats.ca_file: {path}/file holds no PEM certificate that can be read.",
    ),
    "no certificate file": (
        lambda certs, path: {"cert_file": path / "none.pem", "key_file": certs.key_file()},
        "nats.cert_file: {path}/none.pem cannot be read (No such file or directory).",
    ),
    "no key file": (
        lambda certs, path: {"cert_file": certs.cert_file, "key_file": path / "none.key"},
        "nats.key_file: {path}/none.key cannot be read (No such file or directory).",
    ),
    "a key alone": (
        lambda certs, _: {"key_file": certs.key_file()},
        "nats.key_file: there is no nats.cert_file; give the certificate of this key too.",
    ),
    "a certificate without its key": (
        lambda certs, _: {"cert_file": certs.cert_file},
        "nats.cert_file: {certs}/client.pem holds no private key.",
    ),
    "a certificate as key": (
        lambda certs, _: {"cert_file": certs.cert_file, "key_file": certs.cert_file},
        "nats.key_file: {certs}/client.pem holds no private key.",
    ),
    "another's key": (
        lambda certs, _: {"cert_file": certs.server_file, "key_file": certs.key_file()},
        "nats.key_file: {certs}/client-PKCS8-plain.key is not the key of the certificate {certs}/server.pem.",
    ),
    "a key that was cut": (
        lambda certs, path: {
            "cert_file": certs.cert_file,
            "key_file": written(path, certs.key_file().read_bytes()[:100]),
        },
        "nats.key_file: {certs}/client.pem and {path}/file cannot be read as a certificate and its key.",
    ),
    "a wrong passphrase": (
        lambda certs, _: {
            "cert_file": certs.cert_file,
            "key_file": certs.key_file(passphrase="right"),
            "key_password": Secret("wr0ng"),
        },
        "nats.key_password: it does not open {certs}/client-PKCS8-encrypted.key.",
    ),
    "a wrong passphrase for PKCS#1": (
        lambda certs, _: {
            "cert_file": certs.cert_file,
            "key_file": certs.key_file(form="TraditionalOpenSSL", passphrase="right"),
            "key_password": Secret("wr0ng"),
        },
        "nats.key_password: it does not open {certs}/client-TraditionalOpenSSL-encrypted.key.",
    ),
    "a passphrase longer than OpenSSL takes": (
        lambda certs, _: {
            "cert_file": certs.cert_file,
            "key_file": certs.key_file(passphrase="right"),
            "key_password": Secret("x" * 5000),
        },
        "nats.key_password: it does not open {certs}/client-PKCS8-encrypted.key.",
    ),
    "no passphrase": (
        lambda certs, _: {"cert_file": certs.cert_file, "key_file": certs.key_file(passphrase="right")},
        "nats.key_file: {certs}/client-PKCS8-encrypted.key is encrypted; give nats.key_password.",
    ),
    "no passphrase file": (
        lambda certs, path: {
            "cert_file": certs.cert_file,
            "key_file": certs.key_file(passphrase="right"),
            "key_password": Secret(file=path / "none"),
        },
        "{path}/none: cannot be read (No such file or directory).",
    ),
}


def written(directory: Path, content: bytes) -> Path:
    path = directory / "file"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_used(certificates: Certificates, tmp_path: Path, case: str) -> None:
    changes, sentence = WRONG[case]
    with pytest.raises(SettingsError) as caught:
        tls_context(NatsSettings(**changes(certificates, tmp_path)))
    assert str(caught.value) == sentence.format(path=tmp_path, certs=certificates.directory)
