"""The names that plugin authors import. The names in `_LAZY` are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from harness.contract.domains import Choice, Domain, Fixed, HParams, Integer, LogUniform, Uniform
from harness.contract.entries import (
    DatasetEntry,
    DatasetFile,
    ExecutorEntry,
    ObserverEntry,
    PartEntry,
    Source,
    SubmissionEntry,
    WorkloadEntry,
)
from harness.contract.hookspecs import hookimpl
from harness.contract.observation import ObservedTrial, TrialOutcome
from harness.contract.record import Record
from harness.contract.run import Point, RunSpec
from harness.contract.schedule import Factors, Progress
from harness.contract.workload import (
    WHOLE,
    Budget,
    Kind,
    Precision,
    Shard,
    Split,
    Stage,
    Target,
    WorkloadFacts,
    is_coarse,
)
from harness.errors import BenchError, DataError

if TYPE_CHECKING:
    from harness.datasets.generated import cached_arrays
    from harness.datasets.manage import data_folder, dataset_path
    from harness.worker.data.batch import Batch
    from harness.worker.data.counted_random import uniforms_at
    from harness.worker.data.evaluation_order import evaluation_rows
    from harness.worker.data.pools import Pool, SubsetPool, TensorPool
    from harness.worker.data.replay import ReplayBuffer
    from harness.worker.data.streams import StagedStream, Stream
    from harness.worker.protocols import Averager, Order, Parameter, Replayer, Submission, Task, Work, Workload
    from harness.worker.recipe import Recipe

#: Name -> the module that defines it. Most of these modules import torch, which takes long.
_LAZY = {
    "Batch": "harness.worker.data.batch",
    "evaluation_rows": "harness.worker.data.evaluation_order",
    "Pool": "harness.worker.data.pools",
    "ReplayBuffer": "harness.worker.data.replay",
    "StagedStream": "harness.worker.data.streams",
    "Stream": "harness.worker.data.streams",
    "SubsetPool": "harness.worker.data.pools",
    "TensorPool": "harness.worker.data.pools",
    "Averager": "harness.worker.protocols",
    "Order": "harness.worker.protocols",
    "Parameter": "harness.worker.protocols",
    "Replayer": "harness.worker.protocols",
    "Submission": "harness.worker.protocols",
    "Task": "harness.worker.protocols",
    "Work": "harness.worker.protocols",
    "Workload": "harness.worker.protocols",
    "Recipe": "harness.worker.recipe",
    "cached_arrays": "harness.datasets.generated",
    "data_folder": "harness.datasets.manage",
    "dataset_path": "harness.datasets.manage",
    "uniforms_at": "harness.worker.data.counted_random",
}

__all__ = [
    "WHOLE",
    "Averager",
    "Batch",
    "BenchError",
    "Budget",
    "Choice",
    "DataError",
    "DatasetEntry",
    "DatasetFile",
    "Domain",
    "ExecutorEntry",
    "Factors",
    "Fixed",
    "HParams",
    "Integer",
    "Kind",
    "LogUniform",
    "ObservedTrial",
    "ObserverEntry",
    "Order",
    "Parameter",
    "PartEntry",
    "Point",
    "Pool",
    "Precision",
    "Progress",
    "Recipe",
    "Record",
    "ReplayBuffer",
    "Replayer",
    "RunSpec",
    "Shard",
    "Source",
    "Split",
    "Stage",
    "StagedStream",
    "Stream",
    "Submission",
    "SubmissionEntry",
    "SubsetPool",
    "Target",
    "Task",
    "TensorPool",
    "TrialOutcome",
    "Uniform",
    "Work",
    "Workload",
    "WorkloadEntry",
    "WorkloadFacts",
    "cached_arrays",
    "data_folder",
    "dataset_path",
    "evaluation_rows",
    "hookimpl",
    "is_coarse",
    "uniforms_at",
]


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
