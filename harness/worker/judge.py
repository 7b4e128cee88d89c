"""Evaluates stored weights in a process that never imports the submission.

usage: python -m harness.worker.judge

The process reads a `JudgeRequest` from standard input and writes a `JudgeAnswer` to standard output, each as one JSON
document. It builds the workload and the model, and reads the weights from their files.
"""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from pathlib import Path

import msgspec
import safetensors.torch
import torch
from torch import Tensor, nn

from harness.contract.judging import JudgeAnswer, Judgement, JudgeRequest, StoredWeights, tolerance
from harness.contract.workload import Shard
from harness.errors import BenchError, DamagedError
from harness.system.files import read_file
from harness.worker.baseline import is_binary
from harness.worker.device import rank_device, set_default_device
from harness.worker.evaluation import evaluate_audit, evaluate_split, evaluation_mode, finite_metrics
from harness.worker.loading import build_evaluation
from harness.worker.protocols import Screenable, Sharded, Workload
from harness.worker.reaper import set_parent_death_signal
from harness.worker.torch_settings import apply_numeric_settings
from harness.worker.weights import stored_tensors


def main() -> None:
    """Answer the request on standard input."""
    set_parent_death_signal()
    # Output of the workload must not end up in the answer.
    answer_fd = os.dup(1)
    os.dup2(2, 1)
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=JudgeRequest)
    try:
        answer = judge(request)
    except BenchError as error:
        answer = JudgeAnswer(error=str(error))
    except Exception as error:
        traceback.print_exception(error)
        answer = JudgeAnswer(error=f"{type(error).__name__}: {error}")
    with open(answer_fd, "wb") as output:
        output.write(msgspec.json.encode(answer))


def judge(request: JudgeRequest) -> JudgeAnswer:
    """Evaluate stored weights on the splits `score` and `audit`.

    Returns:
        The metrics. If a file is damaged or belongs to another model, the answer says so instead.

    Raises:
        BenchError: the workload cannot be built, or a file cannot be read.
    """
    spec = request.spec
    device = rank_device(0, spec)
    set_default_device(device)
    apply_numeric_settings(spec)
    workload, model = build_evaluation(spec, device)
    judgements, warnings = list[Judgement](), list[str]()
    for weights in request.weights:
        try:
            digest = load_weights(model, Path(weights.path))
        except DamagedError as error:
            return JudgeAnswer(error=str(error), wrong_file=True)
        score = finite_metrics(evaluate_split(workload, model, "score", weights.stage))
        audit, warning = evaluate_audit(workload, model, weights.stage)
        warnings += [warning] if warning and warning not in warnings else []
        judgements.append(Judgement(point=weights.point, score=score, audit=audit, weights=digest))
    return JudgeAnswer(
        judgements=tuple(judgements),
        tolerances=_find_tolerances(workload, model, request.weights),
        warnings=tuple(warnings),
    )


def load_weights(model: nn.Module, path: Path) -> str:
    """Replace the model's parameters and buffers by those in a file of `save_weights`.

    Returns:
        SHA-256 of the file, as hexadecimal digits.

    Raises:
        DamagedError: the file is not a file of weights, or belongs to another model.
        StoreError: the file cannot be read.
    """
    payload = read_file(path, limit=None)
    try:
        stored = safetensors.torch.load(payload)
    except Exception as error:  # safetensors has an error class of its own
        raise DamagedError(f"{path} is not a file of weights: {error}", fix="run the trial again") from error
    copy_tensors(stored, stored_tensors(model), str(path))
    return hashlib.sha256(payload).hexdigest()


def copy_tensors(source: dict[str, Tensor], target: dict[str, Tensor], name: str) -> None:
    """Copy tensors into those of a model.

    Args:
        source: the new values by name.
        target: the model's tensors by name.
        name: where the values come from, for the error message.

    Raises:
        DamagedError: the names, shapes or types differ.
    """
    expected, actual = ({n: (tuple(t.shape), t.dtype) for n, t in tensors.items()} for tensors in (target, source))
    if expected != actual:
        differing = sorted(n for n in expected.keys() | actual.keys() if expected.get(n) != actual.get(n))
        raise DamagedError(
            f"{name} belongs to another model: {', '.join(differing[:5])}", fix="run the trial again with --force"
        )
    with torch.no_grad():
        for tensor_name, tensor in target.items():
            tensor.copy_(source[tensor_name])


def _find_tolerances(workload: Workload, model: nn.Module, weights: tuple[StoredWeights, ...]) -> dict[str, float]:
    """Return, by metric, how much two evaluations of the same weights may differ.

    A metric counts as an accuracy (see `tolerance`) if the values of all its examples are 0 or 1. The result is empty
    if the workload is not `Sharded`.
    """
    if not isinstance(workload, Sharded):
        return {}
    tolerances: dict[str, float] = {}
    for stage in dict.fromkeys(stored.stage for stored in weights):
        with evaluation_mode(model):
            measured = workload.measure(model, "score", Shard(), stage)
        if isinstance(workload, Screenable):
            values = workload.example_values(measured, "score", Shard(), stage)
        else:
            values = {name: (tensor,) for name, tensor in measured.items() if tensor.ndim == 1}
        for name, tasks in values.items():
            is_accuracy = all(is_binary(task) for task in tasks)
            # A mean over tasks gives the weight 1 / `examples` to an example of the smallest task.
            examples = min((len(task) for task in tasks), default=0) * len(tasks)
            tolerances[name] = max(tolerances.get(name, 0.0), tolerance(examples, is_accuracy))
    return tolerances


if __name__ == "__main__":
    main()
