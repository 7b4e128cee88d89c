"""The requests to evaluate weights in a process that never imported the submission, and the results."""

from __future__ import annotations

from typing import Final, Literal

from harness.contract.base import Count, Data
from harness.contract.run import RunSpec

#: How far a record can be believed. `self-reported`: nothing confirms the metrics that the training process reported,
#: or an attestation refutes the record. `evaluated`: a process that never imported the submission evaluated the
#: weights, or an exact repetition of the run confirmed the metrics. `verified`: another machine repeated the
#: run on seeds that its author could not choose. `harness.scoring.trust` has the exact rules.
Trust = Literal["self-reported", "evaluated", "verified"]
#: The trust levels in ascending order.
TRUST_LEVELS: Final[tuple[Trust, ...]] = ("self-reported", "evaluated", "verified")


class Judgement(Data, frozen=True, kw_only=True):
    """The metrics of the weights of one evaluation, from a process that never imported the submission.

    Args:
        point: index of the evaluation in the `points` of the record.
        score: metrics on the whole split `score`, by name.
        audit: metrics on the split `audit`, by name; empty if the workload cannot be evaluated on this split.
        weights: SHA-256 of the file with the evaluated weights; empty if the weights were not stored.
    """

    point: Count
    score: dict[str, float]
    audit: dict[str, float] = {}
    weights: str = ""


class StoredWeights(Data, frozen=True, kw_only=True):
    """A file with the weights of an evaluation.

    Args:
        path: path of the file (safetensors).
        point: index of the evaluation in the `points` of the record.
        stage: on a stream, index of the stage of the evaluation; None on a pool.
    """

    path: str
    point: Count
    stage: Count | None = None


class JudgeRequest(Data, frozen=True, kw_only=True):
    """A request to evaluate stored weights. `python -m harness.worker.judge` reads it from standard input.

    Args:
        spec: the trial. Its workload and its model options determine the model.
        weights: the files to evaluate.
    """

    spec: RunSpec
    weights: tuple[StoredWeights, ...]


class JudgeAnswer(Data, frozen=True, kw_only=True):
    """The result of a request. The process `harness.worker.judge` writes it to standard output.

    Args:
        judgements: the metrics of each file, in the order of the request.
        tolerances: for each metric on the split `score`, the largest difference at which two values count as equal (see
            `tolerance`).
        warnings: messages for the user.
        error: why the weights could not be evaluated; empty if they were evaluated.
        wrong_file: whether the reason is the file itself: it is not a file of weights, or belongs to another model.
    """

    judgements: tuple[Judgement, ...] = ()
    tolerances: dict[str, float] = {}
    warnings: tuple[str, ...] = ()
    error: str = ""
    wrong_file: bool = False


#: Maximum difference between two values of a mean loss that were computed from the same weights. Such differences are
#: rounding errors, which depend on the kernels, the number of ranks and the sizes of passes.
MEAN_TOLERANCE = 1e-4
#: Maximum number of examples that two evaluations of the same weights may classify differently.
ACCURACY_EXAMPLES = 2


def tolerance(examples: int, accuracy: bool) -> float:
    """Return the tolerance of a metric: the largest difference at which two values for the same weights count as equal.

    Args:
        examples: number of examples from which the metric is computed.
        accuracy: whether the metric is a mean of zeros and ones.

    >>> tolerance(500, accuracy=True), tolerance(500, accuracy=False)
    (0.004, 0.0001)
    """
    return max(MEAN_TOLERANCE, ACCURACY_EXAMPLES / max(examples, 1)) if accuracy else MEAN_TOLERANCE
