"""How a process becomes a rank of a run, and how it notices that another rank is gone."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import Store

from harness.contract.base import Data
from harness.contract.run import Job
from harness.worker.device import rank_device, set_default_device
from harness.worker.distributed.collectives import DistributedGroup, ProcessGroup

#: How long ranks wait for each other at the beginning.
JOIN_TIMEOUT = timedelta(minutes=10)
LOCALHOST = "127.0.0.1"
#: How the reason of a run begins that ended because another rank did, so that it is never taken for the cause.
LOST_CONTACT = "lost contact with another rank"


class RankAssignment(Data, frozen=True, kw_only=True):
    """What rank 0 tells another rank.

    Args:
        job: the trial.
        rank: which rank the process is, from 1.
        port: where rank 0 listens, on this machine.
    """

    job: Job
    rank: int
    port: int


def open_store(job: Job) -> TCPStore:
    """The store in which the ranks of a run find each other; rank 0 opens it."""
    # Port 0: the system picks a free one, and only this machine can reach it.
    return TCPStore(LOCALHOST, 0, job.spec.ranks, is_master=True, timeout=JOIN_TIMEOUT, wait_for_workers=False)


def join_as_rank(assignment: RankAssignment) -> ProcessGroup:
    """Join the group of rank 0, which listens already."""
    ranks = assignment.job.spec.ranks
    store = TCPStore(LOCALHOST, assignment.port, ranks, is_master=False, timeout=JOIN_TIMEOUT)
    store.set(rank_key(assignment.rank), "here")
    return join_group(assignment.rank, assignment.job, store)


def join_group(rank: int, job: Job, store: Store) -> ProcessGroup:
    """Become a rank of the group; returns when all ranks have."""
    # One machine: the loopback device needs no name service and no network.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    device = rank_device(rank, job.spec)
    set_default_device(device)
    return DistributedGroup(rank, job.spec.ranks, store, device)


def rank_key(rank: int) -> str:
    """The key under which a rank announces itself in the store."""
    return f"rank-{rank}"


def is_peer_loss(error: BaseException) -> bool:
    """Whether an error says that another rank is gone."""
    if isinstance(error, dist.DistError):
        return True
    words = ("closed by peer", "reset by peer", "broken pipe", "gloo", "nccl")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
