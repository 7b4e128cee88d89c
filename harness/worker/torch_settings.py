"""Applies a workload's numeric settings, which no submission may change."""

from __future__ import annotations

import torch

from harness.contract.run import RunSpec


def apply_numeric_settings(spec: RunSpec) -> None:
    """Set the number of threads, the precision of matrix products, and whether the kernels are deterministic."""
    torch.set_num_threads(spec.threads)
    torch.set_float32_matmul_precision("high" if spec.workload.facts.precision.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = spec.workload.facts.precision.tf32
    if spec.deterministic:
        torch.use_deterministic_algorithms(True)
