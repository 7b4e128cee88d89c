"""Residual networks for images, with configurable sizes and details.

Source: He et al., Deep Residual Learning for Image Recognition (arXiv 1512.03385), basic and bottleneck blocks;
Goyal et al., Accurate, Large Minibatch SGD (arXiv 1706.02677), section 5.1: the scale of a block's last norm is
initialised to zero, and the stride of a bottleneck is in its 3x3 convolution.
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
#: Output channels of a bottleneck, as a multiple of the channels of its 3x3 convolution.
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
        channels: number of channels of an image.
        classes: number of logits.
        widths: number of channels of each group of blocks. Every group except the first halves height and width.
        blocks: number of blocks in each group. The tuple is as long as `widths`.
        block: `basic` (two 3x3 convolutions) or `bottleneck` (1x1, 3x3 and 1x1 convolutions, to four times the width).
        stem: `conv3` (3x3, full resolution) for images of 8 to 32 pixels. For larger images, `conv3-half` (3x3, half
            the resolution) or `conv7` (7x7 and pooling, a quarter of the resolution).
        norm: `batch`, `group` (groups of at least 8 channels) or `none`. With `none`, convolutions have biases.
        ghost_bn: number of examples that share batch-norm statistics (`GhostBatchNorm2d`); 0 for the whole batch.
        activation: `relu`, `gelu` or `silu`.
        dropout: probability of dropout of the pooled features before the head, in [0, 1).
        zero_init: whether blocks start as the identity. If so, the scale of a block's last norm starts at zero. If
            there are no norms, the weight of the block's last convolution starts at zero.
        momentum: weight of a new batch in the running averages of batch norm.
        channels_last: whether activations are in channels_last format, which is faster on some devices. Parameters stay
            contiguous, so that a submission can view them as matrices.

    Raises:
        ValueError: `widths` and `blocks` differ in length, a name is unknown, `dropout` is outside [0, 1), or
            `ghost_bn` is negative or used without batch norm.
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
            raise ValueError(f"widths {self.widths} and blocks {self.blocks} must have the same length, at least one")
        known_names = {
            "block": ("basic", "bottleneck"),
            "stem": ("conv3", "conv3-half", "conv7"),
            "norm": ("batch", "group", "none"),
            "activation": tuple(_ACTIVATIONS),
        }
        for name, known in known_names.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown; known: {', '.join(known)}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout {self.dropout} is outside [0, 1)")
        if self.ghost_bn < 0 or (self.ghost_bn and self.norm != "batch"):
            raise ValueError(
                f"ghost_bn {self.ghost_bn} with norm {self.norm!r}: ghost_bn must be 0, or positive with norm 'batch'"
            )


class Resnet(nn.Module):
    """A residual network: stem, groups of blocks, mean over positions, dropout, linear head.

    Args:
        config: the sizes and details of the network.
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
                layer = block_class(config, width, out, stride=2 if group and not block else 1)
                layers.append(layer)
                width = layer.out
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
        # The head starts with small weights, so that the initial loss is about ln(classes) for all inputs.
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        if self.config.zero_init:
            for block in self.blocks:
                assert isinstance(block, BasicBlock | Bottleneck)
                last = block.last_conv if self.config.norm == "none" else block.last_norm
                assert isinstance(last.weight, nn.Parameter)
                nn.init.zeros_(last.weight)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the logits, shape (B, classes), of images, shape (B, channels, H, W)."""
        x = self.stem(x_BCHW)
        if self.config.channels_last:
            # The conversion is after the first convolution. Before it, the conversion would do nothing to images with
            # one channel, because both formats are the same for them.
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.pool(self.activation(self.stem_norm(x)))
        x = self.blocks(x)
        logits_BK: Tensor = self.head(self.dropout(x.mean(dim=(2, 3))))
        return logits_BK


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, which is a 1x1 convolution if the shape changes."""

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
    """1x1, 3x3 and 1x1 convolutions with a shortcut. The 3x3 convolution has the stride."""

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
    """Return the configured activation function."""
    return _ACTIVATIONS[config.activation]


def conv(config: ResnetConfig, width: int, out: int, *, kernel: int, stride: int) -> nn.Conv2d:
    """Build a convolution with 'same' padding, and with a bias if there is no norm."""
    return nn.Conv2d(width, out, kernel, stride=stride, padding=kernel // 2, bias=config.norm == "none")


def norm(config: ResnetConfig, width: int) -> nn.Module:
    """Build the configured norm of `width` channels."""
    if config.norm == "batch":
        if config.ghost_bn:
            return GhostBatchNorm2d(width, group=config.ghost_bn, momentum=config.momentum)
        return nn.BatchNorm2d(width, momentum=config.momentum)
    if config.norm == "group":
        return nn.GroupNorm(max(1, width // 8), width)
    return nn.Identity()


def build(config: ResnetConfig, seed: int) -> Resnet:
    """Build a new network on the CPU in fp32. Equal seeds give equal weights. The global RNG state does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Resnet(config)


def parameter_kinds(model: nn.Module) -> dict[str, Kind]:
    """Return the kind of every parameter by name.

    `conv`: kernels of convolutions. `norm`: scales of norms. `bias`: biases, including the biases of norms. `head`: the
    weight of the layer `head`. `matrix`: the weight of any other linear layer.

    Raises:
        TypeError: a parameter belongs to a layer of an unknown type.
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
    raise TypeError(f"parameter {name!r} belongs to a {type(module).__name__}, whose kind is unknown")
