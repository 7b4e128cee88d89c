"""Builds the harness's side of a step as the worker does, from a trial, a workload and a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from harness.contract.run import RunSpec
from harness.worker.data.replay import ReplayBuffer
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.emit import ignore_event
from harness.worker.forward import ForwardPass
from harness.worker.microbatch import MicrobatchedPasses, preferred_micro_batch
from harness.worker.rules import load_rules
from harness.worker.setup import build_source, build_work
from harness.worker.work import CountedWork

CPU = torch.device("cpu")


def work_of(spec: RunSpec, workload: Any, model: nn.Module | None = None, data: Any = None) -> CountedWork:
    """The work of a run on one CPU."""
    source = build_source(spec, workload.train_data(0) if data is None else data, CPU)
    model = workload.build_model(0) if model is None else model
    return build_work(spec, workload, model, source, CPU, rules=load_rules(spec), emit=ignore_event)


def microbatched_work_of(
    spec: RunSpec,
    workload: Any,
    model: nn.Module,
    group: ProcessGroup = SINGLE_PROCESS,
    warn: Callable[[str], None] = lambda text: None,
) -> tuple[CountedWork, MicrobatchedPasses]:
    """Work whose passes can be cut, also where one CPU would compute them whole; and these passes."""
    forward = ForwardPass(spec, workload, model, CPU, group)
    size = preferred_micro_batch(workload)
    passes = MicrobatchedPasses(forward, group=group, micro_batch=size, warn=warn)
    capacity = spec.workload.facts.replay_capacity
    work = CountedWork(
        forward=forward,
        source=build_source(spec, workload.train_data(0), CPU),
        passes=passes,
        rules=load_rules(spec),
        batch_size=spec.workload.facts.batch_sizes[0],
        replay=ReplayBuffer(capacity, spec.seeds.replay) if capacity else None,
    )
    return work, passes
