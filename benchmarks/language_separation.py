"""Test whether `lm-tiny` separates four training algorithms (the arms), in plain training loops without the harness.

    python -m benchmarks.language_separation language   # entropies of the language, and the speed of its generation
    python -m benchmarks.language_separation run        # about 25 minutes on one core; resumes if it was stopped
    python -m benchmarks.language_separation report     # the tables of docs/synthetic-language.md
    python -m benchmarks.language_separation resolution # one run: the standard error of its loss

The design was fixed before the first run:

1. Each arm is tuned on the seed 900 over the learning rates 0.00125, 0.0025 and 0.005. The best rate has the lowest
   loss after 75 % of the horizon (the largest number of examples of a run). While the best rate is the smallest or
   largest of the list, half or twice this rate is added.
2. Each arm runs at its best rate on the seeds 100-103.
3. The reference, AdamW with a cosine schedule, runs on 6 more seeds. Its runs determine the target.

Two arms are separated if their means differ by more than 3 times the larger of their standard deviations. Runs have one
thread. Seconds are process seconds of training, without evaluation. Evaluation is on the held-out split `score`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness.api import Batch
from workloads.lm.documents import LANGUAGE_SEED
from workloads.lm.language import Language, text
from workloads.lm.tiny import LmTiny, entropy, held_out

OUT = Path(__file__).parents[1] / "docs" / "measured" / "language_separation.json"
ARMS = ("adamw-constant", "adamw-cosine", "adamw-wsd", "muon-wsd")
REFERENCE = "adamw-cosine"
LEARNING_RATES = (0.00125, 0.0025, 0.005)
TUNING_SEED = 900
SEEDS = tuple(range(100, 104))
REFERENCE_SEEDS = tuple(range(104, 110))
#: Planned length of a run, at which the schedule ends, as a fraction of the horizon.
PLAN_FOR = 0.75
#: Length of the warm-up, and of the decay of WSD (warm-up, stable, decay), as fractions of the planned length.
WARM_UP = 0.05
WSD_DECAY = 0.3
WEIGHT_DECAY = 0.1


def factor(schedule: str, share: float) -> float:
    """Return the factor of the learning rate, including warm-up, after a fraction `share` of the planned steps.

    >>> factor("cosine", 1.0), factor("constant", 1.2), factor("wsd", 0.85)
    (0.0, 1.0, 0.5)
    """
    rise = min(1.0, share / WARM_UP)
    if schedule == "constant":
        return rise
    share = min(1.0, share)
    if schedule == "cosine":
        return rise * 0.5 * (1.0 + math.cos(math.pi * share))
    return rise * min(1.0, round((1.0 - share) / WSD_DECAY, 12))


def optimizers(arm: str, model: torch.nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    """Build AdamW for all parameters, or, in the arm `muon-wsd`, Muon for the matrices and AdamW for the rest.

    Muon's updates are scaled to the size of AdamW's.
    """
    kinds = LmTiny().parameter_kinds(model)
    matrices = [p for name, p in model.named_parameters() if kinds[name] == "matrix"]
    others = [p for name, p in model.named_parameters() if kinds[name] != "matrix"]
    if arm.startswith("adamw"):
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
        return [torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY)]
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def train(arm: str, lr: float, seed: int, stop: float = -math.inf) -> tuple[dict[str, Any], torch.nn.Module]:
    """Train a model and return the data of the run and the model.

    The run ends at its planned length, or at the horizon if the learning rate is constant. It ends early if the loss is
    at most `stop`. The data contain [examples, seconds, loss] of each evaluation.
    """
    workload, facts = LmTiny(), LmTiny.facts
    model, pool = workload.build_model(seed), workload.train_data(seed)
    size, horizon = facts.batch_sizes[0], facts.budget.horizon
    constant = arm.endswith("constant")
    end = horizon if constant else math.ceil(PLAN_FOR * horizon / facts.eval_every) * facts.eval_every
    solvers = optimizers(arm, model, lr)
    points, seconds, plan = [], 0.0, PLAN_FOR * horizon / size
    start = time.process_time()
    for step in range(end // size):
        scale = factor(arm.split("-")[1], step / plan)
        # Documents are drawn independently, so the order of the pool needs no shuffling.
        loss = workload.loss(model, pool.gather(torch.arange(step * size, (step + 1) * size)))
        for solver in solvers:
            for group in solver.param_groups:
                group["lr"] = lr * scale
            solver.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for solver in solvers:
            solver.step()
        if (step + 1) * size % facts.eval_every == 0:
            seconds += time.process_time() - start
            metrics = workload.evaluate(model.eval(), "score")
            points.append([(step + 1) * size, round(seconds, 3), round(metrics["loss"], 5)])
            if metrics["loss"] <= stop:
                break
            model.train()
            start = time.process_time()
    audit = workload.evaluate(model.eval(), "audit")["loss"]
    return {"arm": arm, "lr": lr, "seed": seed, "points": points, "audit": audit}, model


# --- runs ---------------------------------------------------------------------------------------


def load_runs() -> list[dict[str, Any]]:
    """Return the stored runs."""
    return list(json.loads(OUT.read_text())["runs"]) if OUT.exists() else []


def planned_loss(run: dict[str, Any]) -> float:
    """Return a run's loss at its planned length."""
    end = PLAN_FOR * LmTiny.facts.budget.horizon
    return float(next(loss for examples, _, loss in run["points"] if examples >= end))


def find_or_run(arm: str, lr: float, seed: int) -> float:
    """Return the loss of a run at its planned length. If the run is not stored, make and store it."""
    runs = load_runs()
    for run in runs:
        if (run["arm"], run["lr"], run["seed"]) == (arm, lr, seed):
            return planned_loss(run)
    run, _ = train(arm, lr, seed)
    where = {"cpu": _cpu_name(), "torch": torch.__version__, "threads": 1, "workload": LmTiny.facts.id}
    OUT.write_text(_format_runs({"where": where, "runs": [*runs, run]}))
    print(f"{arm} lr {lr:g} seed {seed}: {planned_loss(run):.4f}, {run['points'][-1][1]:.1f} s", flush=True)
    return planned_loss(run)


def tune(arm: str) -> float:
    """Return the best learning rate on the tuning seed."""
    rates = list(LEARNING_RATES)
    while True:
        losses = [find_or_run(arm, lr, TUNING_SEED) for lr in rates]
        best = losses.index(min(losses))
        if best == 0:
            rates.insert(0, rates[0] / 2)
        elif best == len(rates) - 1:
            rates.append(rates[-1] * 2)
        else:
            return rates[best]


def run_all() -> None:
    """Make all planned runs."""
    rates = {arm: tune(arm) for arm in ARMS}
    for seed in SEEDS:
        for arm in ARMS:
            find_or_run(arm, rates[arm], seed)
    for seed in REFERENCE_SEEDS:
        find_or_run(REFERENCE, rates[REFERENCE], seed)


# --- results ------------------------------------------------------------------------------------


class Hit(NamedTuple):
    """The examples and seconds of a run at the first evaluation that meets the target."""

    examples: int
    seconds: float


def find_hit(run: dict[str, Any], target: float) -> Hit | None:
    """Return the hit of a run; None for a miss."""
    return next((Hit(examples, seconds) for examples, seconds, loss in run["points"] if loss <= target), None)


def runs_of_tables() -> dict[str, list[dict[str, Any]]]:
    """Return the runs of each arm on the seeds of the tables."""
    return {arm: [r for r in load_runs() if r["arm"] == arm and r["seed"] in SEEDS] for arm in ARMS}


def report() -> None:
    """Print the tables of docs/synthetic-language.md."""
    runs = runs_of_tables()
    target = LmTiny.facts.targets[0].value
    print(f"entropy {entropy():.4f}; target {target:g}")
    print("arm | learning rate | loss at 75 % | sd | examples to target | sd | seconds")
    for arm, arm_runs in runs.items():
        losses = [planned_loss(r) for r in arm_runs]
        cells = [arm, f"{arm_runs[0]['lr']:g}", f"{statistics.mean(losses):.4f}", f"{statistics.stdev(losses):.4f}"]
        hits = [hit for run in arm_runs if (hit := find_hit(run, target))]
        if len(hits) < len(arm_runs):
            cells.append(f"missed by {len(arm_runs) - len(hits)} of {len(arm_runs)}")
        else:
            examples = [hit.examples for hit in hits]
            cells += [f"{statistics.mean(examples):.0f}", f"{statistics.stdev(examples):.0f}"]
            cells.append(f"{statistics.mean(hit.seconds for hit in hits):.1f}")
        print(" | ".join(cells))
    _report_reference(target)


def _report_reference(target: float) -> None:
    """Print the loss that 90 % of the reference's runs reach, and the seconds of its runs to the target."""
    runs = [r for r in load_runs() if r["arm"] == REFERENCE and r["seed"] in SEEDS + REFERENCE_SEEDS]
    final_losses = sorted(planned_loss(r) for r in runs)
    mean_loss, sd = statistics.mean(final_losses), statistics.stdev(final_losses)
    print(f"{REFERENCE}, {len(runs)} seeds: loss {mean_loss:.4f} sd {sd:.4f}")
    print(f"90 % reach {final_losses[math.ceil(0.9 * len(final_losses)) - 1]:.4f}, all {final_losses[-1]:.4f}")
    hits = [hit for run in runs if (hit := find_hit(run, target))]
    seconds = [hit.seconds for hit in hits]
    print(f"{len(hits)} of {len(runs)} meet {target:g} at {statistics.mean(hit.examples for hit in hits):.0f} examples")
    print(f"seconds {min(seconds):.1f} to {max(seconds):.1f}, mean {statistics.mean(seconds):.1f}")
    differences = [r["audit"] - r["points"][-1][2] for r in runs]
    print(f"audit minus score at the end: {statistics.mean(differences):+.4f}, sd {statistics.stdev(differences):.4f}")


def resolution() -> None:
    """Print the standard error of a run's loss on the split `score`, at the target.

    The unit is nats. The error is also given as a fraction of the examples to the target.
    """
    target = LmTiny.facts.targets[0].value
    stored_run = next(r for r in load_runs() if r["arm"] == REFERENCE and r["seed"] == SEEDS[0])
    run, model = train(stored_run["arm"], stored_run["lr"], stored_run["seed"], stop=target)
    tokens_BT, nats_B = held_out("score")
    with torch.no_grad():
        plain_B = LmTiny().loss(model, Batch(tokens_BT=tokens_BT), per_example=True).double()
    error, plain_error = (float(v.std()) / len(v) ** 0.5 for v in (plain_B - nats_B, plain_B))
    runs = [
        r
        for r in load_runs()
        if r["arm"] == stored_run["arm"] and r["lr"] == stored_run["lr"] and r["seed"] != TUNING_SEED
    ]
    curve = []
    for points in zip(*(r["points"] for r in runs), strict=True):
        examples, _, _ = points[0]
        curve.append((examples, statistics.mean(loss for _, _, loss in points)))
    early, late = (crossing(curve, target + sign * error) for sign in (1, -1))
    print(f"met at {run['points'][-1][:2]}; standard error {error:.4f} nats ({plain_error:.4f} without the correction)")
    print(f"the mean curve passes target ± error at {early:.0f} and {late:.0f} examples")
    print(f"one error is {(late - early) / (late + early):.3f} of the examples to the target")


def language() -> None:
    """Print the entropies, computed exactly and estimated from text, and the speed of generation."""
    for domain in (0, 1):
        generator = Language(LANGUAGE_SEED, domain)
        print(
            f"domain {domain}: {generator.entropy:.4f} nats per character; bigrams {generator.bigram_entropy:.4f}",
            end="; ",
        )
        print(f"words without grammar {generator.word_entropy:.4f}; {generator.word_length:.2f} characters per word")
        print(text(generator.tokens(80, "sample")))
    generator = Language(LANGUAGE_SEED)
    generator.tokens(2, "warm-up")
    start = time.process_time()
    documents = generator.documents(60_000, length=65, stream_seed="speed")
    print(f"{documents.size} characters in {time.process_time() - start:.2f} s")
    nats = -generator.log_probs(documents).mean(axis=1)
    print(f"documents of 65: computed {generator.document_entropy(65):.4f}, sampled {nats.mean():.4f}", end=" ")
    print(f"± {nats.std() / len(nats) ** 0.5:.4f}")


def crossing(curve: list[tuple[int, float]], value: float) -> float:
    """Return the interpolated number of examples at which a curve of (examples, loss) first reaches `value`."""
    for (earlier, loss_before), (later, loss_after) in itertools.pairwise(curve):
        if loss_after <= value:
            return earlier + (later - earlier) * (loss_before - value) / (loss_before - loss_after)
    raise ValueError(f"the mean curve never passes {value:.4f}")


def _format_runs(value: dict[str, Any]) -> str:
    """Return JSON with one run per line."""
    runs = ",\n".join(json.dumps(run) for run in value["runs"])
    return f'{{"where": {json.dumps(value["where"])},\n"runs": [\n{runs}\n]}}\n'


def _cpu_name() -> str:
    """Return the CPU's name from /proc/cpuinfo, or a general name on other systems."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    fields = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    return " ".join(fields[k] for k in ("model name", "cpu family", "model") if k in fields) or platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("language", "run", "report", "resolution"))
    torch.set_num_threads(1)
    commands = {"language": language, "run": run_all, "report": report, "resolution": resolution}
    commands[parser.parse_args().what]()


if __name__ == "__main__":
    main()
