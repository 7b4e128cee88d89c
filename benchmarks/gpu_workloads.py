"""The workloads that `gpu.py` measures, and a hand-written training loop for comparison.

The workloads are subclasses of two workloads in `workloads/`, with these changes:

- No target is ever met. A run ends after a fixed number of evaluations.
- Evaluations are a fixed number of steps apart.
- The data are generated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from harness.api import Batch, Budget, Pool, Precision, Split, Target, WorkloadEntry, WorkloadFacts
from harness.contract.run import RunSpec
from workloads.lm.common import NextSymbol
from workloads.lm.corpus import Corpus, open_or_write
from workloads.lm.facts import LM_124M_SYNTHETIC
from workloads.lm.web import Lm124mSynthetic
from workloads.resnet import model as resnet
from workloads.resnet.augment import AugmentedPool, normalised
from workloads.resnet.cifar import _REACH, PIXEL_MEAN, PIXEL_STD, ResnetCifar10
from workloads.resnet.classifier import pieces
from workloads.resnet.facts import RESNET_CIFAR10
from workloads.resnet.model import ResnetConfig

#: Whether the checked-out version computes the loss in chunks, without the logits of a whole batch.
LOGITS_IN_PARTS = Lm124mSynthetic.loss is not NextSymbol.loss

_HERE = Path(__file__).resolve()
_TOY_GPT = {"layers": 2, "width": 32, "heads": 2, "context": 16}
_TOY_WIDTHS, _WIDTHS = (4, 8, 8, 8), (64, 128, 256, 512)


def _timed(base: WorkloadFacts, batch: int, steps: int, intervals: int, dtype: str, compiled: bool) -> WorkloadFacts:
    """Return the facts (targets, budget, evaluations …) of a workload for a timed run.

    Args:
        base: the facts of the workload itself.
        batch: batch size.
        steps: number of steps between two evaluations.
        intervals: number of evaluations.
        dtype: data type of autocast.
        compiled: whether the loss is compiled.
    """
    examples = batch * steps * intervals
    goal = base.targets[0].goal
    return msgspec.structs.replace(
        base,
        tier="cpu",
        targets=(Target(metric=base.targets[0].metric, goal=goal, value=-9.0 if goal == "min" else 9.0),),
        levels={},
        budget=Budget(horizon=examples, gradient_examples=2 * examples, seconds={"default": 1e9}),
        batch_sizes=(batch,),
        eval_every=batch * steps,
        precision=Precision(dtype=dtype, tf32=True, compile=compiled),  # type: ignore[arg-type]
    )


# --- lm-124m-synthetic --------------------------------------------------------------------------


class Words(Lm124mSynthetic):
    """`lm-124m-synthetic` on a small corpus.

    Args:
        toy: whether the model and the sequences are tiny, for a CPU.
        micro: examples per forward and backward pass; 0 if the harness chooses.
        whole_logits: whether the loss is computed from all logits at once, instead of in chunks.
        batch, steps, intervals, dtype, compiled: see `_timed`.
    """

    def __init__(
        self,
        toy: bool,
        batch: int,
        micro: int,
        steps: int,
        intervals: int,
        dtype: str,
        compiled: bool,
        whole_logits: bool = False,
    ) -> None:
        super().__init__(documents=256 if toy else 4_096, held_out=4 if toy else 16)
        facts = _timed(LM_124M_SYNTHETIC, batch, steps, intervals, dtype, compiled)
        if toy:
            facts = msgspec.structs.replace(facts, tokens_per_example=_TOY_GPT["context"])
            self._config = self._config | _TOY_GPT
        self.facts = facts
        self._corpus = Corpus(length=facts.tokens_per_example)
        if micro:
            self.micro_batch = micro
        self._whole_logits = whole_logits

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        if self._whole_logits:
            return NextSymbol.loss(self, model, batch, per_example)
        return super().loss(model, batch, per_example)


def words(**arguments: Any) -> WorkloadEntry:
    """Return the entry of `Words` with the given arguments."""
    return WorkloadEntry(
        facts=Words(**arguments).facts, load=f"{_HERE}:Words", arguments=arguments, summary="lm-124m-synthetic, timed"
    )


def flops_per_token(model: nn.Module, config: Any) -> float:
    """Return the floating-point operations per token of one forward and one backward pass: 6·N + 6·L·D·T.

    N is the number of parameters, L the number of layers, D the width and T the sequence length. Only matrix products
    count. The tied embedding counts once, as the head, and attention without its masked half. N includes the parameters
    of norms, which are negligible.
    """
    parameters = sum(p.numel() for p in model.parameters())
    attention: int = config.layers * config.width * config.context
    return 6.0 * (parameters + attention)


# --- resnet-cifar10 -----------------------------------------------------------------------------


class Pictures(ResnetCifar10):
    """`resnet-cifar10` on noise of the same shape.

    Args:
        toy: whether the network is narrow and the images are few, for a CPU.
        channels_last: whether activations are in channels_last format.
        batch, steps, intervals, dtype, compiled: see `_timed`.
    """

    def __init__(
        self, toy: bool, batch: int, steps: int, intervals: int, dtype: str, compiled: bool, channels_last: bool
    ) -> None:
        super().__init__()
        self.facts = _timed(RESNET_CIFAR10, batch, steps, intervals, dtype, compiled)
        self._toy = toy
        self._channels_last = channels_last

    def network(self, seed: int, **options: Any) -> nn.Module:
        widths = _TOY_WIDTHS if self._toy else _WIDTHS
        config = ResnetConfig(
            channels=3, widths=widths, blocks=(2, 2, 2, 2), channels_last=self._channels_last, **options
        )
        return resnet.build(config, seed)

    def train_data(self, seed: int) -> Pool:
        pixels_BHWC, labels_B = _noise(256 if self._toy else 47_000)
        return AugmentedPool(
            pixels_BHWC, labels_B, mean=PIXEL_MEAN, std=PIXEL_STD, reach=_REACH, seed=seed, device=self._device()
        )

    def held_out(self, split: Split, *shard: Any) -> Iterator[Batch]:
        pixels_BHWC, labels_B = _noise(32 if self._toy else 2_000)
        for piece in pieces(Batch(pixels_BHWC=pixels_BHWC, labels_B=labels_B).to(self._device()), 1_000, *shard):
            x_BCHW = normalised(piece["pixels_BHWC"], PIXEL_MEAN, PIXEL_STD)
            yield Batch(x_BCHW=x_BCHW, labels_B=piece["labels_B"])


def pictures(**arguments: Any) -> WorkloadEntry:
    """Return the entry of `Pictures` with the given arguments."""
    facts = Pictures(**arguments).facts
    return WorkloadEntry(facts=facts, load=f"{_HERE}:Pictures", arguments=arguments, summary="resnet-cifar10, timed")


def _noise(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    pixels_BHWC = torch.randint(256, (n, 32, 32, 3), generator=generator, dtype=torch.uint8)
    return pixels_BHWC, torch.randint(10, (n,), generator=generator)


# --- hand-written loop --------------------------------------------------------------------------


def bare_words(spec: RunSpec, workload: Words, micro: int, compiled: bool) -> Callable[[], None]:
    """Return a function that makes one training step on `Words` in plain PyTorch, with all tokens on the device.

    Args:
        spec, workload: the trial and the workload that the harness trains.
        micro: sequences per forward and backward pass.
        compiled: whether the loss is compiled, as in the harness.
    """
    device, hp, facts = torch.device(spec.device), spec.hparams, spec.workload.facts
    model = workload.build_model(spec.seeds.model).to(device)
    tokens_T = torch.from_numpy(_all_tokens(workload)).to(device)
    length, batch_size = facts.tokens_per_example, facts.batch_sizes[0]
    offsets_T = torch.arange(length + 1, device=device)
    kinds = workload.parameter_kinds(model)
    decayed = [p for n, p in model.named_parameters() if kinds[n] not in ("norm", "bias")]
    others = [p for n, p in model.named_parameters() if kinds[n] in ("norm", "bias")]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": hp["weight_decay"]},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=float(hp["lr"]), betas=(float(hp["beta1"]), float(hp["beta2"])), eps=float(hp["eps"]), fused=True
    )
    loss_of = torch.compile(workload.loss, fullgraph=True, dynamic=False) if compiled else workload.loss
    documents = (len(tokens_T) - 1) // length
    horizon = max(1, facts.budget.horizon // batch_size)
    updates, order_N = 0, torch.empty(0, dtype=torch.int64, device=device)

    def step() -> None:
        nonlocal updates, order_N
        if len(order_N) < batch_size:
            order_N = torch.randperm(documents, device=device)
        chosen_B, order_N = order_N[:batch_size], order_N[batch_size:]
        tokens_BT = tokens_T[chosen_B[:, None] * length + offsets_T].long()
        factor = 0.5 * (1 + math.cos(math.pi * min(1.0, updates / horizon)))
        for group in optimizer.param_groups:
            group["lr"] = float(hp["lr"]) * factor
        optimizer.zero_grad(set_to_none=True)
        for part_BT in torch.split(tokens_BT, micro):
            with _autocast(facts.precision.dtype, device):
                loss = loss_of(model, Batch(tokens_BT=part_BT))
            (loss * (len(part_BT) / batch_size)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        updates += 1

    return step


def _all_tokens(workload: Words) -> Any:
    """Return the corpus as int32, which needs half the memory of the int64 that the model reads."""
    tokens = open_or_write(workload._corpus, "train", workload._documents)
    return tokens.read(0, len(tokens)).astype("int32")


def _autocast(dtype: str, device: torch.device) -> AbstractContextManager[Any]:
    return nullcontext() if dtype == "float32" else torch.autocast(device.type, getattr(torch, dtype))
