"""What shows a NATS server who we are: read anew for each attempt, so that a rotated secret is taken up.

Source of the fields: NATS client protocol, CONNECT. A password and a token are sent as they are. Of an NKey only the
public key and the signature of the server's nonce are, of credentials the JWT and the signature.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from nats_fluent.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import nkeys

    from nats_fluent.options import Secret
    from nats_fluent.sections import NatsSettings

_SECRET = frozenset({"pass", "auth_token", "jwt"})
"""The fields of CONNECT that are as good as the secret itself."""
_TELLS = 4
"""Characters of a secret that is looked for in other words: a shorter one would be found everywhere."""

# As nsc and the Go client have it: a line above with dashes, one line of text, a line below.
_JWT = re.compile(r"-{3,}BEGIN NATS USER JWT-{3,}\s+(\S+)\s+-{3,}END")
_SEED = re.compile(r"-{3,}BEGIN USER NKEY SEED-{3,}\s+(\S+)\s+-{3,}END")


def fields(settings: NatsSettings, info: Mapping[str, Any]) -> dict[str, str]:
    """Return what CONNECT holds for the way that is set; nothing where none is.

    Args:
        settings: who we are.
        info: the server's INFO, which may have a nonce to be signed.

    Raises:
        SettingsError: a file cannot be read, or is not what it should be; or there is a key, and the server, which asks
            for a login, has nothing to sign.
    """
    if settings.user is not None:
        return {
            "user": settings.user,
            "pass": settings.password.get() if settings.password is not None else "",
        }
    if settings.token is not None:
        return {"auth_token": settings.token.get()}
    if settings.nkey is not None:
        pair = _pair(settings.nkey.get().strip(), _where("nkey", settings.nkey))
        return {"nkey": pair.public_key.decode()} | _signature(pair, info)
    if settings.creds is not None:
        jwt, pair = _credentials(settings.creds)
        return {"jwt": jwt} | _signature(pair, info)
    return {}


def check(settings: NatsSettings) -> None:
    """See whether each secret can be read, and is what it should be.

    Raises:
        SettingsError: one is not.
    """
    fields(settings, {})


def shown(settings: NatsSettings) -> str:
    """Say as whom; never a secret, and of a key the public half.

    Raises:
        SettingsError: as `fields`.
    """
    if settings.user is not None:
        return f"as {settings.user}"
    if settings.token is not None:
        return "with the token"
    if settings.nkey is not None:
        return f"with the NKey {fields(settings, {})['nkey']}"
    if settings.creds is not None:
        return f"with the credentials of {_credentials(settings.creds)[1].public_key.decode()}"
    return "with the client certificate" if settings.cert_file is not None else "without a user"


def refused(settings: NatsSettings) -> str:
    """Say what it was that a server did not take."""
    certificate = " or the client certificate" if settings.cert_file is not None else ""
    for name, what in (
        ("user", "the user or the password"),
        ("token", "the token"),
        ("nkey", "the NKey"),
        ("creds", "the credentials"),
    ):
        if getattr(settings, name) is not None:
            return f"the server refused {what}{certificate}"
    if certificate:
        return "the server refused the client certificate, or asks for a login as well"
    return "the server asks for a login, and none is given"


def hidden(settings: NatsSettings, said: str) -> str:
    """Return what a server said without what it was sent to be kept secret: it may repeat CONNECT, in any letters."""
    try:
        sent = fields(settings, {})
    except SettingsError:
        sent = {}
    for name in _SECRET.intersection(sent):
        value = sent[name]
        if len(value) >= _TELLS:
            for form in (value, json.dumps(value)[1:-1]):
                said = re.sub(re.escape(form), "***", said, flags=re.IGNORECASE)
    return said


def _where(name: str, secret: Secret) -> str:
    return str(secret.file) if secret.file is not None else f"nats.{name}"


def _pair(seed: str, where: str) -> nkeys.KeyPair:
    import nkeys  # noqa: PLC0415 - with libsodium, which other ways to sign in do without

    try:
        prefix, raw = nkeys.decode_seed(seed.encode())
        # nkeys takes no notice of the checksum; made again, it has to be the same.
        if prefix == nkeys.PREFIX_BYTE_USER and nkeys.encode_seed(raw, prefix) == seed.encode():
            return nkeys.from_seed(bytearray(seed.encode()))
    except (nkeys.NkeysError, ValueError, TypeError):
        pass
    raise SettingsError(f"{where}: holds no seed of a user's NKey; it begins with SU.")


def _credentials(secret: Secret) -> tuple[str, nkeys.KeyPair]:
    text, where = secret.get(), _where("creds", secret)
    jwt, seed = _JWT.search(text), _SEED.search(text)
    if jwt is None or seed is None:
        raise SettingsError(
            f"{where}: holds no credentials (-----BEGIN NATS USER JWT-----, and the seed of its NKey)."
        )
    return jwt[1], _pair(seed[1], where)


def _signature(pair: nkeys.KeyPair, info: Mapping[str, Any]) -> dict[str, str]:
    nonce = str(info.get("nonce", ""))
    if not nonce:
        if info.get("auth_required"):
            raise SettingsError("the server asks for a login, and knows no NKeys and no JWTs")
        return {}
    return {"sig": base64.urlsafe_b64encode(pair.sign(nonce.encode())).rstrip(b"=").decode()}
