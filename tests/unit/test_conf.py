"""conf/nats-fluent.toml says what the code does: every setting, its sentence and its default."""

from __future__ import annotations

import tomllib
from pathlib import Path

from nats_fluent.settings import CATALOGUE, Settings, load

CONF = Path(__file__).parents[2] / "conf" / "nats-fluent.toml"


def setting(option):
    value = option.default
    if isinstance(value, tuple):
        shown = "[{}]".format(", ".join(f'"{item}"' for item in value))
    elif isinstance(value, int) and option.kind.metavar == "COUNT":
        shown = str(value)
    else:
        shown = f'"{option.show(value)}"'
    return f"# {option.doc}\n#{option.name or option.section} = {shown}\n"


def uncommented(text):
    lines = (line.removeprefix("#") if not line.startswith("# ") else "" for line in text.splitlines())
    return "\n".join(lines)


def test_every_setting_stands_there_with_its_sentence_and_its_default():
    text = CONF.read_text("utf-8")
    missing = [setting(option) for option in CATALOGUE if setting(option) not in text]
    assert not missing, f"{CONF} should have:\n" + "\n".join(missing)


def test_nothing_else_stands_there():
    document = tomllib.loads(uncommented(CONF.read_text("utf-8")))
    tables = {name: table for name, table in document.items() if isinstance(table, dict)}
    keys = [f"{section}.{name}" for section, table in tables.items() for name in table]
    assert [*(name for name in document if name not in tables), *keys] == sorted(
        (option.key for option in CATALOGUE),
        key=lambda key: key not in ("topics", "workers", "transforms"),
    )


def test_it_sets_nothing_as_it_is():
    assert tomllib.loads(CONF.read_text("utf-8")) == {
        name: {}
        for name in (
            "nats",
            "jetstream",
            "fluent",
            "batch",
            "spool",
            "record",
            "redact",
            "redact",
            "log",
            "http",
            "shutdown",
        )
    }


def test_with_every_line_in_force_it_gives_the_defaults(tmp_path):
    file = tmp_path / "all.toml"
    file.write_text(uncommented(CONF.read_text("utf-8")))
    loaded = load(flags={}, environ={}, file=file)
    assert loaded.settings == Settings()
    assert not loaded.warnings
