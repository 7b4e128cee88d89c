"""What a submission must leave alone, compared at every pause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from harness.errors import RejectedError

#: Importing a submission may take this many processor seconds; it is off the clock, so it must not hide work.
IMPORT_LIMIT_S = 10.0

T = TypeVar("T")


class ModelGuard:
    """Remembers the model's architecture and the numeric settings, and refuses a run that changed them."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._architecture = _architecture(model)
        self._settings = _settings()

    def check(self) -> None:
        """Compare with the beginning.

        Raises:
            RejectedError: naming what was changed.
        """
        now = _architecture(self._model)
        if now != self._architecture:
            changed = sorted(
                name for name in now.keys() | self._architecture.keys() if now.get(name) != self._architecture.get(name)
            )
            raise RejectedError(f"the model was changed outside model_options: {', '.join(changed[:5])}")
        for name, value in _settings().items():
            if value != self._settings[name]:
                raise RejectedError(f"{name} was changed from {self._settings[name]} to {value}")


def _architecture(model: nn.Module) -> dict[str, Any]:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes: dict[str, Any] = {name: (tuple(t.shape), t.dtype, t.device.type) for name, t in tensors.items()}
    shapes["forward"] = getattr(model.forward, "__func__", model.forward)
    return shapes


def _settings() -> dict[str, Any]:
    return {
        "float32 matmul precision": torch.get_float32_matmul_precision(),
        "cudnn TF32": torch.backends.cudnn.allow_tf32,
        "default dtype": torch.get_default_dtype(),
        "number of threads": torch.get_num_threads(),
        "autocast": torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"),
    }


def import_submission(load: Callable[[], T]) -> tuple[T, float]:
    """Import a submission, off the clock: (what it gave, processor seconds it took).

    Raises:
        RejectedError: it left a thread behind or took longer than `IMPORT_LIMIT_S`.
    """
    threads = set(threading.enumerate())
    began = time.process_time()
    loaded = load()
    spent = time.process_time() - began
    left = [t.name for t in threading.enumerate() if t not in threads]
    if left:
        raise RejectedError(f"importing the submission left threads behind: {', '.join(left)}")
    if spent > IMPORT_LIMIT_S:
        raise RejectedError(f"importing the submission took {spent:.1f} s; the limit is {IMPORT_LIMIT_S:.0f} s")
    return loaded, spent
