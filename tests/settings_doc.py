"""docs/settings.md: every setting, from what the program reads them with.

python tests/settings_doc.py > docs/settings.md
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import get_type_hints

from nats_fluent.settings import CATALOGUE, CONFIG, FORMER_TOPICS, Settings

DOC = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = f"""\
# Settings

<!-- python tests/settings_doc.py > docs/settings.md -->

Each setting can be given in four ways. Of the first that gives it, the value is taken; a blank one counts as not given.

1. A flag: `--nats-user exporter`. A secret has none, as others on the machine can see flags; the file with it has.
2. The environment: `NATS_FLUENT_NATS_USER=exporter`. An older name is read where this one is not given.
3. A TOML file, which `--config` or `{CONFIG}` names: `user = "exporter"` below `[nats]`.
   [conf/nats-fluent.toml](../conf/nats-fluent.toml) has them all, commented out.
4. The default.

`nats-fluent check` shows what is in force, and where each value came from. What is not a setting is refused with the
nearest name, and so is a value that cannot be: exit code 2, every problem in a sentence.

| what is written | how |
| --- | --- |
| `DURATION` | seconds, or `500ms`, `5s`, `1m`, `2h`; 1 ms to 24 h |
| `SIZE` | bytes, or `900k`, `1MB` (1,000 each), `64MiB` (1,024 each) |
| `X,...` | several with commas between; in TOML a list: `["a", "b"]` |
| `FILE` | a file that is there and can be read when the program starts |
| `SECRET` | as it is; or, better, its file: the setting of the same name with `_file` |
"""
DEEPER = {
    "nats": "How to sign in, and what is said when it fails: [security.md](security.md#ways-in).",
    "topics": "As tables, topics have formats ([formats.md](formats.md#a-format-for-each-topic)), filters "
    "([security.md](security.md#filters)) and paths to redact ([security.md](security.md#redaction)).",
    "workers": "What is divided, and what stops it: [scaling.md](scaling.md#workers).",
    "transforms": "How a handler is written: [transforms.md](transforms.md).",
    "jetstream": "What a stream promises: [delivery.md](delivery.md#jetstream).",
    "fluent": "TLS and the handshake: [security.md](security.md#the-log-shipper).",
    "batch": "What happens when memory is full: [delivery.md](delivery.md#core-nats).",
    "spool": "What each mode promises: [delivery.md](delivery.md#a-spool).",
    "record": "Field by field: [records.md](records.md). Formats: [formats.md](formats.md).",
    "redact": "Paths, and what is on the list of secrets: [security.md](security.md#redaction).",
    "log": "Every line: [logs.md](logs.md).",
    "http": "What is served: [operate.md](operate.md#the-endpoint).",
}
"""By section, where more is said."""


def code(text):
    """The text as code within a table."""
    return "`{}`".format(text.replace("|", "\\|")) if text else ""


def row(option):
    names = [code(option.env)]
    if not option.kind.secret:
        names.append(code(f"{option.flag} {option.kind.metavar}"))
    former = list(option.aliases) or (list(FORMER_TOPICS) if option.section == "topics" else [])
    if former:
        names.append("older: " + ", ".join(map(code, former)))
    default = option.show(option.default).replace(",", ", ")
    cells = (code(option.name or option.section), "<br>".join(names), code(default), option.doc)
    return "| {} |".format(" | ".join(cells)).replace("|  |", "| |")


def chapter(section, options):
    about = (get_type_hints(Settings)[section].__doc__ or "").strip().partition("\n")[0]
    if not hasattr(get_type_hints(Settings)[section], "__struct_fields__"):
        about = ""  # the setting is the section, and its row says it
    parts = [about, DEEPER.get(section, "")]
    table = ["| setting | names | default | what |", "| --- | --- | --- | --- |", *map(row, options)]
    return "\n\n".join([f"## {section}", *filter(None, [" ".join(filter(None, parts))]), "\n".join(table)])


def document():
    parts = [HEAD.rstrip()]
    parts += [chapter(section, list(group)) for section, group in groupby(CATALOGUE, lambda one: one.section)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
