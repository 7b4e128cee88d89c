"""Evaluate stored weights in a process that never imports the submission, and compare the results with the worker's."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from harness.contract.judging import MEAN_TOLERANCE, JudgeAnswer, Judgement, JudgeRequest, StoredWeights
from harness.contract.run import Point, RunSpec
from harness.execution.state import StopSignal
from harness.storage.layout import EVALUATOR, FINAL_WEIGHTS
from harness.system import python_process

#: The command that starts the process.
JUDGE = python_process.command("harness.worker.judge")
#: Interval in seconds at which a waiting process checks whether the trial was stopped.
_WAKE_S = 0.2
#: Allowance for rounding errors. The tolerance of an accuracy is two examples, and a difference of exactly two must
#: pass despite rounding.
_ROUNDING = 1e-9


def judge_weights(
    request: JudgeRequest, environment: Mapping[str, str] | None = None, stop: StopSignal | None = None, log: int = -1
) -> JudgeAnswer:
    """Evaluate stored weights on `score` and `audit` in a process that never imports the submission.

    Args:
        request: the trial and the files.
        environment: all environment variables of the judging process; None to pass on those of the calling process.
        stop: signal that ends the judging process.
        log: file descriptor for the judging process's messages; -1 to discard them.

    Returns:
        The answer. Its field `error` is not empty if the judging process failed.

    Raises:
        KeyboardInterrupt: the trial was stopped.
    """
    process = subprocess.Popen(
        JUDGE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if log < 0 else log,
        env=python_process.environment() if environment is None else dict(environment),
        start_new_session=True,
    )
    payload: bytes | None = msgspec.json.encode(request)
    try:
        while True:
            if stop is not None and stop.is_set:
                raise KeyboardInterrupt
            try:
                answer, _ = process.communicate(payload, timeout=_WAKE_S)
                break
            except subprocess.TimeoutExpired:
                payload = None
    finally:
        process.kill()
        process.wait()
    try:
        return msgspec.json.decode(answer, type=JudgeAnswer)
    except msgspec.DecodeError:
        return JudgeAnswer(error=f"the judging process ended with code {process.returncode} and without an answer")


def find_difference(points: Sequence[Point], judgements: Sequence[Judgement], tolerances: Mapping[str, float]) -> str:
    """Return the first difference between reported and judged metrics above its tolerance; empty if there is none.

    Args:
        points: the evaluations that the worker reported.
        judgements: the metrics that `judge_weights` returned.
        tolerances: the largest accepted difference by name of the metric; `MEAN_TOLERANCE` for other metrics. If the
            judged value is larger than 1, the tolerance is multiplied by this value.
    """
    for judgement in judgements:
        point = points[judgement.point]
        for name in sorted(point.metrics.keys() | judgement.score.keys()):
            reported, judged = point.metrics.get(name), judgement.score.get(name)
            if reported is None or judged is None:
                return f"at {point.examples:,} examples, {name} is {judged} instead of {reported}"
            limit = tolerances.get(name, MEAN_TOLERANCE) * max(1.0, abs(judged))
            if abs(reported - judged) > limit + _ROUNDING:
                return f"at {point.examples:,} examples, {name} is {judged:.6g} instead of {reported:.6g}"
    return ""


def list_stored_weights(folder: Path, spec: RunSpec, points: Sequence[Point]) -> tuple[StoredWeights, ...]:
    """Return the files of weights that a worker stored during its run, and the file of its final weights.

    Args:
        folder: the worker's folder.
        spec: the trial.
        points: the evaluations of the run.
    """
    paths = {int(path.stem): path for path in (folder / EVALUATOR).glob("*.safetensors") if path.stem.isdecimal()}
    final = len(points) - 1
    paths = {index: path for index, path in sorted(paths.items()) if index < final} | {final: folder / FINAL_WEIGHTS}
    has_stages = bool(spec.workload.facts.stages)
    return tuple(
        StoredWeights(path=str(path.absolute()), point=index, stage=points[index].stage if has_stages else None)
        for index, path in paths.items()
    )
