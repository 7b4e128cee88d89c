"""`results/LEADERBOARD.md` is what the published records say."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.planning.run_end import decide_end
from harness.storage.envelopes import ENVELOPES_FOLDER
from harness.storage.records import read_all
from tests.report.conftest import Bench

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_published_leaderboard_is_not_stale(bench: Bench) -> None:
    folders = ["--results", str(ROOT / "results"), "--envelopes", str(ROOT / ENVELOPES_FOLDER)]
    printed = bench("leaderboard", "--runs", "none", *folders, "--format", "md")
    assert printed.code == 0, printed.err
    committed = (ROOT / "results" / "LEADERBOARD.md").read_text(encoding="utf-8")
    assert committed == printed.out, "stale: `make leaderboard` and commit"


def test_no_published_run_that_reached_would_have_been_pruned() -> None:
    records, _ = read_all([ROOT / "results", ROOT / "results" / "archive"])
    facts = [(r, r.spec.workload.facts) for r in records]
    pools = [r for r, f in facts if r.status == "reached" and not f.stages and r.spec.stop is None]
    assert len(pools) > 50
    for record in pools:
        spec = msgspec.structs.replace(record.spec, prune=True)
        verdicts = [decide_end(spec, point, 0, record.points[:k]) for k, point in enumerate(record.points) if k]
        assert [verdict.status for verdict in verdicts if verdict is not None] == ["reached"], record.run_id
