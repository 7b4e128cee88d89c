"""The plugin that registers the workloads of AlgoRace through the public hooks. This module must not import torch."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import DatasetEntry, WorkloadEntry, hookimpl
from workloads.continual.entries import ENTRIES as CONTINUAL
from workloads.continual.lm_entries import ENTRIES as CONTINUAL_LM
from workloads.continual.mnist_entries import ENTRIES as CONTINUAL_MNIST
from workloads.continual.synthetic_entries import ENTRIES as CONTINUAL_SYNTHETIC
from workloads.curriculum.lm_entries import ENTRIES as CURRICULUM_LM
from workloads.curriculum.mnist_entries import ENTRIES as CURRICULUM_MNIST
from workloads.datasets import DATASETS
from workloads.lm.entries import ENTRIES as LM
from workloads.resnet.entries import ENTRIES as RESNET


@hookimpl
def bench_workloads() -> Iterable[WorkloadEntry]:
    """Yield the entry of every workload of this repository."""
    yield from LM
    yield from RESNET
    yield from CONTINUAL
    yield from CONTINUAL_SYNTHETIC
    yield from CONTINUAL_MNIST
    yield from CURRICULUM_MNIST
    yield from CONTINUAL_LM
    yield from CURRICULUM_LM


@hookimpl
def bench_datasets() -> Iterable[DatasetEntry]:
    """Yield the entry of every dataset that these workloads use."""
    yield from DATASETS
