"""The metrics as text, for Prometheus and for readers."""

from __future__ import annotations

import resource
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


_CPU = "process_cpu_seconds_total"
_ADDED = (_CPU, "process_virtual_memory_bytes", "process_resident_memory_bytes", "process_open_fds")


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


class _Processes(Collector):
    """What the system says of this process, and where there are several workers, of all of them together."""

    def __init__(self, others: list[int]) -> None:
        self._others = others

    def collect(self) -> Iterator[Family]:
        found = list(_processes())
        workers = [_values(_processes(pid)) for pid in self._others]
        for family in found:
            (sample,) = family.samples
            if workers and sample.name in _ADDED:
                more = sum(values.get(sample.name, 0.0) for values in workers)
                if sample.name == _CPU:  # of those that have ended: a total does not go back
                    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
                    more += ended.ru_utime + ended.ru_stime
                family.samples = [sample._replace(value=sample.value + more)]
            yield family


def _processes(pid: int | None = None) -> Iterable[Family]:
    return ProcessCollector(pid=(lambda: pid) if pid else (lambda: "self"), registry=None).collect()


def _values(families: Iterable[Family]) -> dict[str, float]:
    return {sample.name: sample.value for family in families for sample in family.samples}


def render(facts: Facts, accept: str = "") -> tuple[bytes, str]:
    """Return the metrics as text, and its content type.

    Args:
        facts: what is known now.
        accept: the header of that name, which can ask for OpenMetrics.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Facts(facts))
    registry.register(_Processes([each.pid for each in facts.workers if each.pid]))
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
- With several workers ([scaling.md](scaling.md)) there is one endpoint for all of them. Counts, bytes and records are
  added up, ages are the longest, and a connection is there when each worker has its own. What a worker counted stays in
  the totals when it dies, as of the last time that somebody asked. Memory, CPU and open files are those of all its
  processes together.
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
