"""Check that the saved weights of a run have the hash and the metrics of its record."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from harness.contract.judging import JudgeAnswer, JudgeRequest, StoredWeights
from harness.contract.record import Record
from harness.errors import StoreError, UsageError
from harness.execution.judging import find_difference, judge_weights
from harness.system.files import open_regular
from harness.verification.findings import Finding, make_finding
from harness.verification.workloads import Workloads, with_installed_workload

#: Name of the file with the final weights in the folder of a run.
WEIGHTS = "final.safetensors"
#: Maximum size of the weights in bytes. Without a limit, a sparse file of any size would be hashed for hours.
_MAX_WEIGHTS_BYTES = 64 << 30
#: Function that evaluates stored weights in a process that never imports the submission.
Judge: TypeAlias = Callable[[JudgeRequest], JudgeAnswer]


def check_weights(
    record: Record,
    path: Path,
    elsewhere: Sequence[Path] = (),
    judge: Judge | None = judge_weights,
    workloads: Workloads = MappingProxyType({}),
) -> Finding:
    """Return the finding about the saved weights of a record.

    Args:
        record: the record.
        path: path of the record's file. The weights of a local run are in the same folder.
        elsewhere: runs folders that may contain the weights of a published record.
        judge: function that evaluates the weights; None to compare only their hash.
        workloads: the workloads whose code may run. Weights of another workload are not evaluated.
    """
    if not record.final_weights:
        return make_finding("weights", [], "the run saved no weights")
    candidates = [path.parent / WEIGHTS, *(runs / record.run_id / WEIGHTS for runs in elsewhere)]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        return make_finding("weights", [], "the weights are not at hand")
    try:
        with open_regular(file) as content:
            if os.fstat(content.fileno()).st_size > _MAX_WEIGHTS_BYTES:
                problem = f"{file.name} has more than {_MAX_WEIGHTS_BYTES:,} bytes, the limit for weights"
                return make_finding("weights", [problem])
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except StoreError as error:
        return make_finding("weights", [], str(error))
    if digest != record.final_weights:
        return make_finding("weights", [f"{file.name} is not the file whose hash is in the record"])
    if judge is None:
        return make_finding("weights", [], "the weights have the hash of the record; they were not evaluated")
    return _compare_metrics(record, file, judge, workloads)


def _compare_metrics(record: Record, file: Path, judge: Judge, workloads: Workloads) -> Finding:
    last = len(record.points) - 1
    if last < 0 or record.points[last].screened:
        return make_finding("weights", [], "the last evaluation used only a part of the split")
    try:
        spec = with_installed_workload(record.spec, workloads)
    except UsageError as error:
        return make_finding("weights", [], f"the weights were not evaluated: {error.what}")
    stage = record.points[last].stage if record.spec.workload.facts.stages else None
    weights = StoredWeights(path=str(file.absolute()), point=last, stage=stage)
    answer = judge(JudgeRequest(spec=spec, weights=(weights,)))
    if answer.wrong_file:
        # The file has the hash of the record, so no other file could have been the weights of the run.
        return make_finding("weights", [answer.error])
    if answer.error:
        return make_finding("weights", [], f"the weights cannot be evaluated: {answer.error}")
    difference = find_difference(record.points, answer.judgements, answer.tolerances)
    return make_finding("weights", [difference] if difference else [])
