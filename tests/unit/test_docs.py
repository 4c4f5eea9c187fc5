"""What the pages say is so: their links lead somewhere, their commands can be typed, their settings can be read."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib

import commands_doc
import pytest
import yaml
from pages import PAGES, TOP, anchors, blocks, commands, links, spans

from nats_fluent import backlog, guard, inbox, layering, metrics, options, pipeline
from nats_fluent.errors import SettingsError
from nats_fluent.sections import BatchSettings, FluentSettings
from nats_fluent.settings import CATALOGUE, FORMER_TOPICS, load
from nats_fluent.sink import forward
from nats_fluent.source import pull

COMMANDS = commands_doc.root().commands
FLAGS = {
    name: {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)} | {"--help"}
    for name, command in COMMANDS.items()
}
OF_ALL = {flag for param in commands_doc.root().params for flag in param.opts} | {"--help"}
OTHER_NAMES = {
    "NATS_FLUENT_CONFIG",
    "NATS_FLUENT_REQUIRE",
    "NATS_FLUENT_REVISION",
    "NATS_FLUENT_WRITE",
    "KAFKA_EXPORTER_PUBSUB_CLUSTER_ID",
}
"""No settings: what names a file of them, what the image says of itself, switches of the tests, and a former one that
has no effect."""
NAMES = (
    {name for option in CATALOGUE for name in (option.env, *option.aliases)}
    | FORMER_TOPICS.keys()
    | OTHER_NAMES
)
OPTIONS = {option.key: option for option in CATALOGUE}
SECTIONS = {option.section for option in CATALOGUE}
METRICS = {f"{metrics.PREFIX}{metric.name}" for metric in metrics.CATALOGUE}
DIRECTORIES = "benchmarks|charts|conf|constraints|deploy|docs|nats_fluent|swarm|tests"
IDS = [str(page.relative_to(TOP)) for page in PAGES]

of_each_page = pytest.mark.parametrize("page", PAGES, ids=IDS)


def blocks_of(*languages):
    found = [block for page in PAGES for block in blocks(page, *languages)]
    assert found
    return pytest.mark.parametrize("block", found, ids=str)


@pytest.fixture
def settings(monkeypatch):
    """Reads settings, whatever files they name."""
    monkeypatch.setattr(layering, "_unreadable", lambda _: "")
    monkeypatch.setattr(options.Secret, "get", lambda _: "a secret that is long enough")
    return lambda flags, environ, file=None: load(flags=flags, environ=environ, file=file)


@of_each_page
def test_a_link_leads_somewhere(page):
    for path, anchor in links(page):
        if re.match(r"[a-z]+:", path):
            assert path.startswith("https://"), path
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.is_relative_to(TOP), path
        assert there.exists(), path
        if anchor:
            assert there.suffix == ".md", f"{path}: only a page has anchors"
            assert anchor in anchors(there), f"{path}#{anchor}"


@of_each_page
def test_the_names_are_those_of_settings(page):
    text = page.read_text("utf-8")
    for name in re.findall(r"\b(?:NATS_FLUENT|KAFKA_EXPORTER)_[A-Z_]*", text):
        whole = name.rstrip("_")
        if name != whole or whole in ("NATS_FLUENT", "KAFKA_EXPORTER"):
            assert any(each.startswith(name) for each in NAMES), name
        else:
            assert name in NAMES, name
    if page.is_relative_to(TOP / "charts"):
        return  # its keys are those of the chart's values
    for span in spans(page):
        if re.fullmatch(r"[a-z]+\.[a-z_]+", span) and span.partition(".")[0] in SECTIONS:
            assert span in OPTIONS, f"{span} is no setting"


@of_each_page
def test_the_files_that_it_names_are_there(page):
    """What begins with a directory of the repository; NAME stands for any."""
    for span in spans(page):
        if re.fullmatch(rf"({DIRECTORIES})/[\w./-]*", span) and "NAME" not in span:
            assert (TOP / span).exists(), span


@of_each_page
def test_the_metrics_are_there(page):
    for name in re.findall(r"\bnats_fluent_[a-z_]+(?![\w.])", page.read_text("utf-8")):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        assert METRICS & {name, base, base.removesuffix("_total")}, name


@of_each_page
def test_a_command_in_the_prose_is_one(page):
    for span in spans(page):
        program, *words = span.replace("\n", " ").split() or [""]
        if program != "nats-fluent" or not words:
            continue
        name = words[0]
        assert name in COMMANDS or name in OF_ALL or name == "COMMAND", span
        for word in words[1:]:
            if word.startswith("--") and name in FLAGS:
                assert word.partition("=")[0] in FLAGS[name], span


@blocks_of("sh")
def test_a_shell_reads_it(block):
    done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def known_elsewhere(words):
    """That what a command of another program is given of this repository's is there."""
    match words:
        case ["make", target, *_] if "=" not in target:
            assert f"\n{target}:" in (TOP / "Makefile").read_text("utf-8"), target
        case ["tox", "-e", names, *_]:
            for name in names.split(","):
                assert f"[testenv:{name}]" in (TOP / "tox.ini").read_text("utf-8"), name
        case ["python" | "pytest", path, *_] if "/" in path:
            assert (TOP / path).exists(), path
        case ["fluent-bit", "-c", path, *_] if path.startswith("conf/"):
            assert (TOP / path).exists(), path


@blocks_of("sh")
def test_the_commands_can_be_typed(block, settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = commands(block.text)
    for environ, words in found:
        ours = {name: value for name, value in environ.items() if name.startswith("NATS_FLUENT_")}
        flags = {}
        match words:
            case ["nats-fluent", name, *arguments] if name in COMMANDS:
                for word in arguments:
                    if re.fullmatch(r"\w[\w-]*\.\w+", word):
                        (tmp_path / word).touch()
                with COMMANDS[name].make_context(name, arguments) as context:
                    flags = {option.param: context.params.get(option.param) for option in CATALOGUE}
            case ["nats-fluent", word, *_]:
                assert word in OF_ALL
            case _:
                known_elsewhere(words)
        ours = {name: value for name, value in ours.items() if name not in OTHER_NAMES}
        if words[0] == "export" and words is not found[-1].words:
            continue  # what makes the settings whole may be in the lines below
        if ours or any(value is not None for value in flags.values()):
            settings(flags, ours)


@blocks_of("toml")
def test_the_settings_can_be_read(block, settings, tmp_path):
    """But for a pyproject.toml, which the line above it names, and for cases of `nats-fluent test`."""
    if not block.before.endswith("`pyproject.toml`:") and tomllib.loads(block.text).keys() != {"case"}:
        file = tmp_path / "nats-fluent.toml"
        file.write_text(block.text)
        settings({}, {}, file)
    assert tomllib.loads(block.text)


@blocks_of("yaml", "json", "python")
def test_it_is_what_it_says(block):
    if block.language == "python":
        ast.parse(block.text)
    elif block.language == "yaml":
        assert all(isinstance(each, dict | list) for each in yaml.safe_load_all(block.text))
    else:
        json.loads(block.text)


FIGURES = {
    "a budget of memory": f"(`batch.buffer_bytes`, {OPTIONS['batch.buffer_bytes'].show(BatchSettings().buffer_bytes)})",
    "a window": f"`fluent.window` ({FluentSettings().window})",
    "when an acknowledgement is late": f"`fluent.ack_timeout` ({FluentSettings().ack_timeout:.0f} s)",
    "what a delivery costs": f"its payload and {pipeline.DELIVERY_BYTES} bytes",
    "what of a burst is not packed": f"all but the first {inbox.LOOSE:,} messages",
    "what is worked on before the socket": f"after {pipeline.SLICE} messages",
    "what a pull asks for": f"up to {pull.BATCH:,} messages and {pull.PULL_BYTES >> 20} MiB",
    "how many pulls": {2: "two pulls are open at most"}[pull.PULLS],
    "how much of what is free": {0.75: "three quarters of the memory that is free"}[pull.SHARE],
    "what the spool reserves": {25: "up to a quarter of the budget"}[backlog.reserve(100, 100, 100)],
    "the longest wait for a log shipper": f"up to {forward.BACKOFF_MAX:.0f} s at most",
    "how long a handler may block": {60: "beyond a minute the watchdog ends"}[guard.BLOCKED],
}


@pytest.mark.parametrize("what", FIGURES)
def test_the_figures_of_backpressure_are_those_of_the_code(what):
    assert FIGURES[what] in " ".join((TOP / "docs" / "backpressure.md").read_text("utf-8").split())


def test_what_is_wrong_would_be_seen(settings, tmp_path):
    file = tmp_path / "nats-fluent.toml"
    file.write_text('[nats]\nservres = "nats://a"\n')
    with pytest.raises(SettingsError, match="servers"):
        settings({}, {}, file)
    with pytest.raises(SettingsError, match="NATS_FLUENT_NATS_USER"):
        settings({}, {"NATS_FLUENT_NATS_USR": "a"})
    found = commands(
        "export A=1\nB=2 nats-fluent run \\\n  --workers 2 | jq . && make demo  # or not\ncat <<E\nx y\nE\n"
    )
    assert [words for _, words in found] == [
        ["export", "A=1"],
        ["nats-fluent", "run", "--workers", "2"],
        ["jq", "."],
        ["make", "demo"],
        ["cat"],
    ]
    assert found[1].environ == {"A": "1", "B": "2"}
    assert found[2].environ == {"A": "1"}
