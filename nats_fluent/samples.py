"""Sample publications of every topic, as the platform's Go libraries write them.

The objects have the keys and the types of gaia as of 2024; `nats_fluent.writing` writes them. What they say is
invented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from nats_fluent import writing
from nats_fluent.plain import rfc3339
from nats_fluent.writing import JSON, MSGPACK

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS = "squall-events"
ACTIVITIES = "activities"
FLOWS = "external-flowreports"
AUDITS = "external-auditreports"
FILES = "external-fileaccessreports"
LOGS = "external-eventlogs"

_SECOND = 1_000_000_000
_ZERO = "0001-01-01T00:00:00Z"  # Go's zero time, where an object travels as JSON-like values
_NAMESPACES = ("/harbour/eu/checkout", "/harbour/eu/search", "/harbour/us/payments", "/lighthouse/lab")
_HOSTS = ("quay-01", "quay-02", "crane-07", "pilot-boat-3")


class Sample(NamedTuple):
    """One publication.

    Attributes:
        kind: its name in `KINDS`.
        topic: the topic, which is also the subject.
        payload: the bytes.
    """

    kind: str
    topic: str
    payload: bytes


class _Making:
    """What varies from one publication to the next; the arguments are those of `sample`."""

    def __init__(self, number: int, now_ns: int, encoding: str) -> None:
        self.number = number
        self.now_ns = now_ns
        self.encoding = encoding
        self.namespace = self.pick(_NAMESPACES)
        self.host = self.pick(_HOSTS)

    def pick(self, choices: tuple[Any, ...]) -> Any:  # noqa: ANN401 - one of the choices
        return choices[self.number // len(KINDS) % len(choices)]

    def id(self, kind: int) -> str:
        """Return an ID in MongoDB's form: seconds, machine, counter. Those of one round belong together."""
        return f"{0x65A0B000 + kind:08x}9c3e77a1d4{self.number // len(KINDS):06x}"

    def at(self, ago: float = 0) -> object:
        """Return the time `ago` seconds before the publication, in the form of its encoding."""
        seconds, ns = divmod(self.now_ns - int(ago * _SECOND), _SECOND)
        return rfc3339(seconds, ns) if self.encoding == JSON else msgpack.Timestamp(seconds, ns)

    def tags(self, identity: str, id: str, name: str) -> list[str]:  # noqa: A002 - as it is called
        return [
            f"$id={id}",
            f"$identity={identity}",
            f"$name={name}",
            f"$namespace={self.namespace}",
            "@cloud:zone=eu-central-1a",
        ]


def sample(number: int, now_ns: int) -> Sample:
    """Make the publication of that number: the kinds take turns, IDs and places vary.

    Args:
        number: from 0.
        now_ns: its time, nanoseconds since 1970.
    """
    kind = tuple(KINDS)[number % len(KINDS)]
    topic, encoding, make = KINDS[kind]
    making = _Making(number, now_ns, encoding)
    return Sample(kind, topic, writing.envelope(make(making), topic, encoding=encoding))


def _object(making: _Making, value: dict[str, Any]) -> bytes:
    return writing.encode(value, making.encoding)


def _event(making: _Making, operation: str, identity: str, entity: dict[str, Any]) -> bytes:
    return writing.event(identity, operation, entity, making.at(), encoding=making.encoding)


def _enforcer(making: _Making, status: str, *, unset: object = None) -> dict[str, Any]:
    """Describe an enforcer; `unset` is how a time that was never set is written."""
    id_, name = making.id(1), making.host
    return {
        "FQDN": f"{name}.harbour.example",
        "ID": id_,
        "annotations": {},
        "associatedTags": ["rack=b12"],
        "certificate": "",
        "certificateRequest": "",
        "collectInfo": False,
        "collectedInfo": {"kernel": "6.1.0", "uptime": "301h"},
        "controller": "controller-eu-1",
        "createTime": making.at(86_400),
        "currentVersion": "5.0.12",
        "description": f"Watches over {name}",
        "detectedHostModeContainers": False,
        "enforcementStatus": "Active",
        "lastCollectionID": "",
        "lastCollectionTime": unset,
        "lastMigrationTime": unset,
        "lastSyncTime": making.at(1.5),
        "localCA": "",
        "logLevel": "Info",
        "logLevelDuration": "10s",
        "machineID": f"0F1E2D3C-4B5A-6978-8796-{making.number:012X}",
        "metadata": [],
        "migrationStatus": "None",
        "name": name,
        "namespace": making.namespace,
        "nextAvailableVersion": "",
        "normalizedTags": making.tags("enforcer", id_, name),
        "operationalStatus": status,
        "protected": False,
        "publicToken": "",
        "startTime": making.at(3_600),
        "subnets": ["10.20.0.0/16"],
        "unreachable": status == "Disconnected",
        "updateTime": making.at(0.2),
    }


def _enforcer_created(making: _Making) -> bytes:
    return _event(making, "create", "enforcer", _enforcer(making, "Registered"))


def _enforcer_updated(making: _Making) -> bytes:
    status = making.pick(("Connected", "Disconnected"))
    return _event(making, "update", "enforcer", _enforcer(making, status))


def _processing_unit_created(making: _Making) -> bytes:
    id_, name = making.id(2), f"cart-{making.number:05d}"
    return _event(
        making,
        "create",
        "processingunit",
        {
            "ID": id_,
            "annotations": {"owner": ["shop"]},
            "associatedTags": [],
            "collectInfo": False,
            "collectedInfo": {},
            "controller": "controller-eu-1",
            "createTime": making.at(0.4),
            "datapathType": "Aporeto",
            "description": "",
            "enforcementStatus": "Active",
            "enforcerID": making.id(1),
            "enforcerNamespace": making.namespace,
            "image": "registry.harbour.example/cart:2.14",
            "images": ["registry.harbour.example/cart:2.14"],
            "lastCollectionTime": None,
            "lastLocalTimestamp": None,
            "lastSyncTime": making.at(0.3),
            "metadata": ["@app:k8s:name=cart"],
            "name": name,
            "namespace": making.namespace,
            "nativeContextID": f"{making.number:012x}",
            "networkServices": [{"ports": "8443", "protocol": 6, "targetPorts": ["https"]}],
            "normalizedTags": making.tags("processingunit", id_, name),
            "operationalStatus": "Running",
            "protected": False,
            "tracing": {
                "IPTables": False,
                "applicationConnections": False,
                "interval": "10s",
                "networkConnections": False,
            },
            "type": "Docker",
            "updateTime": making.at(0.3),
            "vulnerabilityLevel": "",
        },
    )


def _namespace_deleted(making: _Making) -> bytes:
    id_, name = making.id(3), f"{making.namespace}/preview-{making.number}"
    return _event(
        making,
        "delete",
        "namespace",
        {
            "ID": id_,
            "JWTCertificateType": "None",
            "JWTCertificates": {},
            "SSHCAEnabled": False,
            "annotations": {},
            "associatedSSHCAID": "",
            "associatedTags": [],
            "createTime": making.at(7_200),
            "customZoning": False,
            "defaultEnforcerVersion": "",
            "defaultPUIncomingTrafficAction": "Inherit",
            "defaultPUOutgoingTrafficAction": "Inherit",
            "description": "Preview <of a pull request> & gone again",
            "localCAEnabled": False,
            "metadata": [],
            "name": name,
            "namespace": making.namespace,
            "networkAccessPolicyTags": [],
            "normalizedTags": making.tags("namespace", id_, name),
            "organizationalMetadata": [],
            "protected": False,
            "serviceCertificateValidity": "168h",
            "tagPrefixes": [],
            "type": "Default",
            "updateTime": making.at(60),
            "zoning": 1,
        },
    )


def _activity(making: _Making) -> bytes:
    # What was changed travels in it as JSON-like values: times are text, also in msgpack.
    as_text = _Making(making.number, making.now_ns, JSON)
    after, before = (_enforcer(as_text, status, unset=_ZERO) for status in ("Connected", "Disconnected"))
    return _object(
        making,
        {
            "ID": "",
            "claims": ["@auth:realm=certificate", "@auth:commonname=harbour-master"],
            "data": after,
            "date": making.at(),
            "diff": "",
            "error": None,
            "message": f"Updated enforcer with ID {after['ID']}",
            "namespace": making.namespace,
            "operation": "update",
            "originalData": before,
            "source": "10.20.4.7:51122",
            "targetIdentity": "enforcer",
        },
    )


def _flow(making: _Making) -> bytes:
    accepted = making.encoding == MSGPACK
    report = {
        "ID": "",
        "action": "Accept" if accepted else "Reject",
        "destinationID": making.id(2),
        "destinationIP": "10.20.8.31",
        "destinationNamespace": making.namespace,
        "destinationPort": 8443,
        "destinationType": "ProcessingUnit",
        "enforcerID": making.id(1),
        "namespace": making.namespace,
        "observedAction": "NotApplicable",
        "policyID": making.id(4),
        "policyNamespace": "/harbour",
        "protocol": 6,
        "serviceType": "NotApplicable",
        "sourceID": making.id(5),
        "sourceIP": "10.20.9.114",
        "sourceNamespace": making.namespace,
        "sourceType": "ProcessingUnit",
        "timestamp": making.at(0.7),
        "value": 1 + making.number % 40,
    }
    return _object(making, report if accepted else report | {"dropReason": "policy"})


def _audit(making: _Making) -> bytes:
    return _object(
        making,
        {
            "AUID": "1000",
            "CWD": "/srv/cart",
            "EXE": "/usr/bin/openssl",
            "GID": 2000,
            "ID": "",
            "PID": 4000 + making.number,
            "PPID": 3999,
            "UID": 2000,
            "a0": "7ffc01d2",
            "arch": "x86_64",
            "arguments": ["openssl", "version"],
            "auditProfileID": making.id(6),
            "auditProfileNamespace": "/harbour",
            "command": "openssl",
            "enforcerID": making.id(1),
            "enforcerNamespace": making.namespace,
            "exit": -13,
            "processingUnitID": making.id(2),
            "processingUnitNamespace": making.namespace,
            "recordType": "Syscall",
            "sequence": making.number,
            "syscall": "openat",
            "timestamp": making.at(0.1),
        },
    )


def _file_access(making: _Making) -> bytes:
    return _object(
        making,
        {
            "ID": "",
            "action": "Accept",
            "host": making.host,
            "mode": "rw",
            "path": f"/srv/cart/orders/Größe-{making.number}.json",
            "processingUnitID": making.id(2),
            "processingUnitNamespace": making.namespace,
            "timestamp": making.at(0.05),
        },
    )


def _event_log(making: _Making) -> bytes:
    return _object(
        making,
        {
            "ID": making.id(7),
            "category": "enforcer:sync",
            "content": f"{making.host} asked again after 3 attempts:\n\tno answer",
            "date": making.at(0.01),
            "level": "Warning",
            "namespace": making.namespace,
            "opaque": '{"attempt":3}',
            "targetID": making.id(1),
            "targetIdentity": "enforcer",
            "title": "Policies came late",
        },
    )


KINDS: dict[str, tuple[str, str, Callable[[_Making], bytes]]] = {
    "enforcer created": (EVENTS, MSGPACK, _enforcer_created),
    "activity": (ACTIVITIES, MSGPACK, _activity),
    "flow accepted": (FLOWS, MSGPACK, _flow),
    "audit report": (AUDITS, MSGPACK, _audit),
    "file access report": (FILES, MSGPACK, _file_access),
    "event log": (LOGS, MSGPACK, _event_log),
    "enforcer updated": (EVENTS, MSGPACK, _enforcer_updated),
    "processing unit created": (EVENTS, MSGPACK, _processing_unit_created),
    "namespace deleted": (EVENTS, JSON, _namespace_deleted),
    "flow rejected": (FLOWS, JSON, _flow),
}
"""The kinds of publication in the order in which they take turns: topic, encoding of the content, content."""
