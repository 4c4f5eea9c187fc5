"""A pod that a chart renders, as far as this machine can play it: its files where the kubelet would put them.

Mounted paths become directories of the test; they are replaced wherever a container names them.
"""

from __future__ import annotations

import base64
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import helm
import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

CHART = Path(__file__).parents[2] / "charts" / "kafka-exporter"
CI = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
"""The value files that the chart is tried with."""
FLAVORS = ("fluent-bit", "fluentd")
NAMED = dict.fromkeys(("fieldRef", "secretKeyRef", "configMapKeyRef"), "from-the-cluster")
"""What a variable is that only a cluster could tell."""


@functools.cache
def ci(name: str, kube: str = helm.KUBE) -> tuple[dict[str, Any], ...]:
    """The objects that the chart renders for one of its value files."""
    values = yaml.safe_load(CI[name].read_text("utf-8"))
    return tuple(helm.documents(helm.find().render(CHART, values, kube=kube)))


def rendered(values: Mapping[str, Any], **how: Any) -> list[dict[str, Any]]:
    """The objects that the chart renders for these values."""
    return helm.documents(helm.find().render(CHART, values, **how))


def of_kind(documents: Any, kind: str) -> dict[str, Any]:
    """The one object of that kind."""
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def workload(documents: Any) -> dict[str, Any]:
    """The Deployment or StatefulSet."""
    (found,) = [document for document in documents if document["kind"] in {"Deployment", "StatefulSet"}]
    return found


def pod(documents: Any) -> dict[str, Any]:
    """Its pod's spec."""
    return workload(documents)["spec"]["template"]["spec"]


def container(documents: Any, name: str) -> dict[str, Any]:
    """A container of it, sidecar or not."""
    (found,) = [one for one in _containers(documents) if one["name"] == name]
    return found


def _containers(documents: Any) -> list[dict[str, Any]]:
    spec = pod(documents)
    return [*spec.get("initContainers", ()), *spec["containers"]]


def environ(documents: Any, name: str) -> dict[str, str]:
    """Its environment."""
    return {
        variable["name"]: variable.get("value") or NAMED[next(iter(variable["valueFrom"]))]
        for variable in container(documents, name)["env"]
    }


class Played:
    """The volumes of a rendered pod, on this machine.

    Args:
        documents: what was rendered.
        directory: where its volumes go.
        secrets: the keys of the Secrets that are not of the chart, by name.
    """

    def __init__(
        self, documents: Any, directory: Path, secrets: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        self.documents = documents
        self.directory = directory
        self.secrets = dict(secrets or {})
        (self.shipper,) = [one["name"] for one in _containers(documents) if one["name"] in FLAVORS]
        for document in documents:
            if document["kind"] == "Secret":
                data = {key: base64.b64decode(text).decode() for key, text in document["data"].items()}
                self.secrets[document["metadata"]["name"]] = data
        self.maps = {
            document["metadata"]["name"]: document["data"]
            for document in documents
            if document["kind"] == "ConfigMap" and "data" in document
        }
        for volume in pod(documents)["volumes"]:
            self._make(volume)

    def _make(self, volume: Mapping[str, Any]) -> None:
        place = self.directory / volume["name"]
        place.mkdir()
        if "projected" in volume:
            for source in volume["projected"]["sources"]:
                for item in source["secret"]["items"]:
                    text = self.secrets[source["secret"]["name"]][item["key"]]
                    (place / item["path"]).write_text(text)
        elif "secret" in volume:
            for key, text in self.secrets[volume["secret"]["secretName"]].items():
                (place / key).write_text(text)
        elif volume.get("configMap", {}).get("name") in self.maps:
            self._project(place, volume["configMap"])

    def _project(self, place: Path, config: Mapping[str, Any]) -> None:
        """As the kubelet does it: all files in a directory of a day, and links to them through one that is swapped."""
        day = place / "..2024_05_03_10_00_00.1234"
        day.mkdir()
        (place / "..data").symlink_to(day.name)
        data = self.maps[config["name"]]
        for item in config.get("items", [{"key": key, "path": key} for key in data]):
            file = day / item["path"]
            file.parent.mkdir(exist_ok=True)
            file.write_text(self.here(self.shipper, data[item["key"]]))
            first = place / Path(item["path"]).parts[0]
            if not first.is_symlink():
                first.symlink_to(Path("..data") / first.name)

    def here(self, name: str, text: str) -> str:
        """Text in which that container's mounted paths are those of this machine."""
        places = {
            mount["mountPath"]: str(self.directory / mount["name"] / mount.get("subPath", "")).rstrip("/")
            for mount in container(self.documents, name).get("volumeMounts", ())
        }
        paths = "|".join(map(re.escape, sorted(places, key=len, reverse=True)))
        return re.sub(rf"(?<![\w.-])({paths})\b", lambda found: places[found[1]], text) if paths else text

    def environ(self, name: str) -> dict[str, str]:
        """The environment of that container, with paths of this machine."""
        return {key: self.here(name, value) for key, value in environ(self.documents, name).items()}
