"""torch's Muon over parameters of any shape, each seen as a matrix of its first dimension by all others.

Source: Muon: An optimizer for hidden layers in neural networks (Jordan et al., 2024), the Newton–Schulz iteration.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

#: Elements of the matrices that are orthogonalised together; of a larger model's there are several such batches.
_TOGETHER = 1 << 27


class FlattenedMuon(torch.optim.Muon):
    """torch.optim.Muon refuses what is not two-dimensional, so it is given views that share the parameters' memory.

    On a GPU matrices of one shape are orthogonalised together: a model of twelve blocks has 48 of them, and one by one
    each launches fifteen small products. The arithmetic of every matrix is torch's, and so is the state.

    Args:
        parameters: at least two-dimensional, contiguous or with their channels innermost.
        batched: whether to do so; on a GPU when None.
        options: of torch.optim.Muon.

    Raises:
        RuntimeError: a parameter lies in memory so that no such view of it exists.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], *, batched: bool | None = None, **options: Any) -> None:
        # A matrix is orthogonalised alike in whatever order its columns stand, so that of the memory will do.
        self._innermost = [not p.is_contiguous() and p.ndim == 4 for p in parameters]
        views = [
            nn.Parameter(_rows(p.detach(), last).view(p.shape[0], -1))
            for p, last in zip(parameters, self._innermost, strict=True)
        ]
        self._pairs = list(zip(parameters, views, strict=True))
        self.batched = any(p.is_cuda for p in parameters) if batched is None else batched
        super().__init__(views, **options)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Of the parameters themselves; the views' gradients are set anew at every step."""
        for parameter, _ in self._pairs:
            if parameter.grad is not None:
                if set_to_none:
                    parameter.grad = None
                else:
                    parameter.grad.zero_()

    def step(self, closure: Any = None) -> Any:
        """One update of the parameters, through their views."""
        for (parameter, view), last in zip(self._pairs, self._innermost, strict=True):
            view.grad = None if parameter.grad is None else _rows(parameter.grad, last).flatten(1)
        if not self.batched or closure is not None:
            return super().step(closure)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for group in self.param_groups:
                self._step_group(group)
        return None

    def _step_group(self, group: dict[str, Any]) -> None:
        moved = [p for p in group["params"] if p.grad is not None]
        if not moved:
            return
        for p in moved:
            if "momentum_buffer" not in self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p.grad)
        gradients, buffers = [p.grad for p in moved], [self.state[p]["momentum_buffer"] for p in moved]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        updates = torch._foreach_lerp(gradients, buffers, group["momentum"]) if group["nesterov"] else buffers
        lr = float(group["lr"])
        torch._foreach_mul_(moved, 1 - lr * group["weight_decay"])
        for some in _alike(updates):
            wide_NRC = torch.stack([_wide(updates[k]).bfloat16() for k in some])
            solved_NRC = orthogonalised(wide_NRC, group["ns_coefficients"], group["ns_steps"], group["eps"])
            for k, wide_RC in zip(some, solved_NRC, strict=True):
                rows, columns = moved[k].shape
                rate = torch.optim._muon._adjust_lr(lr, group["adjust_lr_fn"], moved[k].shape)
                moved[k].add_(wide_RC.T if rows > columns else wide_RC, alpha=-rate)


def orthogonalised(x_NRC: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Newton–Schulz iterations of several matrices at once, as torch's Muon makes them of one.

    Args:
        x_NRC: bf16, with no more rows than columns.
        coefficients, steps, eps: of torch.optim.Muon.
    """
    a, b, c = coefficients
    x_NRC = x_NRC / x_NRC.flatten(1).norm(dim=1).clamp(min=eps)[:, None, None]
    for _ in range(steps):
        gram_NRR = x_NRC @ x_NRC.mT
        update_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
        x_NRC = torch.baddbmm(x_NRC, update_NRR, x_NRC, beta=a)
    return x_NRC


def _rows(x: Tensor, channels_last: bool) -> Tensor:
    """A convolution's weights with their channels at the end, where they lie there in memory."""
    return x.permute(0, 2, 3, 1) if channels_last else x


def _wide(matrix: Tensor) -> Tensor:
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def _alike(matrices: Sequence[Tensor]) -> Iterator[list[int]]:
    """Positions of matrices of one shape, up to transposition; some at a time."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for k, matrix in enumerate(matrices):
        by_shape.setdefault(tuple(sorted(matrix.shape)), []).append(k)
    for shape, positions in by_shape.items():
        count = max(1, _TOGETHER // math.prod(shape))
        for start in range(0, len(positions), count):
            yield positions[start : start + count]
