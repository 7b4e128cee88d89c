"""Precision and threads."""

from __future__ import annotations

from typing import Any

import torch

from harness.api import Work
from tests.cheats.ways.honest import Honest


class PrecisionInForward(Honest):
    """Lowers the precision inside the model's forward pass only."""

    def begin(self) -> None:
        self.model.register_forward_pre_hook(lambda *_: torch.set_float32_matmul_precision("medium"))
        self.model.register_forward_hook(lambda *_: torch.set_float32_matmul_precision("highest"))


class ConvolutionPrecisionInForward(Honest):
    """Lowers the precision of one backend's convolutions in the middle of forward passes only."""

    def begin(self) -> None:
        conv: Any = torch.backends.mkldnn.conv  # type: ignore[attr-defined]
        self.model.register_forward_pre_hook(lambda *_: setattr(conv, "fp32_precision", "bf16"))
        self.model.register_forward_hook(lambda *_: setattr(conv, "fp32_precision", "none"))


class MatrixPrecisionInForward(Honest):
    """The same for matrix products, which torch's older setting then cannot describe."""

    def begin(self) -> None:
        matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        self.model.register_forward_pre_hook(lambda *_: setattr(matmul, "fp32_precision", "bf16"))
        self.model.register_forward_hook(lambda *_: setattr(matmul, "fp32_precision", "ieee"))


class DeviceInForward(Honest):
    """Changes the default device in the middle of forward passes only."""

    def begin(self) -> None:
        self.model.register_forward_pre_hook(lambda *_: torch.set_default_device("meta"))
        self.model.register_forward_hook(lambda *_: torch.set_default_device(None))


class ThreadsInBackward(Honest):
    """Uses more threads from the first to the last gradient."""

    def begin(self) -> None:
        first, *_, last = self.model.parameters()
        last.register_hook(lambda gradient: torch.set_num_threads(3))  # type: ignore[no-untyped-call]
        first.register_hook(lambda gradient: torch.set_num_threads(1))  # type: ignore[no-untyped-call]


def _flush_denormals(flush: bool) -> None:
    # A hook must not return the result of `set_flush_denormal`, which says whether the processor supports it.
    torch.set_flush_denormal(flush)


class FlushedDenormals(Honest):
    """Lets the processor treat denormal numbers as zero."""

    def begin(self) -> None:
        torch.set_flush_denormal(True)


class FlushedDenormalsInForward(Honest):
    """The same in the middle of forward passes only."""

    def begin(self) -> None:
        self.model.register_forward_pre_hook(lambda *_: _flush_denormals(True))
        self.model.register_forward_hook(lambda *_: _flush_denormals(False))


class AutocastInForward(Honest):
    """Enters autocast before the forward pass, and leaves it afterwards."""

    def begin(self) -> None:
        self.context: Any = None
        self.model.register_forward_pre_hook(self.enter)
        self.model.register_forward_hook(self.leave)

    def enter(self, *_: Any) -> None:
        if torch.is_grad_enabled():
            self.context = torch.autocast("cpu", torch.bfloat16)
            self.context.__enter__()

    def leave(self, *_: Any) -> None:
        if self.context is not None:
            self.context.__exit__(None, None, None)
            self.context = None


class SetAtImport(Honest):
    """Changes a setting in the constructor and leaves it so."""

    def begin(self) -> None:
        torch.set_default_dtype(torch.float64)


class ThreadsOutsidePasses(Honest):
    """Uses more threads between passes only."""

    def update(self, work: Work) -> None:
        super().update(work)
        torch.set_num_threads(2)
        for _ in range(3):
            torch.randn(400, 400, generator=torch.Generator()) @ torch.ones(400, 400)
        torch.set_num_threads(1)
