"""Measure how much the loss on `lm-tiny` depends on the seed of its synthetic language and on the held-out sample.

    python -m benchmarks.language_seeds              # about four minutes on one core

The script prints two results:

1. The loss of one trained model on eight fresh held-out samples. The language is that of the workload.
2. The losses on six languages, with two seeds each. For a seed, the initial weights are equal in all languages.

Training is with AdamW and a cosine schedule, at the tuned learning rate of this pair, in a plain loop on one thread. It
ends after `GATE_BUDGET` examples, at which `bench gate` compares submissions on this workload.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from harness.api import Batch
from workloads.lm.common import corrected, sequence_losses
from workloads.lm.documents import LANGUAGE_SEED
from workloads.lm.language import Language
from workloads.lm.tiny import CHUNK, LmTiny, as_tensor

LANGUAGES = tuple(range(LANGUAGE_SEED, LANGUAGE_SEED + 6))
SEEDS = (200, 201)
GATE_BUDGET = 8_064
LEARNING_RATE = 0.005
WEIGHT_DECAY = 0.1
SCORE_DOCUMENTS = 1_792
_LENGTH = LmTiny.facts.tokens_per_example + 1


class Outcome(NamedTuple):
    """The result of one run in nats per character: loss, loss − entropy of the language, standard error of the loss."""

    loss: float
    excess: float
    se: float


def held_out(language: Language, sample: str) -> tuple[Tensor, Tensor]:
    """Return the documents of a sample, (n, 65), and the exact nats per character of each document, (n,)."""
    tokens_NT = language.documents(SCORE_DOCUMENTS, length=_LENGTH, stream_seed=sample)
    return as_tensor(tokens_NT), torch.tensor(-language.log_probs(tokens_NT).mean(axis=1))


def train(language: Language, seed: int, examples: int) -> nn.Module:
    """Return a model after training with AdamW and a cosine schedule on documents of a language."""
    workload = LmTiny()
    model = workload.build_model(seed)
    size = workload.facts.batch_sizes[0]
    steps = examples // size
    tokens_NT = as_tensor(language.documents(examples, length=_LENGTH, stream_seed=f"train/{seed}"))
    kinds = workload.parameter_kinds(model)
    groups = [
        {"params": [p for n, p in model.named_parameters() if kinds[n] == "matrix"], "weight_decay": WEIGHT_DECAY},
        {"params": [p for n, p in model.named_parameters() if kinds[n] != "matrix"], "weight_decay": 0.0},
    ]
    solver = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.SequentialLR(
        solver,
        [
            torch.optim.lr_scheduler.LinearLR(solver, 1e-3, total_iters=steps // 20),
            torch.optim.lr_scheduler.CosineAnnealingLR(solver, steps - steps // 20),
        ],
        [steps // 20],
    )
    for batch_NT in torch.split(tokens_NT, size):
        solver.zero_grad()
        workload.loss(model, Batch(tokens_BT=batch_NT)).backward()  # type: ignore[no-untyped-call]
        solver.step()
        schedule.step()
    return model.eval()


def evaluate(model: nn.Module, language: Language, sample: str) -> Outcome:
    """Return the losses of a model on a sample of a language."""
    tokens_NT, nats_N = held_out(language, sample)
    entropy = language.document_entropy(_LENGTH)
    metrics = corrected(sequence_losses(model, tokens_NT, CHUNK), nats_N, entropy)
    return Outcome(metrics["loss"], metrics["excess"], metrics["se"])


def report_languages(examples: int, seeds: Sequence[int]) -> None:
    """Print the mean losses in each language after `examples` examples, and their spread over the languages."""
    print(f"\n{examples:,} examples, {len(seeds)} seeds\nlanguage  entropy    loss  excess  seed sd")
    rows = []
    for language_seed in LANGUAGES:
        language = Language(language_seed)
        outcomes = [evaluate(train(language, seed, examples), language, "held-out/score") for seed in seeds]
        loss, excess = (
            statistics.fmean(values) for values in ([o.loss for o in outcomes], [o.excess for o in outcomes])
        )
        seed_sd = statistics.stdev(o.loss for o in outcomes) if len(outcomes) > 1 else float("nan")
        entropy = language.document_entropy(_LENGTH)
        rows.append((entropy, loss, excess))
        print(f"{language_seed:8d}  {entropy:.4f}  {loss:.4f}  {excess:.4f}  {seed_sd:.4f}", flush=True)
    for name, values in zip(("entropy", "loss", "excess"), zip(*rows, strict=True), strict=True):
        print(f"sd over languages of {name}: {statistics.stdev(values):.4f}, range {max(values) - min(values):.4f}")


def report_samples() -> None:
    """Print the spread of the loss of one trained model over fresh held-out samples of its language."""
    language = Language(LANGUAGE_SEED)
    model = train(language, SEEDS[0], GATE_BUDGET)
    outcomes = [evaluate(model, language, f"sample/{k}") for k in range(8)]
    losses = [outcome.loss for outcome in outcomes]
    print(f"\nthe same weights on 8 samples: mean {statistics.fmean(losses):.4f}, sd {statistics.stdev(losses):.4f}")
    print(f"standard error of one sample {statistics.fmean(o.se for o in outcomes):.4f}")


def main() -> None:
    """Print the line about samples and the table of languages."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    report_samples()
    report_languages(GATE_BUDGET, SEEDS)
    print(f"\n{time.process_time() - began:.0f} s of processor time, torch {torch.__version__}")


if __name__ == "__main__":
    main()
