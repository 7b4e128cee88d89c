"""Connects the processes of a run as ranks, and recognises errors that report the loss of a rank."""

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

#: How long a rank waits for the other ranks to connect.
JOIN_TIMEOUT = timedelta(minutes=10)
LOCALHOST = "127.0.0.1"
#: First words of a rank's reason if the rank ended only because another rank had ended.
LOST_CONTACT = "lost contact with another rank"


class RankAssignment(Data, frozen=True, kw_only=True):
    """The message that rank 0 sends to the process of another rank.

    Args:
        job: the trial and its folder.
        rank: index of the rank that receives the message, from 1.
        port: TCP port of rank 0's store on this machine.
    """

    job: Job
    rank: int
    port: int


def open_store(job: Job) -> TCPStore:
    """Open the key-value store through which the ranks of a run connect. Rank 0 calls this."""
    # With port 0 the system chooses a free port. Only this machine can connect to it.
    return TCPStore(LOCALHOST, 0, job.spec.ranks, is_master=True, timeout=JOIN_TIMEOUT, wait_for_workers=False)


def join_as_rank(assignment: RankAssignment) -> ProcessGroup:
    """Connect to rank 0 and return the group. Ranks other than 0 call this."""
    ranks = assignment.job.spec.ranks
    store = TCPStore(LOCALHOST, assignment.port, ranks, is_master=False, timeout=JOIN_TIMEOUT)
    store.set(rank_key(assignment.rank), "here")
    return join_group(assignment.rank, assignment.job, store)


def join_group(rank: int, job: Job, store: Store) -> ProcessGroup:
    """Wait for all ranks of the run, and return their group."""
    # All ranks are on this machine. The loopback interface needs no name service and no network.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    device = rank_device(rank, job.spec)
    set_default_device(device)
    return DistributedGroup(rank, job.spec.ranks, store, device)


def rank_key(rank: int) -> str:
    """Return the key that a rank sets in the store when it connects."""
    return f"rank-{rank}"


def is_peer_loss(error: BaseException) -> bool:
    """Return whether an error reports that the connection to another rank was lost."""
    if isinstance(error, dist.DistError):
        return True
    words = ("closed by peer", "reset by peer", "broken pipe", "gloo", "nccl")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
