"""A local chart repository: both charts, linted and packed, and an index, in one archive. `make helm-repo` runs this.

With the command ``helm`` where it is on PATH, else with the wheel helm-python-sdk, which is Helm's own library.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHARTS = [ROOT / "charts" / "kafka-exporter", ROOT / "swarm" / "swarm-aporeto-kafka-exporter"]
DIRECTORY = "helm-local-repo"
ADDRESS = "127.0.0.1:8880"
ERROR = 3  # Helm's severity


class Command:
    """The command ``helm``, 3 or 4."""

    def __init__(self, path: str) -> None:
        self.path = path

    def _run(self, *args: object) -> None:
        done = subprocess.run(
            [self.path, *map(str, args)],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            sys.exit(done.stdout)

    def lint(self, chart: Path, values: Path) -> None:
        self._run("lint", chart, "--values", values)

    def package(self, chart: Path, directory: Path, version: str) -> None:
        self._run(
            "package", chart, "--version", version, "--app-version", version, "--destination", directory
        )

    def index(self, directory: Path) -> None:
        self._run("repo", "index", directory)


class Library:
    """The wheel."""

    def __init__(self) -> None:
        import helm_python

        self.sdk = helm_python

    def lint(self, chart: Path, values: Path) -> None:
        report = self.sdk.lint(chart, self.sdk.values_from_yaml(values.read_text()))
        errors = [message["error"] for message in report["messages"] if message["severity"] >= ERROR]
        if errors or report["errors"]:
            sys.exit("\n".join([*errors, *(report["errors"] or ())]))

    def package(self, chart: Path, directory: Path, version: str) -> None:
        self.sdk.package(chart, destination=directory, version=version, app_version=version)

    def index(self, directory: Path) -> None:
        self.sdk.repo_index_generate(directory)


def find() -> Command | Library:
    """Return the Helm of this machine."""
    if command := shutil.which("helm"):
        return Command(command)
    if importlib.util.find_spec("helm_python"):
        return Library()
    sys.exit("Helm is not here: install it so that `helm` is on PATH, or pip install helm-python-sdk")


def build(archive: Path, version: str) -> None:
    """Lint the charts with each of their example values, pack them, and write the archive."""
    helm = find()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary) / DIRECTORY
        directory.mkdir()
        for source in CHARTS:
            # Both have a link to conf/, which Helm follows, and tells of each time.
            chart = shutil.copytree(source, Path(temporary) / source.name)
            for values in sorted(chart.glob("ci/*-values.yaml")):
                helm.lint(chart, values)
            helm.package(chart, directory, version)
        helm.index(directory)
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(directory, DIRECTORY)
        for path in sorted(directory.iterdir()):
            print(f"{DIRECTORY}/{path.name}")
    print(f"in {archive.name}")


def serve(archive: Path, address: str) -> None:
    """Serve what is in the archive until Ctrl-C."""
    if not archive.exists():
        sys.exit(f"{archive.name} is not here: `make helm-repo` makes it")
    with tempfile.TemporaryDirectory() as temporary:
        with tarfile.open(archive) as tar:
            tar.extractall(temporary, filter="data")
        directory = Path(temporary) / DIRECTORY
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
        host, _, port = address.partition(":")
        with http.server.ThreadingHTTPServer((host, int(port)), handler) as server:
            print(f"helm repo add kafka-exporter http://{address}", flush=True)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["build", "serve"])
    parser.add_argument("name", help="what the archive's name begins with")
    parser.add_argument("version", help="of the charts and of the image")
    parser.add_argument("--address", default=ADDRESS, help="where to serve (%(default)s)")
    arguments = parser.parse_args()
    archive = Path.cwd() / f"{arguments.name}-{arguments.version}-helm-local-repo.tgz"
    if arguments.what == "build":
        build(archive, arguments.version)
    else:
        serve(archive, arguments.address)


if __name__ == "__main__":
    main()
