"""Renders the marks of doubted and withdrawn records as lines and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from harness.errors import escape_controls
from harness.scoring.marked import MarkedRecord

#: The sign beside a submission that has doubted records in a table.
DOUBT: Final = "†"


def mark_lines(marked: Iterable[MarkedRecord]) -> list[str]:
    """Return one line for each record with a mark: what is stated, of which run, why and when."""
    signs = {"doubted": f"{DOUBT} doubted", "withdrawn": "withdrawn, left out"}
    return [
        escape_controls(
            f"{signs[item.mark.event]}: {item.mark.run_id} ({item.submission} on {item.facts.id}, {item.ruleset}): "
            f"{item.mark.why} ({item.mark.time[:10]})"
        )
        for item in _sorted(marked)
    ]


def marks_json(marked: Iterable[MarkedRecord]) -> list[dict[str, Any]]:
    """Return the records with a mark as plain data."""
    return [
        {
            "event": item.mark.event,
            "run_id": item.mark.run_id,
            "content_hash": item.mark.record,
            "why": item.mark.why,
            "time": item.mark.time,
            "submission": item.submission,
            "workload": item.facts.id,
            "ruleset": item.ruleset,
            "hardware": item.hardware,
        }
        for item in _sorted(marked)
    ]


def _sorted(marked: Iterable[MarkedRecord]) -> list[MarkedRecord]:
    return sorted(marked, key=lambda item: (item.mark.event, item.submission, item.facts.id, item.mark.run_id))
