"""A fork server whose workers have no reaper, for `benchmarks/trust_cost.py`.

usage: python benchmarks/unguarded_server.py SOCKET_FD
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from unittest import mock

from harness.worker import fork_server, process


def stay_in_process(close: Iterable[int], report: Callable[[int], None]) -> None:
    """Do nothing, in place of `enter_worker`: this process becomes the worker, and no reaper is forked."""


if __name__ == "__main__":
    with mock.patch.object(process, "enter_worker", stay_in_process):
        fork_server.main()
