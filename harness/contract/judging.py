"""The evaluation of weights in a process that never imported the submission: the requests and the results."""

from __future__ import annotations

from typing import Final, Literal

from harness.contract.base import Data
from harness.contract.run import RunSpec

#: How far a record can be believed. `self-reported`: the training process evaluated its own weights. `evaluated`: a
#: process that never imported the submission evaluated the weights, on the splits `score` and `audit`. `verified`:
#: somebody else repeated the run.
Trust = Literal["self-reported", "evaluated", "verified"]
#: The labels in ascending order.
TRUST_LEVELS: Final[tuple[Trust, ...]] = ("self-reported", "evaluated", "verified")


class Judgement(Data, frozen=True, kw_only=True):
    """The metrics of the weights of one evaluation, from a process that never imported the submission.

    Args:
        point: index of the evaluation among all evaluations of the run.
        score: the metrics by name, measured on the whole split `score`.
        audit: the metrics by name, measured on the split `audit`; empty if the workload cannot be evaluated on it.
        weights: SHA-256 of the file with the evaluated weights; empty if the weights were not stored.
    """

    point: int
    score: dict[str, float]
    audit: dict[str, float] = {}
    weights: str = ""


class StoredWeights(Data, frozen=True, kw_only=True):
    """A file with the weights of an evaluation.

    Args:
        path: path of the file (safetensors).
        point: index of the evaluation among all evaluations of the run.
        stage: on a stream, index of the stage of the evaluation; None on a pool.
    """

    path: str
    point: int
    stage: int | None = None


class JudgeRequest(Data, frozen=True, kw_only=True):
    """A request to evaluate stored weights. `python -m harness.worker.judge` reads it from standard input.

    Args:
        spec: the trial. Its workload and its model options determine the model.
        weights: the files to evaluate.
    """

    spec: RunSpec
    weights: tuple[StoredWeights, ...]


class JudgeAnswer(Data, frozen=True, kw_only=True):
    """The result of a request, which the judge writes to standard output.

    Args:
        judgements: the metrics of each file, in the order of the request.
        tolerances: the tolerance of each metric on the split `score`, by name (see `tolerance`).
        warnings: messages for the user.
        error: why the weights could not be evaluated; empty if they were evaluated.
    """

    judgements: tuple[Judgement, ...] = ()
    tolerances: dict[str, float] = {}
    warnings: tuple[str, ...] = ()
    error: str = ""


#: Largest difference between two evaluations of the same weights, for a mean of losses. Rounding errors depend on the
#: kernels, the number of ranks and the sizes of passes.
MEAN_TOLERANCE = 1e-4
#: Number of examples that two evaluations of the same weights may classify differently.
ACCURACY_EXAMPLES = 2


def tolerance(examples: int, accuracy: bool) -> float:
    """Return the largest difference at which two values of a metric for the same weights count as equal.

    Args:
        examples: number of examples from which the metric is computed.
        accuracy: whether the metric is a mean of zeros and ones.

    >>> tolerance(500, accuracy=True), tolerance(500, accuracy=False)
    (0.004, 0.0001)
    """
    return max(MEAN_TOLERANCE, ACCURACY_EXAMPLES / max(examples, 1)) if accuracy else MEAN_TOLERANCE
