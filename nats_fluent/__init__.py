"""NATS publications to Fluent Bit and Fluentd, decoded, tagged and acknowledged."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nats_fluent.errors import Undecodable
    from nats_fluent.objects import Object
    from nats_fluent.published import Event, Publication
    from nats_fluent.transforms import Record, on

__version__ = "0.1.0"
__all__ = ["Event", "Object", "Publication", "Record", "Undecodable", "__version__", "on"]

_PLACES = {
    "Event": "published",
    "Object": "objects",
    "Publication": "published",
    "Record": "transforms",
    "Undecodable": "errors",
    "on": "transforms",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is used: a program that wants the version alone imports nothing else."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
