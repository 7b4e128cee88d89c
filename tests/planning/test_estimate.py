"""The estimated wall time of trials: their own time, their start, and the start of the fork server once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.contract.record import Record
from harness.contract.run import Counters
from harness.gating.costs import GateCosts
from harness.planning.estimate import FORKED_STARTUP_S, STARTUP_S, Estimates
from harness.storage.records import encode
from tests.storage import published


def store(folder: Path, *, forked: bool, study: int = 0, smoke: bool = False, **changes: Any) -> Record:
    record = published.record("alpha", study)
    usage = msgspec.structs.replace(
        record.usage,
        evaluation_seconds=2.0,
        checkpoint_seconds=0.5,
        import_seconds=0.25,
        build_seconds=0.75,
        forked=forked,
    )
    counters = msgspec.structs.replace(
        record.counters, seconds=10.0, examples=record.spec.workload.facts.budget.horizon
    )
    spec = msgspec.structs.replace(record.spec, smoke=smoke)
    record = msgspec.structs.replace(record, spec=spec, usage=usage, counters=counters, **changes)
    (folder / "hills" / "alpha").mkdir(parents=True, exist_ok=True)
    (folder / "hills" / "alpha" / f"{record.run_id}.json").write_bytes(encode(record))
    return record


@pytest.mark.parametrize(("forked", "startup"), [(True, FORKED_STARTUP_S), (False, STARTUP_S)])
def test_a_trial_takes_its_work_and_its_start(tmp_path: Path, forked: bool, startup: float) -> None:
    spec = store(tmp_path, forked=forked).spec
    expected = 10.0 + 2.0 + 0.5 + 0.25 + 0.75 + startup
    estimates = Estimates([tmp_path])
    assert estimates.median_seconds(spec) == pytest.approx(expected)
    # Two trials at once: the fork server starts once, and each process makes two of the four trials.
    total, without_estimate = estimates.total_seconds([spec] * 4, jobs=2)
    assert total == pytest.approx((STARTUP_S if forked else 0.0) + 2 * expected)
    assert without_estimate == 0


def test_nothing_to_run_takes_no_time(tmp_path: Path) -> None:
    store(tmp_path, forked=True)
    assert Estimates([tmp_path]).total_seconds([]) == (0.0, 0)


def test_runs_of_a_gate_start_in_forked_workers(tmp_path: Path) -> None:
    spec = store(tmp_path, forked=True).spec
    each = 10.0 + 2.0 + 0.5 + 0.25 + 0.75 + FORKED_STARTUP_S
    assert GateCosts([tmp_path]).minutes([spec] * 3) == pytest.approx(3 * each / 60)


@pytest.mark.parametrize("changes", [{"smoke": True}, {"status": "crashed"}, {"status": "interrupted"}])
def test_short_and_broken_runs_say_nothing_of_the_time(tmp_path: Path, changes: dict[str, Any]) -> None:
    typical = store(tmp_path, forked=True).spec
    expected = GateCosts([tmp_path]).minutes([typical]), Estimates([tmp_path]).median_seconds(typical)
    assert None not in expected
    for study in (1, 2):
        few = Counters(seconds=60.0, examples=1)
        record = store(tmp_path, forked=False, study=study, **changes)
        path = tmp_path / "hills" / "alpha" / f"{record.run_id}.json"
        path.write_bytes(encode(msgspec.structs.replace(record, counters=few)))
    assert (GateCosts([tmp_path]).minutes([typical]), Estimates([tmp_path]).median_seconds(typical)) == expected
