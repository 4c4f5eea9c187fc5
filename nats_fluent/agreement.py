"""Which settings go together: what no setting can say of itself alone."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from nats_fluent.topics import PUBLICATION, SAYS_ITSELF

if TYPE_CHECKING:
    from nats_fluent.layering import Layers

HASH_KEY = 16
"""Characters of the key of hashes, at least."""


def check(layers: Layers) -> None:
    """Note what is wrong with values that are each right."""
    both = "one is there without the other; give both or neither"
    for section in ("nats", "fluent"):
        layers.check(f"{section}.user", f"{section}.password", wrong=_one_only, problem=both)
        layers.check(f"{section}.cert_file", f"{section}.key_file", wrong=_one_only, problem=both)
        layers.check(
            f"{section}.key_password",
            f"{section}.key_file",
            wrong=lambda password, key: password is not None and key is None,
            problem="a passphrase without a key; give the key_file",
        )
    for one, other in combinations(("nats.user", "nats.token", "nats.nkey", "nats.creds"), 2):
        layers.check(
            one,
            other,
            wrong=lambda one, other: one is not None and other is not None,
            problem="each is a way to sign in, and the server takes one; give one of them",
        )
    for name in ("ca_file", "cert_file"):
        layers.check(
            f"nats.{name}",
            "nats.servers",
            wrong=lambda path, servers: path is not None and servers[0].startswith("ws://"),
            problem="no address uses TLS, and a websocket cannot begin it later; write wss://",
        )
    layers.check(
        "nats.tls_first",
        "nats.servers",
        wrong=lambda first, servers: first == "on" and servers[0].startswith(("ws://", "wss://")),
        problem="with wss:// TLS comes first in any case, with ws:// never; leave tls_first out",
    )
    layers.check(
        "fluent.user",
        "fluent.shared_key",
        wrong=lambda user, key: user is not None and key is None,
        problem="a user needs the shared key of the handshake; give it, or leave the user out",
    )
    # Forward cannot turn a plain connection into TLS; NATS can, so there a file alone asks for it.
    for name in ("ca_file", "cert_file"):
        layers.check(
            f"fluent.{name}",
            "fluent.url",
            wrong=lambda path, urls: path is not None and not any(url.tls for url in urls),
            problem="no address uses TLS, so records would go out in the clear; write forward+tls://",
        )
    layers.check(
        "fluent.compress",
        "fluent.mode",
        wrong=lambda compress, mode: compress != "off" and mode != "packed",
        problem="only packed chunks can be compressed; write mode packed or compress off",
    )
    layers.check(
        "spool.mode",
        "spool.dir",
        wrong=lambda mode, directory: (mode == "off") != (directory == ""),
        problem="one is there without the other; give a directory, and the mode overflow or always",
    )
    layers.check(
        "spool.mode",
        "jetstream.stream",
        wrong=lambda mode, stream: mode != "off" and stream != "",
        problem="the stream keeps what is not acknowledged; leave the spool out",
    )
    layers.check(
        "redact.action",
        "redact.key",
        wrong=lambda action, key: (action == "hash") != (key is not None),
        problem="a hash needs a key, and nothing else has use for one; give both or neither",
    )
    layers.check(
        "redact.key",
        wrong=lambda key: key is not None and len(key.get()) < HASH_KEY,
        problem=f"it is shorter than {HASH_KEY} characters, so that it could be guessed; write a longer one",
    )
    layers.check(
        "topics",
        "record.format",
        wrong=lambda topics, usual: (
            usual == PUBLICATION and any(topic.places and not topic.format for topic in topics)
        ),
        problem=f"of time, key, identity, operation or namespace {SAYS_ITSELF}",
    )
    larger = "the first is larger than the second; make it smaller, or the second larger"
    for small, large in (("record.max_bytes", "batch.max_bytes"), ("batch.max_bytes", "batch.buffer_bytes")):
        layers.check(small, large, wrong=lambda one, other: one > other, problem=larger)
    layers.check(
        "workers",
        "batch.max_bytes",
        "batch.buffer_bytes",
        wrong=lambda workers, chunk, buffer: workers > 1 and chunk <= buffer < workers * chunk,
        problem="the last is divided between the workers, and each must hold a chunk; make it larger",
    )
    layers.check(
        "workers",
        "fluent.url",
        wrong=lambda workers, urls: workers > 1 and urls[0].scheme == "stdout",
        problem="lines of several processes would be mixed on stdout; give a log shipper, or one worker",
    )


def _one_only(one: object, other: object) -> bool:
    return (one is None) != (other is None)
