"""Work while the clock is stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.execution import off_clock
from tests.cheats.pipeline import is_rejected, linux, run
from tests.cheats.threats import threat
from tests.cheats.ways.honest import BURNED_S


@linux
@threat(
    way="computes in callbacks of the garbage collector, which runs while the clock is stopped",
    verdict="caught",
    by="work off the clock is scored; above 1 s plus 25 % of the scored time, the run is rejected",
)
def test_garbage_callbacks(tmp_path: Path) -> None:
    is_rejected(run("off_clock:CollectsGarbage", tmp_path), "while the clock was stopped")


@linux
@threat(
    way="computes in a hook on the model, which runs during evaluations",
    verdict="caught",
    by="work off the clock is scored; above 1 s plus 25 % of the scored time, the run is rejected",
)
def test_hooks_in_evaluations(tmp_path: Path) -> None:
    is_rejected(run("off_clock:HooksStateDict", tmp_path), "while the clock was stopped")


@threat(
    way="computes in `state_dict` and at the end of `eval_weights`",
    verdict="made useless",
    by="both are on the clock",
)
def test_state_and_averaging(tmp_path: Path) -> None:
    record = run("off_clock:LoadsState", tmp_path)
    assert record.status == "reached", record.reason
    assert record.counters.process_seconds > 2 * BURNED_S


@linux
@threat(
    way="computes in a signal handler that a timer calls",
    verdict="made useless",
    by="the time is scored, whether the clock runs or not",
)
def test_signal_handlers(tmp_path: Path) -> None:
    record = run("off_clock:InterruptsEvaluation", tmp_path)
    assert record.status == "reached", record.reason
    # The handler burns 0.6 s. At most 0.3 s plus 10 % are free in checkpoints, and 0.02 s in each of two evaluations.
    assert record.counters.process_seconds > 0.2


@linux
@threat(
    way="builds its own model and data while it is imported, trains there, and copies the weights in its first step",
    verdict="made useless",
    by="on a CPU, the time of the import above 0.25 s is scored",
)
def test_training_during_the_import(tmp_path: Path) -> None:
    source = tmp_path / "trains.py"
    source.write_text("from tests.cheats.ways.honest import Honest, burn\nburn(1.0)\nclass Trains(Honest):\n    pass\n")
    record = run(f"{source}:Trains", tmp_path / "runs", smoke=True)
    assert record.ledger is not None
    # The time of the import before `burn` is charged, too, and the first point is the construction.
    assert record.ledger.helpers["import of the submission"] >= 1.0 - off_clock.FREE_IMPORT_S - 0.1
    assert record.points[0].process_seconds >= 1.0 - off_clock.FREE_IMPORT_S - 0.1

    honest = run("honest:Honest", tmp_path / "honest", smoke=True)
    assert honest.ledger is not None
    assert "import of the submission" not in honest.ledger.helpers


@linux
@threat(
    way="computes while it is imported, in a process of its own",
    verdict="caught",
    by="rule `import_time`, and the supervisor's limit of 10 s for all processes",
)
def test_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(off_clock, "IMPORT_LIMIT_S", 0.3)
    source = tmp_path / "computes.py"
    source.write_text(
        "import os\nfrom tests.cheats.ways.honest import Honest, burn\n"
        "if not os.fork():\n    burn(1.0)\n    os._exit(0)\nos.wait()\nclass Computes(Honest):\n    pass\n"
    )
    is_rejected(run(f"{source}:Computes", tmp_path / "runs", smoke=True), "importing the submission took")
