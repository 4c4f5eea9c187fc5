"""The files that users edit, read by a real Fluent Bit, and one form of them held to the other."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
import ways
import yaml
from programs import PATIENCE, find

OUTPUTS = sorted(path.stem for path in (ways.CONF / "output.d").glob("*.conf"))
NO_DEFAULT = {"KAFKA_BROKERS": "127.0.0.1:9092", "S3_BUCKET": "bucket"}


@pytest.mark.parametrize("form", ["conf", "yaml"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_the_one_line_chooses_the_output(tmp_path, output, form):
    main = ways.configured(tmp_path, f"{output}.{form}")
    done = subprocess.run(
        [find("fluent-bit"), "-c", str(main), "--dry-run"],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | NO_DEFAULT,
    )
    assert done.returncode == 0, done.stderr
    assert "configuration test is successful" in done.stdout + done.stderr


@pytest.mark.parametrize("form", ["conf", "yaml"])
def test_a_setting_that_the_output_does_not_have_fails(tmp_path, form):
    """So that the test above can fail."""
    main = ways.configured(tmp_path, f"stdout.{form}")
    file = main.parent / "output.d" / f"stdout.{form}"
    text = re.sub("(?i)format", "fromat", file.read_text())
    assert "fromat" in text
    file.write_text(text)
    done = subprocess.run([find("fluent-bit"), "-c", str(main), "--dry-run"], check=False, timeout=PATIENCE)
    assert done.returncode != 0


def test_the_outputs_that_the_documentation_names_are_there():
    text = (ways.ROOT / "docs" / "outputs.md").read_text()
    missing = [output for output in OUTPUTS if f"output.d/{output}.conf" not in text]
    assert not missing


def test_both_forms_say_the_same():
    main = classic("fluent-bit.conf")
    assert main == of_yaml("fluent-bit.yaml")
    assert [name for name, _ in main] == ["service", "input"]
    for output in OUTPUTS:
        sections = classic(f"output.d/{output}.conf")
        assert sections == of_yaml(f"output.d/{output}.yaml"), output
        assert [name for name, _ in sections] == ["output"]
    forms = {path.suffix: path for path in (ways.CONF / "output.d").iterdir()}
    assert forms.keys() == {".conf", ".yaml"}


def classic(name):
    """The sections of a file in Fluent Bit's own form: names in lower case, in the order of the file."""
    sections = []
    for line in (ways.CONF / name).read_text().splitlines():
        match line.strip():
            case "":
                pass
            case str(text) if text.startswith(("#", "@INCLUDE ")):
                pass
            case str(text) if text.startswith("["):
                sections.append((text.strip("[]").lower(), {}))
            case str(text):
                key, value = text.split(maxsplit=1)
                assert key.lower() not in sections[-1][1], text
                sections[-1][1][key.lower()] = plain(value)
    return sections


def of_yaml(name):
    """The same of a file in YAML."""
    content = yaml.safe_load((ways.CONF / name).read_text())
    sections = [("service", content["service"])] if "service" in content else []
    for kind in ("input", "output"):
        sections += [(kind, plugin) for plugin in content["pipeline"].get(f"{kind}s", ())]
    return [(kind, {key: plain(value) for key, value in plugin.items()}) for kind, plugin in sections]


def plain(value):
    """What Fluent Bit makes of a value: text, with switches in lower case."""
    text = {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    return text.lower() if text.lower() in {"on", "off", "true", "false"} else text
