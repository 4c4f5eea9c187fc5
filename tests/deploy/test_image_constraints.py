"""constraints/: what the image is made of, and the Dockerfile that installs nothing else."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def pins(name):
    """The version of each package, by its name."""
    text = (ROOT / "constraints" / name).read_text()
    entries = re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    found = {}
    for entry in entries:
        package, version = re.match(r"([\w.-]+)==(\S+) \\\n", entry).groups()
        assert HASH.search(entry), package
        found[canonicalize_name(package)] = version
    return found


def ours():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = parser["options"]["install_requires"].splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def build():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]


@pytest.mark.parametrize(
    ("name", "needs"), [("run.txt", ours()), ("build.txt", build()), ("sbom.txt", ["cyclonedx-bom>=7"])]
)
def test_what_is_needed_is_pinned_to_a_version_that_will_do(name, needs):
    """`make constraints` writes them anew."""
    assert needs
    pinned = pins(name)
    for need in map(Requirement, needs):
        assert need.specifier.contains(pinned[canonicalize_name(need.name)]), need


@pytest.mark.parametrize("name", ["run.txt", "build.txt", "sbom.txt"])
def test_where_packages_come_from_is_left_to_who_builds(name):
    assert "://" not in (ROOT / "constraints" / name).read_text()


def test_the_dockerfile_installs_by_hash_or_offline():
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    commands = [part for line in text.splitlines() if line.startswith("RUN ") for part in line.split("&&")]
    installs = [part for part in commands if re.search(r"\bpip .*\b(install|wheel) --", part)]
    assert len(installs) == 6
    assert all("--require-hashes" in part or "--no-index" in part for part in installs)
