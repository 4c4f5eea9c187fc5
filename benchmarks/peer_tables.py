"""The tables of the part `peers`."""

from __future__ import annotations

from typing import Any

from tables import mb, table


def peers(result: dict[str, Any]) -> str:
    """Return a table for core NATS, one for JetStream, and why what is missing is."""
    parts = [_core(result), _jetstream(result), _arrives(result)]
    if result["left_out"]:
        parts.append(table(("left out", "why"), result["left_out"].items()).replace("---:", "---"))
    return "\n\n".join(parts)


def _core(result: dict[str, Any]) -> str:
    count = result["publications"]
    head = (
        f"core NATS, {count:,} JSON events of {result['bytes']:,} bytes at full speed",
        "to",
        "published a second",
        "arrived a second",
        "lost, most",
        "without loss at",
        "memory, most",
    )
    rows = [
        (
            each["title"],
            each["to"],
            f"{each['published']:,}",
            f"{each['rate']:,}",
            f"{each['lost']:,}",
            _steady(each),
            mb(each["rss"]),
        )
        for each in result["core"].values()
    ]
    return (
        f"{table(head, rows)}\n\nMedian of {result['rounds']}; `lost` and `memory` are the most of any round."
    )


def _steady(each: dict[str, Any]) -> str:
    if not each["lost"]:
        return "full speed"
    rate = each.get("without_loss")
    return f"{rate:,} a second" if rate else "none tried"


def _jetstream(result: dict[str, Any]) -> str:
    count = result["publications"]
    head = (
        f"JetStream, a stream of {count:,} of them",
        "to",
        "consumer; acknowledges",
        "arrived a second",
        "acknowledged",
        "of these missing",
        "sent again",
        "acknowledged with nobody there",
        "memory, most",
    )
    rows = [
        (
            each["title"],
            each["to"],
            each["consumer"],
            f"{each['rate']:,}",
            "all" if each["done"] >= count else f"{each['done']:,} in {result['limit']:g} s",
            f"{each['missing']:,}",
            f"{each['again']:,}",
            "" if each["away"] is None else f"{each['away']:,}",
            mb(each["rss"]),
        )
        for each in result["jetstream"].values()
    ]
    return f"{table(head, rows)}\n\nMedian of {result['rounds']}; `missing`, `sent again`, `memory`: the most of any."


def _arrives(result: dict[str, Any]) -> str:
    each = {
        (one["title"].split(",")[0], one["to"]): one["arrives"]
        for one in (result["core"] | result["jetstream"]).values()
    }
    rows = [(*key, what) for key, what in each.items()]
    return table(("what arrives", "to", "is"), rows).replace("---:", "---")
