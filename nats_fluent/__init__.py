"""NATS publications to Fluent Bit and Fluentd, decoded, tagged and acknowledged."""

__version__ = "0.1.0"
__all__ = ["__version__"]
