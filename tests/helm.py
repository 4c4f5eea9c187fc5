"""Real Helm: the command `helm`, 3 or 4, where it is on PATH, else Helm's own library, which a wheel brings.

Both render, lint, package and index; both say the same. Nothing here speaks to a cluster.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import programs
import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Values = Mapping[str, Any]

KUBE = "1.34.0"
"""The Kubernetes that charts are rendered for where a test does not say: what each Helm assumes differs."""
NAME, NAMESPACE = "kafka-exporter", "events"
WARNING = 2  # Helm's severity

programs.HOW_TO_GET["helm"] = "pip install helm-python-sdk, or install Helm so that `helm` is on PATH"


class HelmError(Exception):
    """What Helm says instead of doing it."""


class Helm(Protocol):
    """What the tests ask of Helm; `values` go over those of the chart."""

    def render(
        self,
        chart: Path,
        values: Values,
        *,
        name: str = NAME,
        kube: str = KUBE,
        apis: Sequence[str] = (),
        upgrade: bool = False,
    ) -> dict[str, str]:
        """The text of each template that gives any, by its path from the chart on; raise HelmError otherwise."""

    def notes(self, chart: Path, values: Values, *, name: str = NAME) -> str:
        """What is printed when the chart is installed."""

    def lint(self, chart: Path, values: Values, *, kube: str = KUBE) -> list[str]:
        """What there is to complain of, warnings included."""

    def package(self, chart: Path, directory: Path, *, version: str) -> Path:
        """Pack the chart, `version` as its own and its program's, and return the archive."""

    def index(self, directory: Path, *, url: str | None = None) -> None:
        """Write the index of a chart repository for the archives in that directory."""


def find() -> Helm:
    """Return the Helm of this machine, or skip (or fail, when `helm` is required) the calling test."""
    if command := shutil.which("helm"):
        return Command(command)
    if importlib.util.find_spec("helm_python"):
        return _library()
    return programs.missing("helm")


def documents(rendered: Mapping[str, str]) -> list[dict[str, Any]]:
    """The objects in what was rendered, in the order of the files' names."""
    texts = [text for path, text in sorted(rendered.items()) if not path.endswith("NOTES.txt")]
    return [found for text in texts for found in yaml.safe_load_all(text) if found]


class Command:
    """The command."""

    def __init__(self, path: str) -> None:
        self.path = path

    def _run(self, *args: str | Path, values: Values | None = None) -> str:
        # Its own directories are not the user's: no plugin, no repository, no cluster.
        with tempfile.TemporaryDirectory(prefix="helm-") as home:
            places = ("CACHE", "CONFIG", "DATA")
            done = subprocess.run(
                [self.path, *map(str, args), *(() if values is None else ("--values", "-"))],
                check=False,
                capture_output=True,
                text=True,
                input=json.dumps(values),
                timeout=60,
                env={"PATH": "/usr/bin:/bin", "HOME": home}
                | {f"HELM_{place}_HOME": home for place in places},
            )
        if done.returncode:
            raise HelmError(done.stderr + done.stdout)
        return done.stdout

    def render(
        self,
        chart: Path,
        values: Values,
        *,
        name: str = NAME,
        kube: str = KUBE,
        apis: Sequence[str] = (),
        upgrade: bool = False,
    ) -> dict[str, str]:
        more = ["--kube-version", kube, *(part for api in apis for part in ("--api-versions", api))]
        more += ["--is-upgrade"] if upgrade else []
        text = self._run("template", name, chart, "--namespace", NAMESPACE, *more, values=values)
        rendered: dict[str, str] = defaultdict(str)
        for part in ("\n" + text).split("\n---\n# Source: ")[1:]:
            path, _, document = part.partition("\n")
            rendered[path] += f"---\n{document}\n"
        return dict(rendered)

    def notes(self, chart: Path, values: Values, *, name: str = NAME) -> str:
        try:
            text = self._run(
                "install", name, chart, "--namespace", NAMESPACE, "--dry-run=client", values=values
            )
        except HelmError as error:
            if "cluster unreachable" in str(error):
                pytest.skip("Helm 3 tells what NOTES.txt says only where it has a cluster")
            raise
        return text.partition("\nNOTES:\n")[2]

    def lint(self, chart: Path, values: Values, *, kube: str = KUBE) -> list[str]:
        try:
            text = self._run("lint", chart, "--strict", "--kube-version", kube, values=values)
        except HelmError as error:
            text = str(error)
        return [line for line in text.splitlines() if line.startswith(("[WARNING]", "[ERROR]", "Error:"))]

    def package(self, chart: Path, directory: Path, *, version: str) -> Path:
        text = self._run("package", chart, "-d", directory, "--version", version, "--app-version", version)
        return Path(text.rpartition(": ")[2].strip())

    def index(self, directory: Path, *, url: str | None = None) -> None:
        self._run("repo", "index", directory, *(("--url", url) if url else ()))


class Library:
    """The wheel helm-python-sdk: Helm 4 as a shared library."""

    def __init__(self) -> None:
        import helm_python  # noqa: PLC0415 - loads 80 MB, which only these tests need

        self.sdk = helm_python

    def _render(self, chart: Path, values: Values, **options: Any) -> dict[str, str]:
        # The SDK's own Chart.render does not pass the version of Kubernetes on, which its library takes.
        from helm_python import _native  # noqa: PLC0415 - as above

        try:
            with self.sdk.Chart.load(chart) as loaded:
                answer = _native.call_string(
                    "helm_render", loaded._raw(), json.dumps(values), json.dumps(options)
                )
        except self.sdk.HelmError as error:
            raise HelmError(str(error)) from None
        return json.loads(answer)

    def render(
        self,
        chart: Path,
        values: Values,
        *,
        name: str = NAME,
        kube: str = KUBE,
        apis: Sequence[str] = (),
        upgrade: bool = False,
    ) -> dict[str, str]:
        options = {"name": name, "namespace": NAMESPACE, "kube_version": kube, "api_versions": list(apis)}
        options |= {"is_upgrade": upgrade, "is_install": not upgrade}
        rendered = self._render(chart, values, **options)
        return {
            path: text for path, text in rendered.items() if text.strip() and not path.endswith("NOTES.txt")
        }

    def notes(self, chart: Path, values: Values, *, name: str = NAME) -> str:
        rendered = self._render(chart, values, name=name, namespace=NAMESPACE, is_install=True)
        return next(text for path, text in rendered.items() if path.endswith("/templates/NOTES.txt"))

    def lint(self, chart: Path, values: Values, *, kube: str = KUBE) -> list[str]:
        report = self.sdk.lint(chart, dict(values), strict=True, kube_version=kube)
        found = [message["error"] for message in report["messages"] if message["severity"] >= WARNING]
        return found + [error for error in report["errors"] or () if error not in found]

    def package(self, chart: Path, directory: Path, *, version: str) -> Path:
        archive = self.sdk.package(chart, destination=directory, version=version, app_version=version)
        return Path(archive)

    def index(self, directory: Path, *, url: str | None = None) -> None:
        self.sdk.repo_index_generate(directory, base_url=url)


@functools.cache
def _library() -> Helm:
    return Library()
