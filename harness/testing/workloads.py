"""The checks of a workload: its facts, model, data, loss and evaluation, and short runs of plain submissions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast, get_args

import msgspec
import torch
from torch import nn

from harness.contract.domains import Choice
from harness.contract.entries import WorkloadEntry
from harness.contract.hyperparameters import default
from harness.contract.workload import SOURCE_MARK, WHOLE, Kind, Shard, Split, WorkloadFacts
from harness.planning.compose import PartLookup
from harness.plugins.loading import load_object
from harness.plugins.signatures import REDRAW_METHOD, WORKLOAD_METHODS
from harness.testing.checks import NotApplicable, raise_unless, refuse
from harness.testing.recipes import PLAIN_SUBMISSIONS
from harness.testing.running import plan_briefly, run_spec
from harness.worker.data.batch import Batch
from harness.worker.data.pools import Pool
from harness.worker.data.streams import Stream
from harness.worker.protocols import Sharded, Workload
from harness.worker.redrawing import Redrawable

_SPLITS: tuple[Split, ...] = get_args(Split)
#: Losses and metrics count as equal within this relative tolerance, because their sums may be in different orders.
_TOLERANCE = 1e-4


@dataclass
class WorkloadCase:
    """A workload under test, with its model and data.

    Args:
        entry: the workload.
        registry: the registry in which parts are looked up.
        folder: folder for runs.
    """

    entry: WorkloadEntry
    registry: PartLookup
    folder: Path

    @property
    def facts(self) -> WorkloadFacts:
        return self.entry.facts

    @cached_property
    def workload(self) -> Workload:
        return self.construct()

    @cached_property
    def model(self) -> nn.Module:
        """A model in evaluation mode."""
        return self.workload.build_model(3).eval()

    @cached_property
    def data(self) -> Pool | Stream:
        return self.workload.train_data(7)

    @property
    def last_stage(self) -> int | None:
        return len(self.facts.stages) - 1 if self.facts.stages else None

    def construct(self) -> Workload:
        """Return a new object of the workload's class."""
        workload: Workload = load_object(self.entry.load)(**self.entry.arguments)
        return workload

    @cached_property
    def batch(self) -> Batch:
        """A batch of the smallest size."""
        size = min(self.facts.batch_sizes)
        if self.facts.access == "pool":
            return cast(Pool, self.data).gather(torch.arange(size))
        return cast(Stream, self.data).draw(size)

    def evaluate(self, split: Split) -> dict[str, float]:
        """Return the metrics of the model."""
        with torch.no_grad():
            return self.workload.evaluate(self.model, split, self.last_stage)


def check_facts(case: WorkloadCase) -> None:
    """The constructed workload and its entry have the same facts, and the class has all methods of a workload."""
    facts = case.workload.facts
    version = case.facts.version.partition(SOURCE_MARK)[0]
    if facts != (entry_facts := msgspec.structs.replace(case.facts, version=version)):
        fields = [name for name in facts.__struct_fields__ if getattr(facts, name) != getattr(entry_facts, name)]
        refuse(
            f"the facts of the class differ from those of the entry in {', '.join(fields)}",
            "make the class's `facts` and the entry's `facts` the same object",
        )
    missing = [name for name in WORKLOAD_METHODS if not callable(getattr(case.workload, name, None))]
    raise_unless(not missing, f"the class has no method {', '.join(missing)}", "define the missing methods")


def check_seeds(case: WorkloadCase) -> None:
    """Equal seeds give equal initial weights, and different seeds give different ones, as float32 on the CPU."""
    first, repeated, different = (case.workload.build_model(seed).state_dict() for seed in (3, 3, 4))
    raise_unless(
        all(torch.equal(first[name], repeated[name]) for name in first),
        "two models of one seed have different weights",
        "call torch.manual_seed(seed) at the beginning of build_model()",
    )
    raise_unless(
        any(not torch.equal(first[name], different[name]) for name in first),
        "models of different seeds have equal weights",
        "let the initial weights depend on the argument `seed` of build_model()",
    )
    on_cpu = all(tensor.device.type == "cpu" for tensor in first.values())
    raise_unless(on_cpu, "the model is not on the CPU", "return it as built; the harness moves it to the device")
    dtypes = {str(p.dtype) for p in case.model.parameters()} - {"torch.float32"}
    raise_unless(not dtypes, f"the model has weights of {', '.join(sorted(dtypes))}", "return float32 weights")


def check_kinds(case: WorkloadCase) -> None:
    """Every parameter has a kind, and `parameter_kinds` contains no other names."""
    kinds = case.workload.parameter_kinds(case.model)
    names = {name for name, _ in case.model.named_parameters()}
    for problem, affected in (("has no kind for", names - set(kinds)), ("also names", set(kinds) - names)):
        raise_unless(
            not affected,
            f"parameter_kinds() {problem} {', '.join(sorted(affected)[:5])}",
            "return one kind for every name in model.named_parameters()",
        )
    unknown = sorted({repr(kind) for kind in kinds.values()} - {repr(kind) for kind in get_args(Kind)})
    raise_unless(
        not unknown,
        f"parameter_kinds() returns kinds that do not exist: {', '.join(unknown[:5])}",
        f"choose from {', '.join(get_args(Kind))}",
    )


def check_data(case: WorkloadCase) -> None:
    """The training data have the access and the scores that the facts state.

    A pool returns equal examples for equal indices, and is at least as large as the largest batch size.
    """
    facts, data = case.facts, case.data
    expected: type = Pool if facts.access == "pool" else Stream
    raise_unless(
        isinstance(data, expected),
        f"train_data() returns a {type(data).__name__}, but the facts state access={facts.access!r}",
        f"return a {expected.__name__}, or change `access` in the facts",
    )
    scores = dict(getattr(data, "scores", {}))
    raise_unless(
        set(scores) == set(facts.scores),
        f"the pool has the scores {sorted(scores)}, and the facts state {sorted(facts.scores)}",
        "list the names of the pool's scores in the facts",
    )
    for name, values in scores.items():
        is_valid = values.shape == (len(cast(Pool, data)),) and bool(((values >= 0) & (values <= 1)).all())
        raise_unless(is_valid, f"the score {name!r} is not one number in [0, 1] for each example", "rescale the score")
    if isinstance(data, Pool):
        rows = torch.arange(min(facts.batch_sizes))
        first, again = data.gather(rows), data.gather(rows)
        unequal = [field for field in first if not torch.equal(first[field], again[field])]
        raise_unless(
            not unequal,
            f"gather() returns different examples for equal indices: {', '.join(unequal)}",
            "augment in gather_at(), with the random numbers that uniforms_at() returns",
        )
        raise_unless(
            len(data) >= max(facts.batch_sizes),
            f"the pool has {len(data)} examples, fewer than the batch size {max(facts.batch_sizes)}",
            "leave out larger batch sizes",
        )


def check_loss(case: WorkloadCase) -> None:
    """The loss is the mean of the losses of the examples, and every parameter gets a gradient."""
    workload, batch, size = case.workload, case.batch, min(case.facts.batch_sizes)
    losses = workload.loss(case.model, batch, per_example=True)
    raise_unless(
        losses.shape == (size,),
        f"loss(per_example=True) has the shape {tuple(losses.shape)} for {size} examples",
        "return one loss for each example",
    )
    mean = workload.loss(case.model, batch)
    raise_unless(
        mean.dim() == 0 and math.isclose(mean.item(), losses.mean().item(), rel_tol=_TOLERANCE, abs_tol=1e-6),
        f"loss() is {mean.tolist()}, but the mean of the losses of the examples is {losses.mean().item():.6g}",
        "return the mean over the examples, without terms that do not belong to an example",
    )
    outputs = workload.outputs(case.model, batch)
    raise_unless(
        outputs.shape[:1] == (size,),
        f"outputs() has the shape {tuple(outputs.shape)} for {size} examples",
        "return a tensor whose leading dimension is the number of examples",
    )
    mean.backward()  # type: ignore[no-untyped-call]
    unused = [name for name, p in case.model.named_parameters() if p.requires_grad and p.grad is None]
    case.model.zero_grad()
    raise_unless(
        not unused,
        f"the loss does not depend on the parameter(s) {', '.join(unused[:5])}",
        "use every parameter in the loss, or set requires_grad to False",
    )


def check_evaluation(case: WorkloadCase) -> None:
    """An evaluation returns the metrics of all targets, and does not change the model.

    A repetition gives equal metrics. Different splits give different metrics.
    """
    before = {name: value.clone() for name, value in case.model.state_dict().items()}
    metrics = {split: case.evaluate(split) for split in _SPLITS}
    targets = case.facts.targets + tuple(t for stage in case.facts.stages for t in (*stage.targets, *stage.floors))
    missing = sorted({target.metric for target in targets} - set(metrics["score"]))
    raise_unless(
        not missing,
        f"evaluate() does not return {', '.join(missing)}, the metric of a target",
        "return the metric of every target and floor by its name",
    )
    wrong = [name for name, value in cast(dict[str, Any], metrics["score"]).items() if not isinstance(value, float)]
    raise_unless(not wrong, f"evaluate() returns no number for {', '.join(wrong)}", "convert it with float()")
    raise_unless(
        case.evaluate("score") == metrics["score"],
        "two evaluations of the same weights differ",
        "evaluate without random numbers, and without state from an earlier evaluation",
    )
    changed = [name for name, value in case.model.state_dict().items() if not torch.equal(before[name], value)]
    raise_unless(
        not changed, f"evaluate() changes the model: {', '.join(changed[:3])}", "leave weights and buffers as they are"
    )
    for first, second in (("feedback", "score"), ("score", "audit"), ("feedback", "audit")):
        raise_unless(
            metrics[cast(Split, first)] != metrics[cast(Split, second)],
            f"the splits {first} and {second} give equal metrics",
            "evaluate each split on examples of its own",
        )


def check_other_process(case: WorkloadCase) -> None:
    """A new object of the class, as in a process that only evaluates, computes the same metrics."""
    workload: Any = case.construct()
    model = workload.build_model(3).eval()
    getattr(workload, "prepare_evaluation", workload.train_data)(7)
    with torch.no_grad():
        metrics = workload.evaluate(model, "score", case.last_stage)
    case.data  # noqa: B018  the metrics of a stream may depend on it
    raise_unless(
        metrics == case.evaluate("score"),
        "a new object of the class computes other metrics for the same weights",
        "let the metrics depend only on the weights, the split and the seed of prepare_evaluation()",
    )


def check_fresh_held_out(case: WorkloadCase) -> None:
    """A seed changes the held-out data of its split only, and equal seeds give equal data."""
    if not case.entry.redraws_held_out:
        raise_unless(
            not hasattr(case.workload, REDRAW_METHOD),
            f"the class has a method {REDRAW_METHOD}(), but the entry does not state that runs with a nonce use it",
            "set redraws_held_out=True in the entry",
        )
        raise NotApplicable("the held-out data do not depend on a nonce")
    metrics = []
    for seed in ("0" * 64, "0" * 64, "1" * 64):
        redrawn = dataclasses.replace(case)
        cast(Redrawable, redrawn.workload).draw_held_out({"score": seed})
        redrawn.data  # noqa: B018  the metrics of a stream may depend on it
        metrics.append({split: redrawn.evaluate(split) for split in _SPLITS})
    first, repeated, other = metrics
    raise_unless(first == repeated, "two draws with one seed differ", "draw the held-out data only from the seed")
    raise_unless(
        first["score"] != other["score"] != case.evaluate("score"),
        "two seeds give equal held-out data",
        f"draw the data of each split in `seeds` from its seed in {REDRAW_METHOD}()",
    )
    raise_unless(
        all(first[split] == case.evaluate(split) for split in _SPLITS if split != "score"),
        "the data of a split without a seed have changed",
        "keep the usual data of every split that is not in `seeds`",
    )


def check_shards(case: WorkloadCase) -> None:
    """The values measured on the two halves (shards) of a split, joined, equal the values of the whole split."""
    if not isinstance(case.workload, Sharded):
        raise NotApplicable("the class has no methods measure() and metrics()")
    workload: Any = case.workload
    stage = case.last_stage
    with torch.no_grad():
        complete = workload.measure(case.model, "score", WHOLE, stage)
        halves = [workload.measure(case.model, "score", Shard(index=k, count=2), stage) for k in range(2)]
        metrics = workload.metrics(complete, "score", stage)
    expected = case.evaluate("score")
    is_close = metrics.keys() == expected.keys() and all(
        math.isclose(metrics[name], expected[name], rel_tol=_TOLERANCE, abs_tol=1e-6) for name in metrics
    )
    raise_unless(is_close, "metrics(measure()) and evaluate() differ", "compute both from the same values")
    for name, values in complete.items():
        joined = torch.cat([half[name] for half in halves])
        raise_unless(
            joined.shape == values.shape and torch.allclose(joined.double(), values.double(), atol=1e-4),
            f"the values {name!r} of two shards differ from the values of the whole split",
            "measure exactly the examples with the indices shard.rows(n)",
        )


def check_model_options(case: WorkloadCase) -> None:
    """The model can be built with every model option."""
    for name, domain in case.facts.model_options.items():
        for value in domain.values if isinstance(domain, Choice) else (default(domain),):
            try:
                case.workload.build_model(0, **{name: value})
            except Exception as error:
                problem = f"build_model({name}={value!r}) raises {type(error).__name__}: {error}"
                refuse(problem, f"accept the value, or remove it from model_options[{name!r}] of the facts")


def check_runs(case: WorkloadCase) -> None:
    """Two plain submissions, SGD and Adam, run for a few steps."""
    if case.facts.tier != "cpu":
        raise NotApplicable(f"the workload is in the tier {case.facts.tier}: bench run -w … --smoke tries it on a GPU")
    for submission in PLAIN_SUBMISSIONS:
        spec = plan_briefly(submission, case.entry, case.registry)
        assert not isinstance(spec, str), spec
        record = run_spec(spec, case.folder / submission.name)
        raise_unless(
            record.status in ("exhausted", "reached", "diverged"),
            f"a run of {submission.name} ended as {record.status}: {record.reason}",
            "correct the workload, or the batch sizes and the budget in its facts",
        )


#: The checks of a workload. The later checks are run only if the first check passes.
WORKLOAD_CHECKS: Mapping[str, Callable[[WorkloadCase], None]] = MappingProxyType(
    {
        "facts": check_facts,
        "seeds": check_seeds,
        "parameter kinds": check_kinds,
        "training data": check_data,
        "loss": check_loss,
        "evaluation": check_evaluation,
        "evaluation elsewhere": check_other_process,
        "fresh held-out data": check_fresh_held_out,
        "shards": check_shards,
        "model options": check_model_options,
        "runs": check_runs,
    }
)
