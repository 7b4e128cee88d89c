"""Where the target of `resnet-fashion` comes from: a bare training loop of AdamW with a cosine, without the harness.

    bench data get fashion-mnist
    python -m benchmarks.pilot_fashion --seeds 3 --lr 2e-2 [--variant unit-init]

One thread; seconds are process seconds of training alone. `quantile` is the easiest of the best values that
90 % of the seeds reach by 80 % of the budget: the target should not be harder.
"""

from __future__ import annotations

import argparse
import math
import time

import torch

from benchmarks.pilot_digits import REACH_BY, Seen, cosine, spread
from harness.api import Batch, Target
from workloads.resnet.fashion import ResnetFashion


def train(work: ResnetFashion, seed: int, lr: float, weight_decay: float) -> list[Seen]:
    """AdamW with a cosine up to 80 % of the budget, whether or not the target is met."""
    facts = work.facts
    model, pool = work.build_model(seed), work.train_data(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(seed)
    size, order, seconds, examples, found = facts.batch_sizes[0], torch.empty(0, dtype=torch.int64), 0.0, 0, []
    while examples < REACH_BY * facts.budget.horizon:
        start = time.process_time()
        for _ in range(facts.eval_every // size):
            if len(order) < size:
                order = torch.cat([order, torch.randperm(len(pool), generator=generator)])
            for group in optimizer.param_groups:
                group["lr"] = lr * cosine((examples + size) / facts.budget.horizon)
            loss = work.loss(model, pool.gather(order[:size]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            order, examples = order[size:], examples + size
        seconds += time.process_time() - start
        model.eval()
        score, error = measured(work, model)
        # Far from the target nobody looks at the rest.
        near = score["cross_entropy"] <= 1.1 * facts.targets[0].value
        audit = work.evaluate(model, "audit") if near else {}
        found.append(Seen(examples=examples, seconds=seconds, score=score, audit=audit, error=error))
        model.train()
    return found


def measured(work: ResnetFashion, model: torch.nn.Module) -> tuple[dict[str, float], float]:
    """Metrics on `score`, and the standard error of its cross-entropy over its images."""
    whole: Batch = Batch.cat(list(work.held_out("score")))
    with torch.no_grad():
        logits_BK = torch.cat([work.outputs(model, batch) for batch in work.held_out("score")])
    losses_B = torch.nn.functional.cross_entropy(logits_BK, whole["labels_B"], reduction="none")
    accuracy = float((logits_BK.argmax(1) == whole["labels_B"]).double().mean())
    score = {"cross_entropy": float(losses_B.mean()), "accuracy": accuracy}
    return score, float(losses_B.std() / math.sqrt(len(losses_B)))


def report(runs: list[list[Seen]], target: Target, eval_every: int) -> None:
    """Hit rate, times, the quantile and the resolution of these runs."""
    best = sorted(min(point.score[target.metric] for point in run) for run in runs)
    curve = [sum(run[i].score[target.metric] for run in runs) / len(runs) for i in range(len(runs[0]))]
    print("mean curve, every tenth:", " ".join(f"{value:.4f}" for value in curve[9::10]))
    print("best, min / median / max:", spread(best), f"quantile {best[math.ceil(0.9 * len(best)) - 1]:.4f}")
    print("seconds to 80 % of the budget:", spread([run[-1].seconds for run in runs]))
    print("accuracy there:", spread([run[-1].score["accuracy"] for run in runs]))
    hits = [next((p for p in run if target.met(p.score)), None) for run in runs]
    reached = [p for p in hits if p is not None]
    print(f"target {target.value}: {len(reached)} of {len(runs)} hit")
    if not reached:
        return
    print("process seconds to the target:", spread([p.seconds for p in reached]))
    print("evaluations to the target:", spread([p.examples / eval_every for p in reached]))
    print("audit minus score at the hit:", spread([p.audit[target.metric] - p.score[target.metric] for p in reached]))
    crossing = next((i for i, value in enumerate(curve) if value <= target.value), len(curve) - 1)
    error = sum(run[crossing].error for run in runs) / len(runs)
    # The secant over an eighth of the way on either side: the curve of a mean is still not smooth.
    low, high = crossing - max(1, crossing // 8), min(crossing + max(1, crossing // 8), len(curve) - 1)
    share = error * (high - low) / (curve[low] - curve[high]) / (crossing + 1)
    print(f"mean curve crosses at evaluation {crossing + 1}; standard error {error:.4f}; resolution {share:.3f}")


def main() -> None:
    """Run the pilot and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--lr", type=float, default=2e-2, help="peak learning rate")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--variant", default="")
    given = parser.parse_args()
    torch.set_num_threads(1)
    work = ResnetFashion(given.variant)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    runs = [train(work, seed, given.lr, given.weight_decay) for seed in seeds]
    report(runs, work.facts.targets[0], work.facts.eval_every)


if __name__ == "__main__":
    main()
