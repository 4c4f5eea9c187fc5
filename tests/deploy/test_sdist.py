"""The source distribution, from which pip builds where there is no wheel.

The compiled part is optional: if one of its files were missing there, it would be left out without a word.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_has_all_sources_of_the_compiled_part(tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "nats_fluent", tree / "nats_fluent", ignore=shutil.ignore_patterns("*.so"))
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    build = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=tree, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        there = {name.partition("/")[2] for name in opened.getnames()}
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "nats_fluent").glob("*.[ch]")}
    assert len(expected) > 2
    assert expected <= there
    assert "nats_fluent/conf/fluent-bit.conf" in there
