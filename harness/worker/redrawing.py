"""Lets a workload draw its held-out data from the seeds of a run with a nonce (a number that nobody chose)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from harness.contract.held_out import HeldOutSeeds
from harness.contract.workload import Split
from harness.datasets import generated
from harness.errors import PluginError


@runtime_checkable
class Redrawable(Protocol):
    """A workload that draws new held-out data in each run with a nonce. No submission can contain these data.

    The entry of such a workload has `redraws_held_out=True`. The targets are the same for every draw, so every draw
    must be a sample of the same size from the same distribution. Workers can read the files of `cached_arrays`.
    Therefore `cached_arrays` does not store data whose key contains a seed of held-out data.
    """

    def draw_held_out(self, seeds: Mapping[Split, str]) -> None:
        """Use other held-out data from now on.

        The harness calls this method before any data are built.

        Args:
            seeds: the seeds that this process may know, by split, each with 64 hexadecimal digits. A split without a
                seed keeps its usual data.
        """
        ...


def draw_held_out(workload: object, load: str, held_out: HeldOutSeeds) -> None:
    """Let a workload draw the held-out data whose seeds this process knows, and keep these data out of the cache.

    Args:
        workload: the workload.
        load: the workload's import path, for the error message.
        held_out: the seeds.

    Raises:
        PluginError: the workload cannot draw held-out data.
    """
    if not isinstance(workload, Redrawable):
        raise PluginError(
            f"{load} has no method draw_held_out(), but its trials were planned with fresh held-out data",
            fix="define the method, or remove redraws_held_out from the entry",
        )
    seeds = held_out.by_split()
    generated.exclude_from_cache(seeds.values())
    workload.draw_held_out(seeds)
