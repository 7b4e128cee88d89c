"""Where the targets of the MNIST workloads come from: bare training loops of the references, without the harness.

    python -m benchmarks.pilot_mnist continual --scenario class --seeds 5 [--free] [--naive]
    python -m benchmarks.pilot_mnist curriculum --seeds 5 --order uniform --lr 1e-3

One thread; seconds are process seconds of training alone. With `--free` every stage lasts 60 % of its cap whatever is
met, and the best mean accuracy of each is printed: what a target may ask. Needs the dataset (`bench data get mnist`).
"""

from __future__ import annotations

import argparse
import time

import torch

from benchmarks.pilot_digits import PLAN_FOR, REACH_BY, cosine, met, mixed, spread
from harness.api import ReplayBuffer
from workloads.continual.mnist import ContinualMnist
from workloads.curriculum.mnist import CurriculumMnist

FREE_SHARE = 0.6


def continual(args: argparse.Namespace, seed: int) -> tuple[list[float], list[int], float, float]:
    """AdamW with experience replay: best mean accuracy and examples of every stage, seconds, lowest task at the end."""
    work = ContinualMnist(args.scenario, args.variant)
    facts = work.facts
    model, stream = work.build_model(seed), work.train_data(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.1, betas=(0.9, 0.95))
    replay = None if args.naive else ReplayBuffer(facts.replay_capacity, seed)
    best, used, seconds, score = [], [], 0.0, {"avg_seen": 0.0}
    for index, stage in enumerate(facts.stages):
        if index:
            stream.advance()
        top, drawn = 0.0, 0
        while drawn < stage.max_examples * (FREE_SHARE if args.free else 1):
            start = time.process_time()
            for _ in range(facts.eval_every // facts.batch_sizes[0]):
                loss = work.loss(model, mixed(stream, replay, facts.batch_sizes[0]))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            seconds, drawn = seconds + time.process_time() - start, drawn + facts.eval_every
            score = work.evaluate(model.eval(), "score", index)
            model.train()
            top = max(top, score["avg_seen"])
            if not args.free and met(score, (*stage.targets, *stage.floors)):
                break
        else:
            if not args.free:
                return [*best, top], [*used, -drawn], seconds, min(score.values())
        best.append(top)
        used.append(drawn)
    return best, used, seconds, min(score.values())


def curriculum(args: argparse.Namespace, seed: int) -> tuple[list[float], float]:
    """Cross-entropy after every evaluation up to 80 % of the budget, and seconds.

    `uniform` is AdamW with a cosine in random order; `ascending` a constant rate in ascending quality, averaged.
    """
    work = CurriculumMnist(args.variant)
    facts = work.facts
    horizon, size = facts.budget.horizon, facts.batch_sizes[0]
    model, pool = work.build_model(seed), work.train_data(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.1, betas=(0.9, 0.95))
    generator = torch.Generator().manual_seed(seed)
    ranked = torch.argsort(pool.scores["quality"], descending=args.order == "descending")
    examples, seconds, found = 0, 0.0, []
    while examples < REACH_BY * horizon:
        start = time.process_time()
        for _ in range(facts.eval_every // size):
            bucket = ranked if args.order == "uniform" else ranked.tensor_split(10)[_tenth(examples / horizon)]
            chosen = bucket[torch.randint(len(bucket), (size,), generator=generator)]
            factor = cosine((examples + size) / horizon) if args.order == "uniform" else 1.0
            for group in optimizer.param_groups:
                group["lr"] = args.lr * factor
            loss = work.loss(model, pool.gather(chosen))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            examples += size
        seconds += time.process_time() - start
        found.append(work.evaluate(model.eval(), "score")["cross_entropy"])
        model.train()
    return found, seconds


def _tenth(done: float) -> int:
    return min(int(done / PLAN_FOR * 10), 9)


def main() -> None:
    """Run one of the two pilots and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=("continual", "curriculum"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--scenario", default="class")
    parser.add_argument("--variant", default="")
    parser.add_argument("--order", choices=("uniform", "ascending", "descending"), default="uniform")
    parser.add_argument("--free", action="store_true")
    parser.add_argument("--naive", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    if args.workload == "curriculum":
        runs = [curriculum(args, seed) for seed in seeds]
        target = CurriculumMnist(args.variant).facts.targets[0].value
        hits = [next((i + 1 for i, v in enumerate(found) if v <= target), 0) for found, _ in runs]
        print(f"best: {spread([min(found) for found, _ in runs])}; seconds {spread([s for _, s in runs])}")
        print(f"evaluations to {target}: {hits}")
        print("first run:", [round(v, 3) for v in runs[0][0][::5]])
        return
    for seed in seeds:
        best, used, seconds, lowest = continual(args, seed)
        print(seed, [round(b, 4) for b in best], used, sum(map(abs, used)), f"{seconds:.1f} s, lowest {lowest:.3f}")


if __name__ == "__main__":
    main()
