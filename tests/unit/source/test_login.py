"""What CONNECT says of who we are, for each way to sign in, and the sentence for each secret that is none."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import nkeys
import pytest
from operators import creds, seed

from nats_fluent.errors import SettingsError
from nats_fluent.options import Secret
from nats_fluent.sections import NatsSettings
from nats_fluent.source import login

if TYPE_CHECKING:
    from pathlib import Path

SEED = seed(nkeys.PREFIX_BYTE_USER, bytes(range(32)))
PUBLIC = nkeys.from_seed(bytearray(SEED.encode())).public_key.decode()
ACCOUNT = seed(nkeys.PREFIX_BYTE_ACCOUNT, bytes(range(32)))
CREDS = creds("a.b.c", SEED)


def signed(nonce: str, signature: str) -> bool:
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    return nkeys.from_seed(bytearray(SEED.encode())).verify(nonce.encode(), raw)


def test_nothing_is_given() -> None:
    assert login.fields(NatsSettings(), {"auth_required": True, "nonce": "x"}) == {}


def test_what_is_sent_as_it_is() -> None:
    settings = NatsSettings(user="me", password=Secret("hunter2"))
    assert login.fields(settings, {"nonce": "x"}) == {"user": "me", "pass": "hunter2"}
    assert login.fields(NatsSettings(user="me"), {}) == {"user": "me", "pass": ""}
    assert login.fields(NatsSettings(token=Secret("t")), {"nonce": "x"}) == {"auth_token": "t"}


def test_an_nkey_signs_the_nonce_and_is_not_sent() -> None:
    sent = login.fields(NatsSettings(nkey=Secret(f" {SEED}\n")), {"nonce": "once"})
    assert signed("once", sent.pop("sig"))
    assert sent == {"nkey": PUBLIC}


@pytest.mark.parametrize("text", [CREDS, CREDS.replace("\n", "\r\n"), CREDS.rstrip(), f"remark\n{CREDS}"])
def test_credentials_send_the_jwt_and_sign(text: str) -> None:
    sent = login.fields(NatsSettings(creds=Secret(text)), {"nonce": "once"})
    assert signed("once", sent.pop("sig"))
    assert sent == {"jwt": "a.b.c"}


@pytest.mark.parametrize("secret", [{"nkey": Secret(SEED)}, {"creds": Secret(CREDS)}])
def test_a_server_that_has_nothing_to_sign(secret: dict[str, Secret]) -> None:
    assert "sig" not in login.fields(NatsSettings(**secret), {})
    with pytest.raises(SettingsError, match=r"^the server asks for a login, and knows no NKeys and no JWTs$"):
        login.fields(NatsSettings(**secret), {"auth_required": True})


NO_SEED = "holds no seed of a user's NKey; it begins with SU."
NO_CREDS = "holds no credentials (-----BEGIN NATS USER JWT-----, and the seed of its NKey)."


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("nkey", PUBLIC, NO_SEED),
        ("nkey", ACCOUNT, NO_SEED),
        ("nkey", "hunter2", NO_SEED),
        ("nkey", "hünter2", NO_SEED),
        ("nkey", SEED[:-1], NO_SEED),
        ("nkey", SEED[:20] + ("A" if SEED[20] != "A" else "B") + SEED[21:], NO_SEED),
        ("creds", SEED, NO_CREDS),
        ("creds", CREDS.partition("*****")[0], NO_CREDS),
        ("creds", CREDS.replace("BEGIN NATS", "BEGIN"), NO_CREDS),
        ("creds", creds("a.b.c", ACCOUNT), NO_SEED),
    ],
)
def test_what_is_no_key(tmp_path: Path, name: str, text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        login.check(NatsSettings(**{name: Secret(text)}))
    assert str(caught.value) == f"nats.{name}: {problem}"
    file = tmp_path / "secret"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        login.check(NatsSettings(**{name: Secret(file=file)}))
    assert str(caught.value) == f"{file}: {problem}"


@pytest.mark.parametrize("name", ["password", "token", "nkey", "creds"])
def test_a_file_that_is_gone(tmp_path: Path, name: str) -> None:
    user = {"user": "me"} if name == "password" else {}
    with pytest.raises(SettingsError, match="cannot be read"):
        login.check(NatsSettings(**{name: Secret(file=tmp_path / "none")}, **user))


WAYS = {
    "without a user": ({}, "the server asks for a login, and none is given"),
    "as me": ({"user": "me", "password": Secret("p")}, "the server refused the user or the password"),
    "with the token": ({"token": Secret("t")}, "the server refused the token"),
    f"with the NKey {PUBLIC}": ({"nkey": Secret(SEED)}, "the server refused the NKey"),
    f"with the credentials of {PUBLIC}": ({"creds": Secret(CREDS)}, "the server refused the credentials"),
}


@pytest.mark.parametrize("shown", WAYS)
def test_what_is_said_of_each(tmp_path: Path, shown: str) -> None:
    given, refused = WAYS[shown]
    assert login.shown(NatsSettings(**given)) == shown
    assert login.refused(NatsSettings(**given)) == refused
    beside = NatsSettings(**given, cert_file=tmp_path)
    if given:
        assert login.refused(beside) == f"{refused} or the client certificate"
    else:
        assert login.shown(beside) == "with the client certificate"
        assert (
            login.refused(beside) == "the server refused the client certificate, or asks for a login as well"
        )


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        (NatsSettings(user="me", password=Secret("hunter2")), "hunter2"),
        (NatsSettings(user="me", password=Secret('hun"ter2')), 'hun\\"ter2'),
        (NatsSettings(token=Secret("hunter2")), "hunter2"),
        (NatsSettings(creds=Secret(creds("header.hunter2.sign", SEED))), "header.hunter2.sign"),
    ],
)
@pytest.mark.parametrize("form", [str, str.lower, str.upper])
def test_what_was_sent_is_not_repeated(settings, sent, form) -> None:
    said = login.hidden(settings, f"Authorization Violation: {form(sent)}, {form(sent)}")
    assert said == "Authorization Violation: ***, ***"


def test_what_is_no_secret_stays(tmp_path: Path) -> None:
    said = "Authorization Violation of me, a"
    assert login.hidden(NatsSettings(), said) == said
    assert login.hidden(NatsSettings(nkey=Secret(SEED)), said) == said
    # A word that short is everywhere; and where the file has gone, nothing was sent.
    assert login.hidden(NatsSettings(user="me", password=Secret("a")), said) == said
    assert login.hidden(NatsSettings(token=Secret(file=tmp_path / "gone")), said) == said


def test_a_websocket_is_known_by_its_scheme() -> None:
    assert NatsSettings(servers=("wss://a:443",)).websocket
    assert not NatsSettings(servers=("nats://a:4222",)).websocket
