"""The times of tuned references, to which anchored scores are relative, as plain data."""

from __future__ import annotations

from harness.contract.base import Data
from harness.contract.domains import HParams
from harness.contract.workload import Target


class ReferenceTimes(Data, frozen=True, kw_only=True):
    """The numbers of examples that the tuned reference of a workload needs to the target.

    Args:
        workload: `name@version` of the workload.
        reference: `name@version` of the reference.
        hparams: hyperparameters of the runs, chosen on other seeds for the time to the target.
        budget: budget of the runs in examples.
        targets: the targets that the runs had to meet.
        examples: examples to the target, one number for each seed; None for a miss.
    """

    workload: str
    reference: str
    hparams: HParams
    budget: int
    targets: tuple[Target, ...]
    examples: tuple[int | None, ...]


class ReferenceTimesFile(Data, frozen=True, kw_only=True):
    """The content of `reference_times.json` in a top-level package of workloads.

    Args:
        schema: version of the file format.
        workloads: one item for each workload with a tuned reference.
    """

    schema: int = 1
    workloads: tuple[ReferenceTimes, ...]
