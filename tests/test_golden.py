"""Golden curves: the first evaluations of each CPU workload are what they were when its version was set.

A difference means that data, model, optimizer or loop changed what is computed. If that was meant, bump the
workload's version and write the curve again: BENCH_WRITE_GOLDEN=1 python -m pytest tests/test_golden.py

The weights at the end are compared, too: by their norm everywhere, and bit by bit on the processor and the torch that
the curve was written with (other processors sum in another order).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from harness.contract.entries import WorkloadEntry
from harness.datasets import local, manage
from harness.plugins.registry import load_registry
from harness.storage.layout import file_stem
from tests.helpers import run_here, spec_of

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
REGISTRY = load_registry()
WORKLOADS = [w for w in REGISTRY.workloads() if w.facts.tier == "cpu"]
#: Other processors sum in another order; a change of the computation is far larger.
TOLERANCE = 2e-3
#: An accuracy changes in steps. On two processors, one accuracy of `resnet-fashion+unit-init` differed by 0.002.
ACCURACY_TOLERANCE = 5e-3


@pytest.fixture(scope="module", autouse=True)
def _real_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The datasets of BENCH_DATA_SOURCE, where it is set, in a data folder of their own."""
    source = os.environ.get("BENCH_DATA_SOURCE")
    with pytest.MonkeyPatch.context() as patch:
        if source:
            patch.setenv("BENCH_DATA", str(tmp_path_factory.mktemp("data")))
            for name in sorted({need.partition("/")[0] for w in WORKLOADS for need in w.needs_data}):
                manage.import_folder(REGISTRY.dataset(name), Path(source), accept_checksum=True)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)
def test_the_first_evaluations_are_as_before(workload: WorkloadEntry, tmp_path: Path) -> None:
    absent = [need for need in workload.needs_data if local.missing_names(REGISTRY.dataset(need.partition("/")[0]))]
    if absent:
        pytest.skip(f"{workload.name} needs data (BENCH_DATA_SOURCE names no folder with it): {', '.join(absent)}")
    submission = "replay" if workload.facts.replay_capacity else "adamw-cosine"
    record = run_here(spec_of(submission, workload, smoke=True, screening=False), tmp_path)
    curve = [{"examples": p.examples, "train_loss": p.train_loss, **p.metrics} for p in record.points]
    tensors = load_file(tmp_path / record.run_id / "final.safetensors")
    norm = sum(float(tensor.double().square().sum()) for tensor in tensors.values()) ** 0.5
    assert record.environment is not None
    computed_on = f"{record.spec.hardware}, torch {record.environment.torch}"
    path = GOLDEN / f"{file_stem(workload.name)}.json"
    if os.environ.get("BENCH_WRITE_GOLDEN"):
        weights = {"norm": norm, "sha256": record.final_weights, "computed_on": computed_on}
        golden = {"workload": workload.facts.id, "submission": submission, "weights": weights, "curve": curve}
        path.write_text(json.dumps(golden, indent=1) + "\n")
    golden = json.loads(path.read_text())
    assert golden["workload"] == workload.facts.id, "a new version needs a new curve"
    assert norm == pytest.approx(golden["weights"]["norm"], rel=TOLERANCE)
    if golden["weights"]["computed_on"] == computed_on:
        assert record.final_weights == golden["weights"]["sha256"]
    assert len(golden["curve"]) == len(curve)
    for old, new in zip(golden["curve"], curve, strict=True):
        assert new.keys() == old.keys()
        for name, value in old.items():
            absolute = ACCURACY_TOLERANCE if name.startswith(("accuracy", "avg_seen")) else TOLERANCE
            assert new[name] == (None if value is None else pytest.approx(value, rel=TOLERANCE, abs=absolute)), name
