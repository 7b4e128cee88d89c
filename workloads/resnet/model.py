"""Residual networks for images, its sizes and details as options.

Source: He et al., Deep Residual Learning for Image Recognition (arXiv 1512.03385), basic and bottleneck blocks;
Goyal et al., Accurate, Large Minibatch SGD (arXiv 1706.02677), section 5.1, zero-initialised last scales, and the
stride of a bottleneck in its 3x3 convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from harness.api import Kind
from workloads.resnet.ghost import GhostBatchNorm2d

Norm = Literal["batch", "group", "none"]
Activation = Literal["relu", "gelu", "silu"]
Stem = Literal["conv3", "conv3-half", "conv7"]
BlockKind = Literal["basic", "bottleneck"]
#: Channels that leave a bottleneck, over those of its 3x3 convolution.
EXPANSION = 4

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResnetConfig:
    """Sizes and details of a `Resnet`.

    Args:
        channels: of an image.
        classes: number of logits.
        widths: channels of each group of blocks; every group but the first halves height and width.
        blocks: blocks in each group, as many entries as `widths`.
        block: `basic` (two 3x3 convolutions) or `bottleneck` (1x1, 3x3, 1x1 to four times the width).
        stem: `conv3` (3x3, full resolution) for 8 to 32 pixels, `conv3-half` (the same at half the resolution),
            `conv7` (7x7 and pooling, a quarter) for more.
        norm: `batch`, `group` (groups of 8 channels at least) or `none` (convolutions have biases then).
        ghost_bn: examples that share their statistics in batch norm, see `GhostBatchNorm2d`; all of a pass when 0.
        activation: `relu`, `gelu` or `silu`.
        dropout: share of the pooled features that are dropped before the head, in [0, 1).
        zero_init: blocks start as the identity: the last scale (without norm: the last convolution) is zero.
        momentum: weight of a new batch in batch norm's running averages.
        channels_last: activations have their channels innermost, which is faster in some places; parameters keep
            the plain layout, so that a submission may view them as matrices.

    Raises:
        ValueError: widths and blocks do not match, an unknown word, a dropout outside [0, 1), or `ghost_bn` is negative
            or without batch norm.
    """

    channels: int = 1
    classes: int = 10
    widths: tuple[int, ...] = (16, 32)
    blocks: tuple[int, ...] = (1, 1)
    block: BlockKind = "basic"
    stem: Stem = "conv3"
    norm: Norm = "batch"
    ghost_bn: int = 0
    activation: Activation = "relu"
    dropout: float = 0.0
    zero_init: bool = True
    momentum: float = 0.1
    channels_last: bool = False

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.blocks) or not self.widths:
            raise ValueError(f"widths {self.widths} and blocks {self.blocks} must be equally many, at least one")
        words = {
            "block": ("basic", "bottleneck"),
            "stem": ("conv3", "conv3-half", "conv7"),
            "norm": ("batch", "group", "none"),
            "activation": tuple(_ACTIVATIONS),
        }
        for name, known in words.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown; known: {', '.join(known)}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout {self.dropout} is outside [0, 1)")
        if self.ghost_bn < 0 or (self.ghost_bn and self.norm != "batch"):
            raise ValueError(
                f"ghost_bn {self.ghost_bn} with norm {self.norm!r}: it must be 0, or positive with 'batch'"
            )


class Resnet(nn.Module):
    """Stem, groups of blocks, mean over positions, dropout, linear head.

    Args:
        config: sizes and details.
    """

    def __init__(self, config: ResnetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.widths[0]
        large = config.stem == "conv7"
        stride = 1 if config.stem == "conv3" else 2
        self.stem = conv(config, config.channels, width, kernel=7 if large else 3, stride=stride)
        self.stem_norm = norm(config, width)
        self.pool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1) if large else nn.Identity()
        layers: list[nn.Module] = []
        block_class = BasicBlock if config.block == "basic" else Bottleneck
        for group, (out, count) in enumerate(zip(config.widths, config.blocks, strict=True)):
            for block in range(count):
                made = block_class(config, width, out, stride=2 if group and not block else 1)
                layers.append(made)
                width = made.out
        self.blocks = nn.Sequential(*layers)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(width, config.classes)
        self.activation = activation(config)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # A small head: the first loss is ln(classes), whatever the features are.
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        if self.config.zero_init:
            for block in self.blocks:
                assert isinstance(block, BasicBlock | Bottleneck)
                last = block.last_conv if self.config.norm == "none" else block.last_norm
                assert isinstance(last.weight, nn.Parameter)
                nn.init.zeros_(last.weight)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits, shape (B, classes), of images, shape (B, channels, H, W)."""
        x = self.stem(x_BCHW)
        if self.config.channels_last:
            # After the first convolution: with one channel the two layouts of an image are the same.
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.pool(self.activation(self.stem_norm(x)))
        x = self.blocks(x)
        logits_BK: Tensor = self.head(self.dropout(x.mean(dim=(2, 3))))
        return logits_BK


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; a 1x1 convolution on the shortcut where the shape changes."""

    def __init__(self, config: ResnetConfig, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.out = out
        self.conv1 = conv(config, width, out, kernel=3, stride=stride)
        self.norm1 = norm(config, out)
        self.conv2 = conv(config, out, out, kernel=3, stride=1)
        self.norm2 = norm(config, out)
        self.shortcut = _shortcut(config, width, out, stride)
        self.activation = activation(config)

    @property
    def last_conv(self) -> nn.Conv2d:
        return self.conv2

    @property
    def last_norm(self) -> nn.Module:
        return self.norm2

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y = self.activation(self.norm1(self.conv1(x_BCHW)))
        return self.activation(self.norm2(self.conv2(y)) + self.shortcut(x_BCHW))


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions beside a shortcut; `EXPANSION` times `inner` channels leave."""

    def __init__(self, config: ResnetConfig, width: int, inner: int, stride: int) -> None:
        super().__init__()
        self.out = EXPANSION * inner
        self.conv1 = conv(config, width, inner, kernel=1, stride=1)
        self.norm1 = norm(config, inner)
        self.conv2 = conv(config, inner, inner, kernel=3, stride=stride)
        self.norm2 = norm(config, inner)
        self.conv3 = conv(config, inner, self.out, kernel=1, stride=1)
        self.norm3 = norm(config, self.out)
        self.shortcut = _shortcut(config, width, self.out, stride)
        self.activation = activation(config)

    @property
    def last_conv(self) -> nn.Conv2d:
        return self.conv3

    @property
    def last_norm(self) -> nn.Module:
        return self.norm3

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y = self.activation(self.norm1(self.conv1(x_BCHW)))
        y = self.activation(self.norm2(self.conv2(y)))
        return self.activation(self.norm3(self.conv3(y)) + self.shortcut(x_BCHW))


def _shortcut(config: ResnetConfig, width: int, out: int, stride: int) -> nn.Module:
    if stride == 1 and width == out:
        return nn.Identity()
    return nn.Sequential(conv(config, width, out, kernel=1, stride=stride), norm(config, out))


def activation(config: ResnetConfig) -> Callable[[Tensor], Tensor]:
    """The configured nonlinearity."""
    return _ACTIVATIONS[config.activation]


def conv(config: ResnetConfig, width: int, out: int, *, kernel: int, stride: int) -> nn.Conv2d:
    """A convolution that keeps height and width (over the stride), without bias where a norm follows."""
    return nn.Conv2d(width, out, kernel, stride=stride, padding=kernel // 2, bias=config.norm == "none")


def norm(config: ResnetConfig, width: int) -> nn.Module:
    """The configured norm of `width` channels."""
    if config.norm == "batch":
        if config.ghost_bn:
            return GhostBatchNorm2d(width, group=config.ghost_bn, momentum=config.momentum)
        return nn.BatchNorm2d(width, momentum=config.momentum)
    if config.norm == "group":
        return nn.GroupNorm(max(1, width // 8), width)
    return nn.Identity()


def build(config: ResnetConfig, seed: int) -> Resnet:
    """A fresh network on the CPU in fp32; equal seeds give equal weights, and the global RNG is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Resnet(config)


def parameter_kinds(model: nn.Module) -> dict[str, Kind]:
    """The kind of every parameter by name, tied ones once.

    `conv`: kernels; `norm`: scales; `bias`: everything that is added, shifts of norms included;
    `head`: the weight of the layer called `head`; `matrix`: the weight of any other linear layer.

    Raises:
        TypeError: a parameter stands in a layer of an unknown sort.
    """
    modules = dict(model.named_modules())
    return {name: _kind(name, modules[name.rpartition(".")[0]]) for name, _ in model.named_parameters()}


def _kind(name: str, module: nn.Module) -> Kind:
    if name.endswith(".bias"):
        return "bias"
    if isinstance(module, nn.Conv2d):
        return "conv"
    if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
        return "norm"
    if isinstance(module, nn.Linear):
        return "head" if name == "head.weight" else "matrix"
    raise TypeError(f"parameter {name!r} stands in a {type(module).__name__}, whose kind is unknown")
