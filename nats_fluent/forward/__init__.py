"""The Fluent Forward protocol v1, the client's side, without I/O.

Specification: https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1
"""
