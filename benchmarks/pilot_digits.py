"""Where the targets of the digits workloads come from: bare training loops of the references, without the harness.

    python -m benchmarks.pilot_digits resnet --seeds 10 --lr 1e-2
    python -m benchmarks.pilot_digits continual --seeds 10 --lr 1e-3 [--naive]

One thread; seconds are process seconds of training alone. `quantile` is the easiest of the best values that
90 % of the seeds reach by 80 % of the budget: the target should not be harder.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.api import Batch, ReplayBuffer, StagedStream, Target
from workloads.continual.digits import ContinualDigits
from workloads.resnet import digits_data
from workloads.resnet.digits import ResnetDigits

REACH_BY = 0.8
PLAN_FOR = 0.75
WARM_UP = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One evaluation: examples drawn, process seconds, metrics on `score` and `audit`, the stage."""

    examples: int
    seconds: float
    score: dict[str, float]
    audit: dict[str, float]
    error: float = 0.0
    stage: int = 0


def cosine(done: float, plan: float = PLAN_FOR) -> float:
    """Factor of the learning rate after this share of the horizon: warm-up, cosine to 0 at `plan`.

    >>> cosine(0.75), cosine(1.0)
    (0.0, 0.0)
    """
    share = min(1.0, done / plan)
    return min(1.0, share / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * share))


def resnet(seed: int, lr: float, weight_decay: float) -> list[Seen]:
    """AdamW with a cosine on `resnet-digits` up to 80 % of the budget, whether or not the target is met."""
    work, facts = ResnetDigits(), ResnetDigits.facts
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
            update(work, model, optimizer, pool.gather(order[:size]))
            order, examples = order[size:], examples + size
        seconds += time.process_time() - start
        model.eval()
        score = work.evaluate(model, "score")
        # Far from the target nobody looks at the rest, and evaluations outweigh training here.
        near = score["cross_entropy"] <= 2 * facts.targets[0].value
        audit = work.evaluate(model, "audit") if near else {}
        error = standard_error(work, model) if near else 0.0
        found.append(Seen(examples=examples, seconds=seconds, score=score, audit=audit, error=error))
        model.train()
    return found


def update(
    work: ResnetDigits | ContinualDigits, model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: Batch
) -> None:
    """One step on the mean loss of a batch."""
    loss = work.loss(model, batch)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def standard_error(work: ResnetDigits, model: torch.nn.Module) -> float:
    """Of the score split's cross-entropy over its images."""
    (images,) = work.held_out("score")
    with torch.no_grad():
        losses_B = work.loss(model, images, per_example=True)
    return float(losses_B.std() / math.sqrt(len(losses_B)))


def continual(seed: int, lr: float, weight_decay: float, naive: bool) -> tuple[list[Seen], int]:
    """AdamW with experience replay (or without) on `continual-digits`, as the harness would stage it.

    Returns:
        every evaluation, and the number of stages that were met.
    """
    work, facts = ContinualDigits(), ContinualDigits.facts
    model, stream = work.build_model(seed), work.train_data(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    replay = None if naive else ReplayBuffer(facts.replay_capacity, seed)
    size, seconds, examples, found = facts.batch_sizes[0], 0.0, 0, []
    for index, stage in enumerate(facts.stages):
        if index:
            stream.advance()
        for _ in range(stage.max_examples // facts.eval_every):
            start = time.process_time()
            for _ in range(facts.eval_every // size):
                update(work, model, optimizer, mixed(stream, replay, size))
            seconds, examples = seconds + time.process_time() - start, examples + facts.eval_every
            model.eval()
            score, audit = work.evaluate(model, "score", index), work.evaluate(model, "audit", index)
            model.train()
            found.append(Seen(examples=examples, seconds=seconds, score=score, audit=audit, stage=index))
            if met(score, (*stage.targets, *stage.floors)):
                break
        else:
            return found, index
    return found, len(facts.stages)


def mixed(stream: StagedStream, replay: ReplayBuffer | None, size: int) -> Batch:
    """As many replayed as fresh examples, once there are any."""
    fresh = stream.draw(size)
    if replay is None:
        return fresh
    batch = Batch.cat([fresh, replay.sample(size)]) if len(replay) else fresh
    replay.add(fresh)
    return batch


def met(metrics: dict[str, float], targets: tuple[Target, ...]) -> bool:
    """Whether all targets are met."""
    return all(target.met(metrics) for target in targets)


def spread(values: list[float]) -> str:
    """Minimum, median, maximum."""
    ordered: Tensor = torch.tensor(values, dtype=torch.float64).sort().values
    return f"{ordered[0]:.4g} / {ordered.median():.4g} / {ordered[-1]:.4g}"


def report_resnet(runs: list[list[Seen]], target: Target) -> None:
    """Hit rate, times, the quantile and the resolution of these runs."""
    best = sorted(min(point.score[target.metric] for point in run) for run in runs)
    hits = [next((p for p in run if target.met(p.score)), None) for run in runs]
    reached = [p for p in hits if p is not None]
    print(
        f"target {target.value}: {len(reached)} of {len(runs)} hit; quantile {best[math.ceil(0.9 * len(best)) - 1]:.4f}"
    )
    print("best, min / median / max:", spread(best))
    if not reached:
        return
    print("process seconds to the target:", spread([p.seconds for p in reached]))
    print("examples to the target:", spread([float(p.examples) for p in reached]))
    print("evaluations to the target:", spread([p.examples / ResnetDigits.facts.eval_every for p in reached]))
    print("accuracy at the hit:", spread([p.score["accuracy"] for p in reached]))
    print("audit minus score at the hit:", spread([p.audit[target.metric] - p.score[target.metric] for p in reached]))
    audited = sum(p.audit[target.metric] <= target.value + p.error for p in reached)
    print(f"audit within one standard error of the target: {audited} of {len(reached)}")
    print("seconds to 80 % of the budget:", spread([run[-1].seconds for run in runs]))
    curve = [sum(run[i].score[target.metric] for run in runs) / len(runs) for i in range(len(runs[0]))]
    crossing = next((i for i, value in enumerate(curve) if value <= target.value), len(curve) - 1)
    error = sum(run[crossing].error for run in runs) / len(runs)
    # The secant over an eighth of the way on either side: the curve of a mean is still not smooth.
    reach = max(1, crossing // 8)
    low, high = crossing - reach, min(crossing + reach, len(curve) - 1)
    slope = (curve[low] - curve[high]) / (high - low)
    share = error / slope / (crossing + 1)
    print(f"mean curve crosses at evaluation {crossing + 1}; standard error {error:.4f}; resolution {share:.3f}")


def report_continual(runs: list[tuple[list[Seen], int]]) -> None:
    """Stages met, times and per-stage figures of these runs."""
    facts = ContinualDigits.facts
    done = [points for points, stages in runs if stages == len(facts.stages)]
    print(f"{len(done)} of {len(runs)} met every stage; stages met per run: {[stages for _, stages in runs]}")
    for index, stage in enumerate(facts.stages):
        turns = [[p for p in points if p.stage == index] for points, _ in runs]
        turns = [turn for turn in turns if turn]
        if turns:
            best = [max(p.score["avg_seen"] for p in turn) for turn in turns]
            used = [float(len(turn) * facts.eval_every) for turn in turns]
            print(f"{stage.name}: target {stage.targets[0].value}; best {spread(best)}; examples {spread(used)}")
    if done:
        print("process seconds:", spread([points[-1].seconds for points in done]))
        print("examples:", spread([float(points[-1].examples) for points in done]))
        print("evaluations:", spread([float(len(points)) for points in done]))
        lowest = [min(v for k, v in points[-1].score.items() if k != "avg_seen") for points in done]
        print("lowest task at the end:", spread(lowest))
        print("audit minus score:", spread([p[-1].audit["avg_seen"] - p[-1].score["avg_seen"] for p in done]))
        print("resolution:", spread([stream_resolution(points) for points in done]))


def stream_resolution(points: list[Seen]) -> float:
    """One standard error of the mean accuracy at the end as a share of the time, by the secant of the last stage."""
    last = [p for p in points if p.stage == points[-1].stage]
    tasks = [v for k, v in last[-1].score.items() if k != "avg_seen"]
    images = len(digits_data.load("score").labels_B) / len(tasks)
    error = math.sqrt(sum(v * (1 - v) / images for v in tasks)) / len(tasks)
    gained, took = last[-1].score["avg_seen"] - last[0].score["avg_seen"], last[-1].seconds - last[0].seconds
    return error * took / gained / last[-1].seconds if gained > 0 else math.inf


def main() -> None:
    """Run one of the two pilots and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=("resnet", "continual"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--lr", type=float, default=None, help="peak learning rate")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--naive", action="store_true", help="continual: without replay")
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    if given.workload == "resnet":
        lr = 1e-2 if given.lr is None else given.lr
        report_resnet([resnet(seed, lr, given.weight_decay) for seed in seeds], ResnetDigits.facts.targets[0])
    else:
        lr = 1e-3 if given.lr is None else given.lr
        report_continual([continual(seed, lr, given.weight_decay, given.naive) for seed in seeds])


if __name__ == "__main__":
    main()
