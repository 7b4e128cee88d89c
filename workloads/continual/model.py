"""A multilayer perceptron with one head for all classes."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from harness.api import Kind


class Perceptron(nn.Module):
    """A network that flattens its input and has hidden layers with ReLU and a linear head.

    Args:
        inputs: number of values in an example.
        hidden: width of each hidden layer.
        classes: number of logits.
        dropout: probability of dropout after the last hidden layer, in [0, 1).
    """

    def __init__(self, *, inputs: int, hidden: tuple[int, ...], classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        widths = (inputs, *hidden)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], classes)
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        # The head starts with small weights, so that the initial loss is about ln(classes) for all inputs.
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the logits, shape (B, classes), of examples of shape (B, ...) with `inputs` values each."""
        h = x_BCHW.flatten(1)
        for layer in self.layers:
            h = nn.functional.relu(layer(h))
        logits_BK: Tensor = self.head(self.dropout(h))
        return logits_BK


def build(seed: int, *, inputs: int, hidden: tuple[int, ...], classes: int, dropout: float = 0.0) -> Perceptron:
    """Build a new network on the CPU in fp32. Equal seeds give equal weights. The global RNG state does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Perceptron(inputs=inputs, hidden=hidden, classes=classes, dropout=dropout)


def parameter_kinds(model: nn.Module) -> dict[str, Kind]:
    """Return the kind of every parameter by name: `bias`, `head` (weight of the head) or `matrix`."""
    return {name: _kind(name) for name, _ in model.named_parameters()}


def _kind(name: str) -> Kind:
    if name.endswith(".bias"):
        return "bias"
    return "head" if name == "head.weight" else "matrix"
