"""A marker for each secret of the catalogue, so that a new one is looked for without being named here."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import nkeys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nats_fluent.settings import CATALOGUE

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = tuple(option for option in CATALOGUE if option.kind.secret)
SIGN_IN = ("nats.password", "nats.token", "nats.nkey", "nats.creds")
"""Ways of which one is given."""
NEEDS = {
    "nats.password": {"NATS_FLUENT_NATS_USER": "me"},
    "fluent.password": {"NATS_FLUENT_FLUENT_USER": "me"},
    "redact.key": {"NATS_FLUENT_REDACT_ACTION": "hash"},
}
"""What a secret is of no use without, and is refused."""
SEED = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER).decode()
JWT = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5In0.hidden-nats-creds.signature"
CREDS = (
    f"-----BEGIN NATS USER JWT-----\n{JWT}\n------END NATS USER JWT------\n"
    f"-----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n"
)


def marker(key: str) -> str:
    """What is looked for of a secret."""
    return {"nats.nkey": SEED, "nats.creds": SEED}.get(key, f"hidden-{key.replace('.', '-')}-Xq7")


def value(key: str) -> str:
    """What is given as the secret, and holds its marker."""
    return CREDS if key == "nats.creds" else marker(key)


MARKERS = tuple(dict.fromkeys([*(marker(option.key) for option in SECRETS), JWT]))


def found_in(said: str) -> list[str]:
    """The markers in what was said, in whatever letters."""
    return [each for each in MARKERS if each.lower() in said.lower()]


def pem(directory: Path, passphrase: str, name: str) -> tuple[Path, Path]:
    """A certificate of its own, and its encrypted key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "me")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / f"{name}.crt", directory / f"{name}.key"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase.encode()),
        )
    )
    return cert_file, key_file


def environ(directory: Path, *, sign_in: str, by_file: bool, fitting: bool = True) -> dict[str, str]:
    """Every secret at once, but for the other ways to sign in, with what each needs to be of use.

    Args:
        directory: for files.
        sign_in: which of `SIGN_IN`.
        by_file: give the files of secrets, or the secrets.
        fitting: whether the passphrases open the keys.
    """
    found = {}
    for option in SECRETS:
        if option.key in SIGN_IN and option.key != sign_in:
            continue
        if by_file:
            file = directory / f"{option.param}.secret"
            file.write_text(value(option.key))
            found[f"{option.env}_FILE"] = str(file)
        else:
            found[option.env] = value(option.key)
        found |= NEEDS.get(option.key, {})
    for section in ("nats", "fluent"):
        passphrase = marker(f"{section}.key_password") if fitting else "another"
        cert_file, key_file = pem(directory, passphrase, section)
        found[f"NATS_FLUENT_{section.upper()}_CERT_FILE"] = str(cert_file)
        found[f"NATS_FLUENT_{section.upper()}_KEY_FILE"] = str(key_file)
    return found
