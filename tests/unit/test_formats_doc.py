"""docs/formats.md: its tables of topics can be used, and its example of a format is one."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from pathlib import Path

import msgpack
import pytest
from loading import loaded
from recording import NOW

from nats_fluent.delivery import Delivery
from nats_fluent.errors import SettingsError
from nats_fluent.formats import BUILT_IN
from nats_fluent.recorders import recorder_of
from nats_fluent.sections import RecordSettings
from nats_fluent.settings import Settings
from nats_fluent.topics import Topic

DOC = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
TOML, PYTHON = (re.findall(rf"```{kind}\n(.*?)```", DOC, re.DOTALL) for kind in ("toml", "python"))


def install(directory, entry_points, **modules):
    """Put modules there, and the metadata that an installer would."""
    for name, text in modules.items():
        (directory / f"{name}.py").write_text(text)
    info = directory / "shop_formats-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-formats\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in entry_points.items())
    (info / "entry_points.txt").write_text(f"[nats_fluent.formats]\n{lines}")


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("shop_formats", None)


def recorder(name):
    settings = Settings(topics=(Topic("logs.>", "logs", format=name, key="shop"),))
    return recorder_of(settings, "run", levels=None)


def test_the_example_of_a_format(directory):
    install(
        directory,
        tomllib.loads(TOML[1])["project"]["entry-points"]["nats_fluent.formats"],
        shop_formats=PYTHON[0],
    )

    def fields(payload):
        return msgpack.unpackb(recorder("shoplog").record(Delivery("logs", "logs.a", payload), NOW).packed)

    found = fields(b"level=warn shop=eu it is late")
    assert found["content"] == {"level": "warn", "shop": "eu", "text": "it is late"}
    assert (found["identity"], found["operation"], found["key"]) == ("log", "warn", "eu")
    assert fields(b"it is late")["error"] == "shoplog: no level"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("jsn", "format: 'jsn' is not known; did you mean json?"),
        (
            "zzz",
            (
                "format: 'zzz' is not known; write one of publication, json, msgpack, text, raw, cloudevents, auto, "
                "broken, none, number"
            ),
        ),
        (
            "none",
            "format: none (shop_none:x) cannot be loaded: ModuleNotFoundError: No module named 'shop_none'",
        ),
        ("broken", "format: broken (shop_formats:f) cannot be loaded: ZeroDivisionError: division by zero"),
        ("number", "format: number (shop_number:n) is no function"),
    ],
)
def test_a_format_that_cannot_be_used(directory, name, problem):
    names = {"none": "shop_none:x", "broken": "shop_formats:f", "number": "shop_number:n"}
    install(directory, names, shop_formats="1 / 0", shop_number="n = 1")
    with pytest.raises(SettingsError) as caught:
        recorder(name)
    assert str(caught.value) == problem
    with pytest.raises(SettingsError):
        recorder_of(Settings(record=RecordSettings(format=name)), "run", levels=None)


def test_the_topics_of_the_page(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(TOML[0])
    topics = loaded(file=file).settings.topics
    assert [topic.format for topic in topics] == ["json", "text"]
    assert topics[0].places == {
        "time": "placed_at",
        "key": "order.id",
        "identity": "order.kind",
        "operation": "subject:3",
        "namespace": "header:X-Shop",
    }


def test_every_format_has_a_row():
    rows = re.findall(r"^\| `(\w+)` \|", DOC.partition("## Where")[0], re.MULTILINE)
    assert rows == ["publication", *BUILT_IN]
