"""Settings as a test gives them, and what is wrong with them."""

from __future__ import annotations

import pytest

from nats_fluent import addresses, options, topics
from nats_fluent.errors import SettingsError
from nats_fluent.settings import load

KINDS = {
    "text": options.TEXT,
    "word": options.WORD,
    "name": options.NAME,
    "secret": options.SECRET,
    "path": options.PATH,
    "duration": options.DURATION,
    "size": options.SIZE,
    "count": options.whole(1, 10),
    "choice": options.choice("debug", "info", also={"trace": "debug"}),
    "tag": options.TAG,
    "servers": addresses.SERVERS,
    "urls": addresses.FLUENT_URLS,
    "topics": topics.TOPICS,
    "paths": topics.PATHS,
    "subjects": addresses.SUBJECTS,
}


def loaded(environ=None, *, file=None, **flags):
    return load(flags=flags, environ=environ or {}, file=file)


def problems(environ=None, *, file=None, **flags):
    with pytest.raises(SettingsError) as caught:
        loaded(environ, file=file, **flags)
    assert all(problem.endswith((".", "?")) and problem.isprintable() for problem in caught.value.problems)
    return list(caught.value.problems)


def refused(kind, raw):
    """What is wrong with it, or None."""
    try:
        KINDS[kind].parse(raw)
    except ValueError as error:
        return str(error)
    return None
