"""Compares the database with the network's ledger, the independent witness of what was really sent."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger.

    ``at``: when the network had it, ``left``: when its gateway says it left, in Unix seconds; device id; epoch;
    the attempt's tag and the sha256 of its text, in hex.
    """

    at: float
    device: int
    epoch: int
    tag: str
    digest: str
    left: float


def read_ledger(path: Path) -> list[Entry]:
    entries = []
    with path.open() as lines:
        for line in lines:
            at, device, epoch, tag, digest, left = line.split()
            entries.append(Entry(float(at), int(device), int(epoch), tag, digest, float(left)))
    return entries


def compare(entries: list[Entry], launched: float) -> tuple[dict[str, int], dict[str, float], dict[str, float]]:
    """(the ledger's verdict, due → wire in ms, pace error in ms).

    ``launched``: nothing was due before this instant, in Unix seconds. A message counts as a duplicate when the ledger
    has more than one entry for it, by the tags of all its attempts. The pace error is how much longer a gap was than
    the delay drawn for it: for what its device's pace held back, the time from when that allowed it to the wire.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT encode(tag, 'hex'), id, state, extract(epoch FROM ready_at)::float8 "
            "FROM campaigns_message WHERE tag IS NOT NULL "
            "UNION ALL SELECT encode(tag, 'hex'), message_id, 'earlier', NULL FROM campaigns_attempt"
        )
        known: dict[str, tuple[Any, ...]] = {tag: rest for tag, *rest in cursor.fetchall()}
    seen = {entry.tag for entry in entries}
    times_sent = Counter(known[entry.tag][0] for entry in entries if entry.tag in known)
    delays = sorted(
        (entry.left - max(ready, launched)) * 1000
        for entry in entries
        if entry.tag in known and (ready := known[entry.tag][2]) is not None
    )
    before: dict[int, float] = {}
    errors = []
    for entry in sorted(entries, key=lambda entry: entry.left):
        ready = known[entry.tag][2] if entry.tag in known else None
        if ready is not None and ready > before.get(entry.device, math.inf):
            errors.append((entry.left - ready) * 1000)
        before[entry.device] = entry.left
    verdict = {
        "entries": len(entries),
        "duplicates": sum(1 for times in times_sent.values() if times > 1),
        "unknown_to_database": sum(1 for entry in entries if entry.tag not in known),
        "sent_but_absent": sum(
            1 for tag, (_, state, _) in known.items() if state in ("sent", "delivered", "read") and tag not in seen
        ),
    }
    return verdict, percentiles(delays), percentiles(sorted(errors))


def percentiles(ordered: list[float]) -> dict[str, float]:
    return {f"p{share}": round(percentile(ordered, share), 1) for share in (50, 95, 99)}


def percentile(ordered: list[float], share: int) -> float:
    """The nearest-rank percentile of values in ascending order; 0 for none."""
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)] if ordered else 0.0
