"""`results/LEADERBOARD.md` is what the published records say."""

from __future__ import annotations

from pathlib import Path

from tests.report.conftest import Bench

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_published_leaderboard_is_not_stale(bench: Bench) -> None:
    made = bench("leaderboard", "--runs", "none", "--results", str(ROOT / "results"), "--format", "md")
    assert made.code == 0, made.err
    kept = (ROOT / "results" / "LEADERBOARD.md").read_text(encoding="utf-8")
    assert kept == made.out, "stale: `make leaderboard` and commit"
