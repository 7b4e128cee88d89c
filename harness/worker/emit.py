"""The type of the function that receives a run's events."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from harness.contract.events import AnyEvent

Emit: TypeAlias = Callable[[AnyEvent], None]


def ignore_event(event: AnyEvent) -> None:
    """Do nothing with an event. Used in processes that do not report events."""
