"""Where the tests' own programs are looked for, and what a test says that lacks one."""

from __future__ import annotations

import platform
import types

import containers
import pytest
from docker.errors import APIError
from programs import find


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    """What is known of this machine's Docker is neither used nor replaced."""
    monkeypatch.delenv("NATS_FLUENT_REQUIRE", raising=False)
    monkeypatch.setattr(containers, "look_for", containers.look_for.__wrapped__)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The only directory on PATH, in which there is nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def daemon(monkeypatch, **info):
    """A Docker daemon on this machine, but for what `info` says of it."""
    here = {"Name": platform.node(), "SecurityOptions": ["name=seccomp,profile=default"]}
    monkeypatch.setattr(containers, "_daemon_answers", lambda: True)
    monkeypatch.setattr(containers, "_client", lambda: types.SimpleNamespace(info=lambda: here | info))


def test_docker_is_not_asked_for_what_is_on_path(path, monkeypatch):
    program = path / "fluent-bit"
    program.touch(0o755)
    monkeypatch.setattr(containers, "look_for", lambda name: pytest.fail(f"asked for {name}"))
    assert find("fluent-bit") == str(program)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("host", ["unix:///nonexistent", "tcp://127.0.0.1:1"])
def test_what_is_nowhere_is_skipped_with_the_reason(monkeypatch, host):
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(
        pytest.skip.Exception, match=r"fluent-bit not found: install .* \(no Docker daemon answers"
    ):
        find("fluent-bit")


@pytest.mark.usefixtures("path")
def test_what_is_nowhere_fails_when_it_is_required(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    monkeypatch.setenv("NATS_FLUENT_REQUIRE", "node, fluent-bit")
    with pytest.raises(pytest.fail.Exception, match=r"no Docker daemon answers.* \(NATS_FLUENT_REQUIRE"):
        find("fluent-bit")


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    "info",
    [
        {"Name": "docker-desktop"},
        {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]},
        {"SecurityOptions": ["name=userns"]},
    ],
    ids=["elsewhere", "rootless", "user namespaces"],
)
def test_a_daemon_that_does_not_share_this_machine_is_of_no_use(monkeypatch, info):
    daemon(monkeypatch, **info)
    with pytest.raises(pytest.skip.Exception, match="does not share"):
        find("fluent-bit")


@pytest.mark.usefixtures("path")
def test_an_image_that_cannot_be_had_is_named_with_the_reason(monkeypatch):
    def unreachable(*_):
        raise APIError("no such host")

    daemon(monkeypatch)
    monkeypatch.setattr(containers, "_image", unreachable)
    with pytest.raises(pytest.skip.Exception, match=r"fluent/fluent-bit:\S+ cannot be had: no such host"):
        find("fluent-bit")
