"""The decoder-only transformer of all language-model workloads.

Source: Radford et al., Language Models are Unsupervised Multitask Learners, 2019 (pre-norm GPT); Zhang and Sennrich,
Root Mean Square Layer Normalization (arXiv 1910.07467), equation 4; Su et al., RoFormer (arXiv 2104.09864),
equation 34; Henry et al., Query-Key Normalization for Transformers (arXiv 2010.04245); So et al., Primer
(arXiv 2109.08668), squared ReLU; Shazeer, GLU Variants Improve Transformer (arXiv 2002.05202), equation 6; Yao et al.,
Random-LTD (arXiv 2211.11586), section 3, without its schedule of lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.api import Kind
from workloads.lm.head_loss import head_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class GPTConfig:
    """Sizes and details of a model.

    Args:
        layers, width, heads: number of blocks; width D; number of attention heads H, which divides D.
        context: maximum sequence length T.
        vocabulary: number of symbols V.
        norm: type of the normalisation layers.
        placement: `pre` normalises the inputs of each residual branch and of the head. `post` normalises the sum after
            each residual branch.
        activation: activation of the MLP. `swiglu` has a gate, and the hidden width 8/3·D instead of 4·D.
        positions: `rotary` rotates queries and keys. `learned` adds a position embedding to the input.
        qk_norm: whether queries and keys are normalised per head.
        tied: whether the head's weight is the embedding.
        bias: whether linear layers have biases.
        dropout: probability of dropout of the embedding and of each residual branch's output, in [0, 1).
        token_drop: fraction of positions that skip a block in training, in [0, 1). Positions are drawn separately for
            each sequence and block. The first and the last block process all positions, so at least three blocks are
            needed.
        init_scale: factor by which the standard deviation of all initial weights is multiplied.

    Raises:
        ValueError: the width is not a multiple of `heads`, the head width is odd with rotary positions, `token_drop` is
            outside [0, 1), or `token_drop` is positive with fewer than three blocks.
    """

    layers: int
    width: int
    heads: int
    context: int
    vocabulary: int
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    placement: Literal["pre", "post"] = "pre"
    activation: Literal["gelu", "relu2", "swiglu"] = "gelu"
    positions: Literal["rotary", "learned"] = "rotary"
    qk_norm: bool = False
    tied: bool = False
    bias: bool = False
    dropout: float = 0.0
    token_drop: float = 0.0
    init_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} does not divide width={self.width}")
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise ValueError(f"rotary positions need an even head width, got {self.width // self.heads}")
        if not 0.0 <= self.token_drop < 1.0:
            raise ValueError(f"token_drop {self.token_drop} is outside [0, 1)")
        if self.token_drop and self.layers < 3:
            raise ValueError(
                f"token_drop={self.token_drop} needs at least three blocks, since the first and "
                f"the last process all positions; got {self.layers}"
            )


class RMSNorm(nn.RMSNorm):
    """PyTorch's RMSNorm with its weight cast to the input's data type, as the fused kernel requires under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Causal self-attention. N is the width of a head, so D = H·N."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.bias)
        self.out = nn.Linear(config.width, config.width, bias=config.bias)
        head = config.width // config.heads
        self.query_norm = _norm(config, head) if config.qk_norm else nn.Identity()
        self.key_norm = _norm(config, head) if config.qk_norm else nn.Identity()

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
        b, t, d = x_BTD.shape
        q_BHTN, k_BHTN, v_BHTN = self.qkv(x_BTD).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q_BHTN, k_BHTN = self.query_norm(q_BHTN), self.key_norm(k_BHTN)
        if rotation is not None:
            q_BHTN, k_BHTN = _rotate(q_BHTN, *rotation), _rotate(k_BHTN, *rotation)
        y_BHTN = F.scaled_dot_product_attention(q_BHTN, k_BHTN, v_BHTN, is_causal=True)
        out_BTD: Tensor = self.out(y_BHTN.transpose(1, 2).reshape(b, t, d))
        return out_BTD


class MLP(nn.Module):
    """Two linear layers with an activation between them. With `swiglu`, the first layer computes a value and a gate."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.activation = config.activation
        gated = config.activation == "swiglu"
        # The hidden width is a multiple of 8, so that the weights' rows are aligned. With 8/3·D, `swiglu` has as many
        # parameters as the other activations.
        hidden = 8 * round(config.width / 3) if gated else 4 * config.width
        self.up = nn.Linear(config.width, 2 * hidden if gated else hidden, bias=config.bias)
        self.out = nn.Linear(hidden, config.width, bias=config.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        h_BTF = self.up(x_BTD)
        if self.activation == "swiglu":
            value_BTF, gate_BTF = h_BTF.chunk(2, dim=-1)
            h_BTF = value_BTF * F.silu(gate_BTF)
        elif self.activation == "relu2":
            # An evaluation needs no activations for a backward pass. It overwrites them, which takes less time.
            h_BTF = F.relu(h_BTF).square() if torch.is_grad_enabled() else h_BTF.relu_().square_()
        else:
            h_BTF = F.gelu(h_BTF, approximate="tanh")
        out_BTD: Tensor = self.out(h_BTF)
        return out_BTD


class Block(nn.Module):
    """Attention and MLP, each added to the residual stream."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.post = config.placement == "post"
        self.attention_norm = _norm(config, config.width)
        self.attention = Attention(config)
        self.mlp_norm = _norm(config, config.width)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
        if self.post:
            h_BTD = self.attention_norm(x_BTD + self.dropout(self.attention(x_BTD, rotation)))
            out_BTD: Tensor = self.mlp_norm(h_BTD + self.dropout(self.mlp(h_BTD)))
        else:
            h_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), rotation))
            out_BTD = h_BTD + self.dropout(self.mlp(self.mlp_norm(h_BTD)))
        return out_BTD


class GPT(nn.Module):
    """A GPT that returns the logits of the next symbols."""

    cos_TN: Tensor
    sin_TN: Tensor

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.context, config.width) if config.positions == "learned" else None
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_norm = _norm(config, config.width) if config.placement == "pre" else nn.Identity()
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        if config.tied:
            self.head.weight = self.embedding.weight
        if config.positions == "rotary":
            cos_TN, sin_TN = _rotation(config.context, config.width // config.heads)
            # The configuration determines the buffers, so checkpoints do not contain them.
            self.register_buffer("cos_TN", cos_TN, persistent=False)
            self.register_buffer("sin_TN", sin_TN, persistent=False)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Draw normal weights.

        The standard deviation is 0.02 for embeddings and the head, and fan_in^-1/2 for other weights. For the output
        layers of residual branches, it is further multiplied by (2·layers)^-1/2. With 0.02 in the head, the initial
        loss is about ln V. The scale of the embedding hardly changes this loss, because the head's input is normalised.
        """
        scale = self.config.init_scale
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                continue  # norms start at one and biases at zero
            if _kind(name) == "matrix":
                std = parameter.shape[1] ** -0.5
                if name.endswith("out.weight"):
                    std *= (2 * self.config.layers) ** -0.5
            else:
                std = 0.02
            parameter.normal_(std=scale * std)
        for name, parameter in self.named_parameters():
            if _kind(name) == "bias":
                parameter.zero_()

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits of the symbols after `tokens_BT` (int64, T at most the context), shape (B, T, V)."""
        logits_BTV: Tensor = self.head(self.features(tokens_BT))
        return logits_BTV

    def features(self, tokens_BT: Tensor) -> Tensor:
        """Return the inputs of the head, shape (B, T, D)."""
        t = tokens_BT.shape[1]
        x_BTD = self.embedding(tokens_BT)
        rotation = None
        if self.positions is not None:
            x_BTD = x_BTD + self.positions.weight[:t]
        else:
            rotation = (self.cos_TN[:t], self.sin_TN[:t])
        x_BTD = self.dropout(x_BTD)
        for index, block in enumerate(self.blocks):
            if self.training and self.config.token_drop and 0 < index < len(self.blocks) - 1:
                x_BTD = self._apply_to_random_positions(block, x_BTD, rotation)
            else:
                x_BTD = block(x_BTD, rotation)
        features_BTD: Tensor = self.final_norm(x_BTD)
        return features_BTD

    def _apply_to_random_positions(
        self, block: nn.Module, x_BTD: Tensor, rotation: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """Apply a block to a random subset of each sequence's positions. The block does not change the other positions.

        The subset is in ascending order, so that attention is causal. Its size depends only on shapes, so one compiled
        graph suffices.
        """
        b, t, d = x_BTD.shape
        kept = max(1, round(t * (1.0 - self.config.token_drop)))
        # The `kept` largest of t random numbers choose the positions, so that all subsets are equally likely.
        positions_BK = torch.rand(b, t, device=x_BTD.device).topk(kept, dim=1).indices.sort(dim=1).values
        positions_BKD = positions_BK[:, :, None].expand(b, kept, d)
        if rotation is not None:
            # Each chosen position is rotated by its place in the whole sequence. The new second axis is for the heads.
            rotation = (rotation[0][positions_BK][:, None], rotation[1][positions_BK][:, None])
        output_BKD = block(x_BTD.gather(1, positions_BKD), rotation)
        return x_BTD.scatter(1, positions_BKD, output_BKD.to(x_BTD.dtype))


def build(seed: int, config: GPTConfig) -> GPT:
    """Build a new model on the CPU in fp32. Equal seeds give equal weights. The global RNG state does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT(config)


def parameter_kinds(model: nn.Module) -> dict[str, Kind]:
    """Return the kind of every parameter by name. A tied head is listed once, as the embedding."""
    return {name: _kind(name) for name, _ in model.named_parameters()}


def next_symbol_loss(
    model: nn.Module, tokens_BT: Tensor, *, per_example: bool = False, label_smoothing: float = 0.0
) -> Tensor:
    """Return the cross-entropy in nats per symbol: the mean, or with `per_example` one value per sequence.

    The first symbol of a sequence is not predicted.
    """
    logits_BTV = model(tokens_BT[:, :-1])
    targets_BT = tokens_BT[:, 1:]
    loss = F.cross_entropy(
        logits_BTV.flatten(0, 1),
        targets_BT.flatten(),
        reduction="none" if per_example else "mean",
        label_smoothing=label_smoothing,
    )
    return loss.view_as(targets_BT).mean(dim=1) if per_example else loss


def mean_loss_in_parts(model: GPT, tokens_BT: Tensor, *, rows: int, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean `next_symbol_loss`. Of the B·T rows of logits, only `rows` exist at once.

    The function uses the head's weight, but does not call the head's `forward`.
    """
    x_BTD = model.features(tokens_BT[:, :-1])
    return head_loss(
        x_BTD.flatten(0, 1),
        model.head.weight,
        tokens_BT[:, 1:].flatten(),
        rows=rows,
        label_smoothing=label_smoothing,
    )


def _kind(name: str) -> Kind:
    if name.endswith("bias"):
        return "bias"
    if "norm" in name:
        return "norm"
    if name.startswith(("embedding", "positions")):
        return "embedding"
    return "head" if name.startswith("head") else "matrix"


def _norm(config: GPTConfig, width: int) -> nn.Module:
    if config.norm == "layernorm":
        return nn.LayerNorm(width, bias=config.bias)
    return RMSNorm(width, eps=1e-6)


def _rotation(length: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the cosine and the sine of position × frequency for the rotation of queries and keys, (length, width)."""
    frequencies = 10_000.0 ** -torch.arange(0, 1, 2 / width)
    angles_TN = torch.outer(torch.arange(length).float(), frequencies).repeat(1, 2)
    return angles_TN.cos(), angles_TN.sin()


def _rotate(x_BHTN: Tensor, cos_TN: Tensor, sin_TN: Tensor) -> Tensor:
    low, high = x_BHTN.chunk(2, dim=-1)
    return x_BHTN * cos_TN + torch.cat([-high, low], dim=-1) * sin_TN
