"""Weights from other runs or from the author."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from harness.contract.limits import MAX_SUBMISSION_BYTES
from harness.errors import UsageError
from tests import micro
from tests.cheats.pipeline import cost, gains_nothing, honest, in_sandbox, run
from tests.cheats.threats import threat
from tests.helpers import spec_of, submission

sandboxed = pytest.mark.skipif(not in_sandbox(), reason="this kernel gives no sandbox")


@sandboxed
@threat(
    way="leaves weights in shared folders, /dev/shm, HOME and the data folder for its next run",
    verdict="made useless",
    by="the sandbox; HOME and TMPDIR are new for each trial",
)
def test_left_weights(tmp_path: Path) -> None:
    for runs in ("first", "second"):
        gains_nothing(run("weights:LeavesWeights", tmp_path / runs))


@sandboxed
@threat(way="reads the final weights of other runs", verdict="made useless", by="the sandbox hides other runs")
def test_other_runs(tmp_path: Path) -> None:
    run("honest:Honest", tmp_path, seed=5)
    assert list(tmp_path.glob("*/final.safetensors"))
    gains_nothing(run("weights:ReadsOtherRuns", tmp_path))


@threat(
    way="ships trained weights of more than 2 MB beside its source",
    verdict="caught",
    by="the limit on the size of a submission, before anything runs",
)
def test_large_weights(tmp_path: Path) -> None:
    file = tmp_path / "ships.py"
    file.write_text("from tests.cheats.ways.honest import Honest\nW = '" + "0" * MAX_SUBMISSION_BYTES + "'\n")
    with pytest.raises(UsageError, match="too large"):
        spec_of(submission(f"{file}:Honest"), micro.ENTRY)


@threat(
    way="contains the weights of a small model in its source",
    verdict="out of reach",
    by="the limit on the size does not stop small models. A rerun on fresh seeds repeats the gain; a rerun on other "
    "workloads or variants removes it",
)
def test_small_weights(tmp_path: Path) -> None:
    run("honest:Honest", tmp_path / "runs")
    (file,) = tmp_path.glob("runs/*/final.safetensors")
    weights = {name: tensor.tolist() for name, tensor in load_file(file).items()}
    source = tmp_path / "ships.py"
    source.write_text(
        f"from tests.cheats.ways.weights import ShipsWeights\nclass Ships(ShipsWeights):\n    weights = {weights!r}\n"
    )
    record = run(f"{source}:Ships", tmp_path / "runs")
    assert record.status == "reached", record.reason
    assert cost(record) < cost(honest()) / 2
