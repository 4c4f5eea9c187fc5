"""NKeys and JWTs as nsc would make them: an operator, its accounts and their users, for a real nats-server.

Source of the claims: NATS's documentation of decentralized JWT authentication, and github.com/nats-io/jwt (v2).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time

import nkeys


def seed(prefix: int, raw: bytes = b"") -> str:
    """A key's seed: that of the 32 bytes, or a new one."""
    return nkeys.encode_seed(raw or os.urandom(32), prefix).decode()


def public(of: str) -> str:
    """The public key of a seed."""
    return nkeys.from_seed(bytearray(of.encode())).public_key.decode()


def creds(jwt: str, of: str) -> str:
    """A credentials file."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\nKeep it to yourself.\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{of}\n------END USER NKEY SEED------\n\n"
        "*************************************************************\n"
    )


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _jwt(issuer: str, subject: str, name: str, claims: dict, *, expires: int | None = None) -> str:
    body = {
        "iat": int(time.time()),
        "iss": public(issuer),
        "name": name,
        "sub": subject,
        "nats": claims | {"version": 2},
    }
    if expires is not None:
        body["exp"] = expires
    digest = hashlib.sha256(json.dumps(body).encode()).digest()
    body["jti"] = base64.b32encode(digest).rstrip(b"=").decode()
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    text = ".".join(_base64(json.dumps(part).encode()) for part in (head, body))
    signature = nkeys.from_seed(bytearray(issuer.encode())).sign(text.encode())
    return f"{text}.{_base64(signature)}"


class Operator:
    """An operator with one account, and the users of that."""

    def __init__(self) -> None:
        self._operator = seed(nkeys.PREFIX_BYTE_OPERATOR)
        self._account = seed(nkeys.PREFIX_BYTE_ACCOUNT)
        self._revoked: dict[str, int] = {}

    def user(
        self, *, expires: int | None = None, revoked: bool = False, of_account: bool = True, **permissions
    ) -> str:
        """A new user's credentials.

        Args:
            expires: seconds since 1970.
            revoked: whether the account takes it back, in a configuration that is made afterwards.
            of_account: or signed by another account, that nobody knows.
            permissions: pub or sub, each with allow or deny.
        """
        key = seed(nkeys.PREFIX_BYTE_USER)
        issuer = self._account if of_account else seed(nkeys.PREFIX_BYTE_ACCOUNT)
        claims = {"type": "user", "subs": -1, "data": -1, "payload": -1} | permissions
        if revoked:
            self._revoked[public(key)] = int(time.time()) + 60
        return creds(_jwt(issuer, public(key), "user", claims, expires=expires), key)

    def config(self, *, revoke: bool = True) -> str:
        """What a nats-server needs to know them; `revoke` is whether it is told of what was taken back."""
        everything = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
        account = {
            "type": "account",
            "limits": everything | {"wildcards": True},
            "revocations": self._revoked if revoke else {},
        }
        operator = _jwt(self._operator, public(self._operator), "operator", {"type": "operator"})
        jwt = _jwt(self._operator, public(self._account), "account", account)
        return f"operator: {operator}\nresolver: MEMORY\nresolver_preload: {{ {public(self._account)}: {jwt} }}\n"
