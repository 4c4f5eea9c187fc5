"""The TLS context of the NATS connection, or the sentence that says which file cannot be used and why."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from nats_fluent.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from nats_fluent.options import Secret
    from nats_fluent.sections import NatsSettings


def tls_context(settings: NatsSettings) -> ssl.SSLContext | None:
    """Return what to connect with, or None when nothing asks for TLS.

    Whether something does, the settings say. Without a CA file the system's CAs are trusted.

    Raises:
        SettingsError: a file cannot be read or used; the passphrase is wrong; the key is not that of the
            certificate.
    """
    if not settings.tls:
        return None
    if settings.key_file is not None and settings.cert_file is None:
        raise SettingsError(
            "nats.key_file: there is no nats.cert_file; give the certificate of this key too."
        )
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=_certificates(settings.ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.cert_file is not None:
        _load_client_certificate(context, settings.cert_file, settings.key_file, settings.key_password)
    return context


def _certificates(ca_file: Path | None) -> str | None:
    """Return the text of the CA file, which holds certificates."""
    if ca_file is None:
        return None
    text = _pem("nats.ca_file", ca_file)
    try:
        ssl.create_default_context(cadata=text)
    except ssl.SSLError:
        raise SettingsError(f"nats.ca_file: {ca_file} holds no PEM certificate that can be read.") from None
    return text


def _pem(setting: str, path: Path) -> str:
    """Return the text of a PEM file; what is not ASCII in it is a remark between the blocks."""
    try:
        text = path.read_text("ascii", errors="ignore")
    except OSError as error:
        raise SettingsError(f"{setting}: {path} cannot be read ({error.strerror}).") from None
    if "-----BEGIN " not in text:
        raise SettingsError(f"{setting}: {path} is not a PEM file (-----BEGIN ...).")
    return text


def _load_client_certificate(
    context: ssl.SSLContext, cert_file: Path, key_file: Path | None, passphrase: Secret | None
) -> None:
    where = "nats.cert_file" if key_file is None else "nats.key_file"
    key_path = key_file or cert_file
    _pem("nats.cert_file", cert_file)
    if "PRIVATE KEY-----" not in _pem(where, key_path):
        raise SettingsError(f"{where}: {key_path} holds no private key.")
    asked = False

    def answer() -> str:
        # Without an answer of ours OpenSSL would ask on the terminal.
        nonlocal asked
        asked = True
        if passphrase is None:
            raise SettingsError(f"{where}: {key_path} is encrypted; give nats.key_password.")
        return passphrase.get()

    try:
        context.load_cert_chain(cert_file, key_file, password=answer)
    except (OSError, ValueError) as error:
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            problem = f"{where}: {key_path} is not the key of the certificate {cert_file}."
        elif asked:
            problem = f"nats.key_password: it does not open {key_path}."
        else:
            problem = f"{where}: {cert_file} and {key_path} cannot be read as a certificate and its key."
        raise SettingsError(problem) from None
