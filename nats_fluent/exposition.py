"""The metrics as text, for Prometheus and for readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from nats_fluent.facts import Times
from nats_fluent.metrics import CATALOGUE, PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric as Family

    from nats_fluent.facts import Facts
    from nats_fluent.metrics import Metric, Value


class _Facts(Collector):
    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Family]:
        for metric in CATALOGUE:
            if values := list(metric.read(self._facts)):
                yield _family(metric, values)


def _family(metric: Metric, values: Iterable[tuple[tuple[str, ...], Value]]) -> Family:
    name, meaning, labels = PREFIX + metric.name, metric.meaning, metric.labels
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, meaning, labels=labels)
        for shown, times in values:
            assert isinstance(times, Times), metric
            histogram.add_metric(shown, times.buckets, times.total)
        return histogram
    family = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(
        name, meaning, labels=labels
    )
    for shown, value in values:
        assert not isinstance(value, Times), metric
        family.add_metric(shown, float(value))
    return family


def render(facts: Facts, accept: str = "") -> tuple[bytes, str]:
    """Return the metrics as text, and its content type.

    Args:
        facts: what is known now.
        accept: the header of that name, which can ask for OpenMetrics.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Facts(facts))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def document() -> str:
    """Return docs/metrics.md."""
    rows = [
        "| `{}` | {} | {} | {} |".format(
            PREFIX + metric.name,
            metric.kind,
            ", ".join(f"`{label}`" for label in metric.labels),
            metric.meaning.replace("|", "\\|"),
        )
        for metric in CATALOGUE
    ]
    return "\n".join([_HEAD, "| name | type | labels | meaning |", "| --- | --- | --- | --- |", *rows, ""])


_HEAD = """\
# Metrics

<!-- python -c "from nats_fluent import exposition; print(exposition.document(), end='')" > docs/metrics.md -->

With `NATS_FLUENT_HTTP_LISTEN=0.0.0.0:9464`, `GET /metrics` has these, in the text format of Prometheus or, for a
scraper that asks for it, as OpenMetrics; beside them the `process_...` metrics of Python's Prometheus client (CPU,
memory, open files, start time; on Linux). Those of the spool and of JetStream are there when these are in use.

- All count since the process started, and cost nothing until somebody asks: the way of a publication adds to integers.
- A topic is one of the setting `topics`, or with JetStream the subject where no topic is for it. After the first 100
  topics, all further ones are counted as `other`.
- The two histograms have one observation for each chunk, not for each publication: up to 500 publications
  (`batch.max_records`) share one. End to end is measured from the chunk's first publication, which waited longest, and
  from the publisher's clock: clocks that differ show there, and what is older than it seems (a stream that is read from
  its beginning) does, too.
- Identity and operation are the publisher's words: the first 100 combinations with a topic have a series each, without
  those of more than 64 characters; all further ones of a topic are counted as `other`. Those of a topic add up to its
  decoded publications.
- `nats_fluent_stalled_seconds` over 5, and `nats_fluent_nats_silent_seconds` over 0, turn `/readyz` to 503: a log
  shipper or a server that is paused still holds its connections.
- `nats_fluent_nats_cut_off_total` counts where the next connection is to the same server: [operate.md](operate.md) says
  what it cannot see.
"""
