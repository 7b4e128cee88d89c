"""Plans for the stub worker, and what must be equal between two ways to carry one out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from harness.contract.domains import HParams
from harness.contract.run import RunSpec
from harness.storage.records import read_all
from tests.helpers import outcome, spec_of, submission

ROOT = Path(__file__).resolve().parents[2]


def stub_specs(n: int, threads: int = 1, **hparams: Any) -> list[RunSpec]:
    """n trials of one submission; the stub worker does what their hyperparameters say."""
    spec = spec_of(submission("tests.submissions_for_tests:Base"), threads=threads)
    return [
        msgspec.structs.replace(
            spec, trial=i, hparams=dict[str, Any](hparams), seeds=msgspec.structs.replace(spec.seeds, model=i)
        )
        for i in range(n)
    ]


def with_hparams(spec: RunSpec, **hparams: Any) -> RunSpec:
    merged: HParams = {**spec.hparams, **hparams}
    return msgspec.structs.replace(spec, hparams=merged)


def outcomes_in(runs: Path) -> dict[str, Any]:
    """What must be equal of every record there is, by run_id; a record that is there twice, or damaged, is an error."""
    records, problems = read_all([runs])
    assert not problems, problems
    assert len(list(runs.glob("*/record.json"))) == len(records)
    return {record.run_id: outcome(record) for record in records}
