"""docs/settings.md is what the catalogue says."""

from __future__ import annotations

import settings_doc

from nats_fluent.settings import CATALOGUE, FORMER_TOPICS


def test_the_page_is_what_the_code_says():
    how = "python tests/settings_doc.py > docs/settings.md"
    assert settings_doc.DOC.read_text("utf-8") == settings_doc.document(), f"make it anew: {how}"


def test_every_name_stands_there():
    page = settings_doc.DOC.read_text("utf-8")
    names = {name for option in CATALOGUE for name in (option.env, *option.aliases)} | FORMER_TOPICS.keys()
    names |= {option.flag for option in CATALOGUE if not option.kind.secret}
    assert len(names) > 100
    assert not [name for name in names if f"`{name}`" not in page and f"`{name} " not in page]


def test_a_secret_has_no_flag():
    page = settings_doc.DOC.read_text("utf-8")
    assert "`--nats-password-file FILE`" in page
    assert "`--nats-password " not in page
    assert "`--nats-password`" not in page
