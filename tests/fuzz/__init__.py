"""Fuzzers; see `engine`."""
