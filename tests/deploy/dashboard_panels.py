"""The panels of deploy/grafana-dashboard.json, row by row; dashboard.py makes the file of them."""

from __future__ import annotations

from typing import NamedTuple

OURS = 'namespace=~"$namespace", job=~"$job", pod=~"$pod"'
EACH = "pod, instance"
WHO = "{{pod}} {{instance}}"


class Panel(NamedTuple):
    """A panel: its title, what it says, (expression, legend) of each line, the unit, the type, and more options."""

    title: str
    description: str
    lines: list[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8


def one(name: str, *, more: str = "") -> str:
    """The metric of the chosen pods."""
    prefix = "" if name.startswith(("process_", "fluentbit_")) else "nats_fluent_"
    return f"{prefix}{name}{{{OURS}{more}}}"


def rate(name: str, by: str = EACH, *, how: str = "rate", more: str = "") -> str:
    return f"sum by ({by}) ({how}({one(name, more=more)}[$__rate_interval]))"


def quantiles(name: str) -> list[tuple[str, str]]:
    inner = f"sum by (le) (rate({one(f'{name}_bucket')}[$__rate_interval]))"
    return [(f"histogram_quantile({q}, {inner})", f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)]


def of_ours(expression: str) -> str:
    """What every program has that Python's Prometheus client is in, of this one alone."""
    return f"{expression} and on (job, instance) {one('build_info')}"


def in_all(name: str) -> str:
    return f"sum(increase({one(name)}[$__range])) or vector(0)"


UPTIME = f"(time() - {one('process_start_time_seconds')}) * on (job, instance) group_left (version) {one('build_info')}"


ROWS: dict[str, list[Panel]] = {
    "Overview": [
        Panel(
            "Consumers",
            "Processes that were scraped.",
            [(f"count({one('build_info')})", "")],
            kind="stat",
            width=6,
        ),
        Panel(
            "Parts that are not ready",
            "NATS, the log shipper, the spool or the program itself, of each process. GET /readyz says why.",
            [(f"count({one('ready')} == 0) or vector(0)", "")],
            kind="stat",
            width=6,
        ),
        Panel(
            "Dropped",
            "Publications that are lost, in the time that is shown.",
            [(in_all("publications_dropped_total"), "")],
            kind="stat",
            width=6,
        ),
        Panel(
            "Undecodable",
            "Publications that became a record of their bytes, in the time that is shown.",
            [(in_all("publications_undecodable_total"), "")],
            kind="stat",
            width=6,
        ),
        Panel(
            "Ready",
            "Whether each part is as /readyz wants it.",
            [(f"min by ({EACH}, part) ({one('ready')})", "{{part}} " + WHO)],
            kind="state-timeline",
            width=12,
        ),
        Panel(
            "Connections",
            "Whether there is a connection to NATS, whether what is published arrives, and whether the log shipper "
            "takes chunks.",
            [
                (one("nats_connected"), "NATS connected " + WHO),
                (one("nats_subscribed"), "NATS subscribed " + WHO),
                (one("shipper_connected"), "log shipper " + WHO),
            ],
            kind="state-timeline",
            width=12,
        ),
        Panel(
            "Reconnects and failures",
            "Connections to NATS after the first, and those that its server ended; connections to a log shipper, and "
            "attempts and connections to one that failed.",
            [
                (rate("nats_reconnects_total", how="increase"), "NATS again " + WHO),
                (rate("nats_cut_off_total", how="increase"), "NATS cut off " + WHO),
                (rate("shipper_connections_total", how="increase"), "log shipper connected " + WHO),
                (rate("shipper_failures_total", how="increase"), "log shipper failed " + WHO),
            ],
        ),
        Panel(
            "Stands still",
            "For how long chunks have waited and none was acknowledged, and for how long NATS has left a PING "
            "unanswered. Over 5 seconds of it the part is not ready.",
            [(one("stalled_seconds"), "log shipper " + WHO), (one("nats_silent_seconds"), "NATS " + WHO)],
            unit="s",
        ),
        Panel(
            "Since the last acknowledgement",
            "It grows while nothing is published, too.",
            [(f"time() - {one('last_acknowledged_timestamp_seconds')}", WHO)],
            unit="s",
        ),
    ],
    "Publications": [
        Panel(
            "Received",
            "Publications from NATS a second, by topic.",
            [(rate("publications_received_total", "topic"), "{{topic}}")],
            unit="cps",
        ),
        Panel(
            "Received bytes",
            "Bytes of their payloads a second, by topic.",
            [(rate("publications_received_bytes_total", "topic"), "{{topic}}")],
            unit="Bps",
        ),
        Panel(
            "Decoded and acknowledged",
            "Publications that were decoded, and records that the log shipper acknowledged, a second.",
            [
                (rate("publications_decoded_total"), "decoded " + WHO),
                (rate("records_acknowledged_total"), "acknowledged " + WHO),
            ],
            unit="cps",
        ),
        Panel(
            "Undecodable",
            "Publications that could not be decoded, or were too large, a second. Their records have the tag that ends "
            "in undecodable.",
            [(rate("publications_undecodable_total", "topic"), "{{topic}}")],
            unit="cps",
        ),
        Panel(
            "Dropped and returned",
            "Publications that memory, and the spool, had no room for, a second: lost, or given back to their stream.",
            [
                (rate("publications_dropped_total", "topic, reason"), "{{topic}}: {{reason}}"),
                (rate("publications_returned_total"), "returned " + WHO),
            ],
            unit="cps",
        ),
        Panel(
            "What they are about",
            "The ten most frequent identities and operations, decoded, a second.",
            [
                (
                    f"topk(10, {rate('publications_by_identity_total', 'identity, operation')})",
                    "{{operation}} {{identity}}",
                )
            ],
            unit="cps",
        ),
        Panel(
            "Filtered",
            "Publications that became no record, because include and exclude of their topic want none, a second.",
            [(rate("publications_filtered_total", "topic"), "{{topic}}")],
            unit="cps",
        ),
        Panel(
            "Answers to publishers",
            "Acknowledgements to those that asked for one, a second, and those that could not be sent.",
            [
                (rate("answers_sent_total"), "sent " + WHO),
                (rate("answers_failed_total"), "failed " + WHO),
            ],
            unit="cps",
        ),
    ],
    "To the log shipper": [
        Panel(
            "Acknowledged within",
            "From when a chunk was last sent until it was acknowledged; one observation for each chunk.",
            quantiles("acknowledgement_seconds"),
            unit="s",
        ),
        Panel(
            "End to end",
            "From the time in a chunk's first publication, which is the publisher's clock, until the chunk was "
            "acknowledged.",
            quantiles("end_to_end_seconds"),
            unit="s",
        ),
        Panel(
            "Chunks that wait",
            "Chunks that are with the sink and not acknowledged.",
            [(one("pending_chunks"), WHO)],
        ),
        Panel(
            "Chunks",
            "Chunks that were sent, sent again because they were not acknowledged, and acknowledged, a second.",
            [
                (rate("chunks_sent_total"), "sent " + WHO),
                (rate("chunks_sent_again_total"), "sent again " + WHO),
                (rate("chunks_acknowledged_total"), "acknowledged " + WHO),
            ],
            unit="cps",
        ),
        Panel(
            "Sent bytes",
            "Bytes to the log shipper a second, before TLS, what was sent again included.",
            [(rate("sent_bytes_total"), WHO)],
            unit="Bps",
        ),
        Panel(
            "Bytes that were not UTF-8",
            "They went out as U+FFFD, the replacement character.",
            [(rate("replaced_bytes_total"), WHO)],
            unit="Bps",
        ),
    ],
    "Memory and disk": [
        Panel(
            "Buffer",
            "Bytes of memory for what is received and not acknowledged, and batch.buffer_bytes, the limit.",
            [(one("buffer_bytes"), WHO), (one("buffer_limit_bytes"), "limit " + WHO)],
            unit="bytes",
        ),
        Panel(
            "Records in the buffer",
            "Publications and records in memory.",
            [(one("buffer_records"), WHO)],
        ),
        Panel(
            "Age of what is held",
            "For how long the oldest chunk in memory has been there, and how old the oldest file in the spool is.",
            [(one("buffer_oldest_seconds"), "memory " + WHO), (one("spool_oldest_seconds"), "spool " + WHO)],
            unit="s",
        ),
        Panel(
            "Spool",
            "Bytes of chunks on disk, and spool.max_bytes, the limit. Only with a spool.",
            [(one("spool_bytes"), WHO), (one("spool_limit_bytes"), "limit " + WHO)],
            unit="bytes",
        ),
        Panel(
            "Chunks and records in the spool",
            "Chunks on disk and not in memory, and the records in them.",
            [(one("spool_chunks"), "chunks " + WHO), (one("spool_records"), "records " + WHO)],
        ),
        Panel(
            "Recovered and lost",
            "Records that an earlier process left in the spool, and records there that could not be read.",
            [
                (rate("spool_recovered_records_total", how="increase"), "recovered " + WHO),
                (rate("spool_lost_records_total", how="increase"), "lost " + WHO),
            ],
        ),
    ],
    "JetStream": [
        Panel(
            "Lag",
            "Messages of the stream that the durable consumer has still to deliver. Every process of a durable "
            "consumer tells the same number.",
            [(one("jetstream_pending"), WHO)],
        ),
        Panel(
            "Not acknowledged to the stream",
            "Messages that a process has and has not acknowledged.",
            [(one("jetstream_ack_pending"), WHO)],
        ),
        Panel(
            "Delivered again",
            "Messages that the stream delivered more than once, a second.",
            [(rate("jetstream_redelivered_total"), WHO)],
            unit="cps",
        ),
    ],
    "Process": [
        Panel(
            "CPU",
            "Of the consumer; 1 is a whole core, and more than one a worker cannot use.",
            [(of_ours(f"rate({one('process_cpu_seconds_total')}[$__rate_interval])"), WHO)],
        ),
        Panel(
            "Memory",
            "Resident memory of the consumer. Keep its limit 200 MiB over batch.buffer_bytes.",
            [(of_ours(one("process_resident_memory_bytes")), WHO)],
            unit="bytes",
        ),
        Panel(
            "Workers",
            "With several workers: those that run and answer, and how often one was started again.",
            [
                (f"sum by ({EACH}) ({one('worker_up')})", "up " + WHO),
                (
                    f"sum by ({EACH}) (increase({one('worker_restarts_total')}[$__rate_interval]))",
                    "started again " + WHO,
                ),
            ],
        ),
        Panel(
            "Handlers",
            "Of the setting transforms: publications for which one failed, by identity, which went out untouched; and "
            "records beyond one for each publication.",
            [
                (
                    f"sum by ({EACH}, identity) (increase({one('transform_errors_total')}[$__rate_interval]))",
                    "failed {{identity}} " + WHO,
                ),
                (rate("transform_extra_records_total"), "more records " + WHO),
            ],
        ),
        Panel(
            "Uptime and version",
            "Since the start of the process. A line that begins anew is a restart.",
            [
                (
                    UPTIME,
                    "{{version}} " + WHO,
                )
            ],
            unit="s",
        ),
    ],
    "Fluent Bit": [
        Panel(
            "Taken",
            "Records from nats-fluent a second.",
            [(rate("fluentbit_input_records_total"), WHO)],
            unit="cps",
        ),
        Panel(
            "Handed to the output",
            "Records a second, by output. For Kafka: queued in its client.",
            [(rate("fluentbit_output_proc_records_total", f"{EACH}, name"), "{{name}} " + WHO)],
            unit="cps",
        ),
        Panel(
            "Bytes handed to the output",
            "A second, by output.",
            [(rate("fluentbit_output_proc_bytes_total", f"{EACH}, name"), "{{name}} " + WHO)],
            unit="Bps",
        ),
        Panel(
            "Chunks on disk",
            "What waits for the output.",
            [(one("fluentbit_storage_fs_chunks"), WHO)],
        ),
        Panel(
            "Retries",
            "Chunks that are tried again, by output.",
            [(rate("fluentbit_output_retries_total", f"{EACH}, name", how="increase"), "{{name}} " + WHO)],
        ),
        Panel(
            "Refused for good",
            "Records, by output. Their chunks are in rejected/ of its storage.",
            [
                (
                    rate("fluentbit_output_dropped_records_total", f"{EACH}, name", how="increase"),
                    "{{name}} " + WHO,
                )
            ],
        ),
        Panel(
            "Paused",
            "1 while an input takes nothing. nats-fluent holds what it can, then.",
            [(f"max by ({EACH}, name) ({one('fluentbit_input_ingestion_paused')})", "{{name}} " + WHO)],
        ),
        Panel(
            "Errors in the log",
            "Lines of level error.",
            [(rate("fluentbit_logger_logs_total", how="increase", more=', message_type="error"'), WHO)],
        ),
    ],
}
