"""ResNet-9: the shallow, wide network that won DAWNBench's race on CIFAR-10.

Source: D. Page, How to Train Your ResNet (2018), parts 4 and 5, for the layout. Unlike the source, this network has
ordinary batch norm by default.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workloads.resnet.model import ResnetConfig, activation, conv, norm

#: Factor by which the logits are multiplied. Without it, the first steps are far too large.
_LOGIT_SCALE = 0.125


class Resnet9(nn.Module):
    """Eight convolutions, then a maximum over positions and a linear head. Two pairs of convolutions have a shortcut.

    Args:
        config: the configuration; only `channels`, `classes`, `widths`, `norm`, `ghost_bn`, `momentum`, `activation`,
            `dropout` and `channels_last` are used.

    Raises:
        ValueError: the number of widths is not four.
    """

    def __init__(self, config: ResnetConfig) -> None:
        super().__init__()
        if len(config.widths) != 4:
            raise ValueError(f"widths {config.widths}: a ResNet-9 has four widths")
        self.config = config
        first, second, third, last = config.widths
        self.layers = nn.Sequential(
            _Layer(config, config.channels, first, halve=False),
            _Layer(config, first, second),
            _Pair(config, second),
            _Layer(config, second, third),
            _Layer(config, third, last),
            _Pair(config, last),
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(last, config.classes, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the logits, shape (B, classes), of images, shape (B, channels, H, W)."""
        if self.config.channels_last:
            x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        features_BC = self.layers(x_BCHW).amax(dim=(2, 3))
        logits_BK: Tensor = self.head(self.dropout(features_BC)) * _LOGIT_SCALE
        return logits_BK


class _Layer(nn.Module):
    """A 3x3 convolution, norm, max pooling (if `halve`) and activation."""

    def __init__(self, config: ResnetConfig, width: int, out: int, *, halve: bool = True) -> None:
        super().__init__()
        self.conv = conv(config, width, out, kernel=3, stride=1)
        self.norm = norm(config, out)
        self.pool = nn.MaxPool2d(2) if halve else nn.Identity()
        self.activation = activation(config)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y: Tensor = self.activation(self.pool(self.norm(self.conv(x_BCHW))))
        return y


class _Pair(nn.Module):
    """Two layers with a shortcut."""

    def __init__(self, config: ResnetConfig, width: int) -> None:
        super().__init__()
        self.first = _Layer(config, width, width, halve=False)
        self.second = _Layer(config, width, width, halve=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y: Tensor = x_BCHW + self.second(self.first(x_BCHW))
        return y


def build(config: ResnetConfig, seed: int) -> Resnet9:
    """Build a new network on the CPU in fp32. Equal seeds give equal weights. The global RNG state does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Resnet9(config)
