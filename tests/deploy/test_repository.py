"""`make helm-repo` and `make helm-serve`: a chart repository in an archive, made by each Helm of this machine."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import helm
import pytest
import yaml
from programs import HOW_TO_GET, Program, find, free_port, started

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "charts" / "repository.py"
CHARTS = {"kafka-exporter": "charts", "swarm-aporeto-kafka-exporter": "swarm"}
ARCHIVE = "events-9.8.7-helm-local-repo.tgz"
HOW_TO_GET["make"] = "install make"


def helms():
    """The ways to have Helm: what PATH is, for each that is here."""
    found = {}
    if command := shutil.which("helm"):
        found["command"] = str(Path(command).parent)
    if importlib.util.find_spec("helm_python"):
        found["library"] = ""
    return found or {"none": ""}


def run(directory, path, *args):
    return subprocess.run(
        [sys.executable, str(PROGRAM), *args],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=directory,
        env={"PATH": path or "/nonexistent", "HOME": str(directory)},
    )


@pytest.fixture(scope="module", params=helms())
def repository(request, tmp_path_factory):
    """The directory of the archive, and PATH."""
    helm.find()
    directory, path = tmp_path_factory.mktemp(request.param), helms()[request.param]
    done = run(directory, path, "build", "events", "9.8.7")
    assert done.returncode == 0, done.stderr
    return directory, path


def members(archive):
    """What is in an archive, by name."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}


def test_the_archive_holds_both_charts_and_an_index_of_them(repository):
    found = members((repository[0] / ARCHIVE).read_bytes())
    archives = {f"helm-local-repo/{name}-9.8.7.tgz": name for name in CHARTS}
    assert found.keys() == archives.keys() | {"helm-local-repo/index.yaml"}
    index = yaml.safe_load(found["helm-local-repo/index.yaml"])["entries"]
    assert index.keys() == CHARTS.keys()
    for path, name in archives.items():
        (entry,) = index[name]
        assert (entry["version"], entry["appVersion"]) == ("9.8.7", "9.8.7")
        assert entry["digest"] == hashlib.sha256(found[path]).hexdigest()
        assert entry["urls"] == [f"{name}-9.8.7.tgz"]  # beside the index, wherever that is served


def test_a_chart_brings_the_files_of_conf_and_not_those_of_its_tests(repository):
    found = members((repository[0] / ARCHIVE).read_bytes())
    for name in CHARTS:
        chart = members(found[f"helm-local-repo/{name}-9.8.7.tgz"])
        for path in (
            "fluent-bit.conf",
            *(f"output.d/{one.name}" for one in (ROOT / "conf/output.d").glob("*.conf")),
        ):
            assert chart[f"{name}/conf/{path}"] == (ROOT / "conf" / path).read_bytes()
        assert f"{name}/values.schema.json" in chart
        assert not [path for path in chart if path.startswith((f"{name}/ci/", f"{name}/conf/nats-fluent"))]
    assert "swarm-aporeto-kafka-exporter/create-objects.sh" in chart


def test_helm_pulls_from_what_is_served(repository):
    directory, path = repository
    port = free_port()
    address = f"127.0.0.1:{port}"
    serve = [sys.executable, str(PROGRAM), "serve", "events", "9.8.7", "--address", address]
    program = Program(["sh", "-c", 'cd "$0" && exec "$@"', str(directory), *serve], directory)
    with started(program):
        program.wait_listening(port)
        for name in CHARTS:
            pull(directory, path, name, f"http://{address}")
            with tarfile.open(directory / f"{name}-9.8.7.tgz") as tar:
                chart = yaml.safe_load(tar.extractfile(f"{name}/Chart.yaml"))
            assert (chart["name"], chart["version"]) == (name, "9.8.7")
    text = program.stdout.read_text()
    assert text == f"helm repo add kafka-exporter http://{address}\n"


def pull(directory, path, name, url):
    if not path:
        import helm_python  # noqa: PLC0415 - where there is a command, it may not be there

        helm_python.pull(name, repo_url=url, version="9.8.7", destination=directory)
        return
    command = [shutil.which("helm", path=path), "pull", name, "--repo", url, "--version", "9.8.7"]
    environ = {"HOME": str(directory), "PATH": path}
    subprocess.run([*command, "--destination", str(directory)], check=True, timeout=60, env=environ)


def test_a_version_that_is_none_makes_nothing(repository, tmp_path):
    done = run(tmp_path, repository[1], "build", "events", "latest")
    assert done.returncode != 0
    assert "ersion" in done.stderr
    assert not list(tmp_path.glob("*.tgz"))


def test_what_was_not_built_is_not_served(tmp_path):
    done = run(tmp_path, "", "serve", "events", "9.8.7")
    assert (done.returncode, done.stderr) == (1, f"{ARCHIVE} is not here: `make helm-repo` makes it\n")


def make(*args, fails=False):
    """What make would do, or says."""
    done = subprocess.run(
        [find("make"), "--no-print-directory", *args],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


def test_the_image_has_the_name_that_the_charts_expect():
    text = make("--dry-run", "image", "PROJECT_VERSION=9.8.7")
    assert " --tag kafka-exporter:9.8.7 ." in text
    assert " --build-arg VERSION=9.8.7 " in text


def test_push_names_the_registry_once():
    text = make("--dry-run", "push", "DOCKER_REGISTRY=registry.example/me/", "PROJECT_VERSION=9.8.7")
    assert "docker build " in text
    assert text.splitlines()[-1] == "docker push registry.example/me/kafka-exporter:9.8.7"


def test_push_asks_where_to():
    assert "Set DOCKER_REGISTRY to where the image goes" in make("push", fails=True)
