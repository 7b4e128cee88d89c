"""What a plugin author imports; names that need torch are resolved when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from harness.errors import BenchError, DataError
from harness.hookspecs import hookimpl
from harness.types import (
    WHOLE,
    Budget,
    Choice,
    DatasetEntry,
    DatasetFile,
    Domain,
    ExecutorEntry,
    Factors,
    Fixed,
    HParams,
    Integer,
    Kind,
    LogUniform,
    PartEntry,
    Point,
    Precision,
    Progress,
    Record,
    RunSpec,
    Shard,
    Source,
    Split,
    Stage,
    SubmissionEntry,
    Target,
    Uniform,
    WorkloadEntry,
    WorkloadFacts,
)

if TYPE_CHECKING:
    from harness.data import data_folder, dataset_path
    from harness.worker.access import Batch, Pool, ReplayBuffer, StagedStream, Stream, SubsetPool, TensorPool
    from harness.worker.contract import Averager, Order, Parameter, Replayer, Submission, Task, Work, Workload
    from harness.worker.recipe import Recipe

_LAZY = {
    "Batch": "harness.worker.access",
    "Pool": "harness.worker.access",
    "ReplayBuffer": "harness.worker.access",
    "StagedStream": "harness.worker.access",
    "Stream": "harness.worker.access",
    "SubsetPool": "harness.worker.access",
    "TensorPool": "harness.worker.access",
    "Averager": "harness.worker.contract",
    "Order": "harness.worker.contract",
    "Parameter": "harness.worker.contract",
    "Replayer": "harness.worker.contract",
    "Submission": "harness.worker.contract",
    "Task": "harness.worker.contract",
    "Work": "harness.worker.contract",
    "Workload": "harness.worker.contract",
    "Recipe": "harness.worker.recipe",
    "data_folder": "harness.data",
    "dataset_path": "harness.data",
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
    "Uniform",
    "Work",
    "Workload",
    "WorkloadEntry",
    "WorkloadFacts",
    "data_folder",
    "dataset_path",
    "hookimpl",
]


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
