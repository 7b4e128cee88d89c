"""Recipes: a submission composed of an optimizer, a schedule and further parts."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from harness.contract.domains import HParams, Space
from harness.contract.entries import Source
from harness.contract.part_kinds import PART_KINDS
from harness.contract.schedule import Factors, Progress, planned_updates
from harness.errors import UsageError
from harness.plugins.loading import select_keywords
from harness.worker.batch_norm import BatchStatistics
from harness.worker.data.batch import Batch
from harness.worker.protocols import Averager, Order, Replayer, Task, Work

#: A part is a callable, or the name of an installed one (`"wsd"`).
Part: TypeAlias = Callable[..., Any] | str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training algorithm as a list of parts; each is called with the hyperparameters that it names as arguments.

    A part that is constructed once (any but the schedule, which gets the progress) may also name `horizon`: the number
    of updates planned, as the schedule sees it, or None where the ruleset hides it. A part that cannot do without it
    declares the need `horizon`.

    Args:
        optimizer: (parameters: Sequence[Parameter], **hparams) -> a torch optimizer, or several.
        schedule: (progress: Progress, **hparams) -> Factors or the learning-rate factor alone. A pure function.
        averaging: (model, **hparams) -> Averager.
        order: (task, **hparams) -> Order; on a pool only.
        replay: (task, **hparams) -> Replayer; on a stream with a replay buffer only.
        gradient: (model, task, **hparams) -> a function (work, batch) that is called in place of `work.backward`. It
            leaves the gradient for the optimizer in `.grad`, from any number of passes.
        penalty: (model, **hparams) -> a function without arguments that returns a loss to add (a scalar tensor).
        after_step: (model, **hparams) -> a function without arguments that is called after every update.
        model_options: options that the model is built with.
        search_space: the hyperparameters, with defaults and search ranges.
        checks: relations that must hold, such as `"beta1 < 1"`.
        needs: what the workload and the ruleset must provide (see `harness.contract.entries.NEEDS`).
        summary, sources: one line, and the papers that the method comes from.

    A `replay`, `gradient`, `penalty` or `after_step` part that has state is an object with `state_dict` and
    `load_state_dict`. State in a closure is lost when a run is resumed.

    Example::

        def sgd(parameters, lr, momentum):
            return torch.optim.SGD([p.tensor for p in parameters], lr=lr, momentum=momentum)

        Mine = Recipe(optimizer=sgd, schedule="wsd",
                      search_space={"lr": LogUniform(1e-2, 1.0), "momentum": Fixed(0.9)})
    """

    optimizer: Part
    schedule: Part = "constant"
    averaging: Part | None = None
    order: Part | None = None
    replay: Part | None = None
    gradient: Part | None = None
    penalty: Part | None = None
    after_step: Part | None = None
    model_options: HParams = field(default_factory=dict)
    search_space: Space = field(default_factory=dict)
    checks: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    summary: str = ""
    sources: tuple[Source, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are names of installed parts, as `kind:name`."""
        return tuple(f"{kind}:{part}" for kind in PART_KINDS if isinstance(part := getattr(self, kind), str))

    def resolved(self, installed: Mapping[str, Callable[..., Any]]) -> Recipe:
        """This recipe with its named parts replaced by callables (`kind:name` → callable)."""
        parts: dict[str, Any] = {name.partition(":")[0]: installed[name] for name in self.parts}
        return replace(self, **parts)

    def __call__(self, model: nn.Module, task: Task, hparams: HParams) -> RecipeSubmission:
        return RecipeSubmission(self, model, task, hparams)


class RecipeSubmission:
    """A submission made of a recipe's parts; implements `harness.worker.protocols.Submission`."""

    def __init__(self, recipe: Recipe, model: nn.Module, task: Task, hparams: HParams) -> None:
        self._task = task
        self._unused = set(hparams) - {"batch_size", "horizon_fraction"}
        self._horizon_fraction = float(hparams.get("horizon_fraction", 1.0))
        self._horizon = self._planned_updates(task.horizon)
        optimizers = self._construct(recipe.optimizer, hparams, task.parameters)
        self._optimizers: Sequence[Any] = optimizers if isinstance(optimizers, list | tuple) else [optimizers]
        self._schedule = self._bind(recipe.schedule, hparams)
        self._averager: Averager | None = self._construct_optional(recipe.averaging, hparams, model)
        self._order: Order | None = self._construct_optional(recipe.order, hparams, task)
        self._replayer: Replayer | None = self._construct_optional(recipe.replay, hparams, task)
        self._gradient: Callable[[Work, Batch], None] | None
        self._gradient = self._construct_optional(recipe.gradient, hparams, model, task)
        self._penalty: Callable[[], Tensor] | None = self._construct_optional(recipe.penalty, hparams, model)
        self._after_step: Callable[[], None] | None = self._construct_optional(recipe.after_step, hparams, model)
        if self._unused:
            raise UsageError(
                f"no part takes the hyperparameter(s) {', '.join(sorted(self._unused))}",
                fix="a part takes the hyperparameters that its function names as arguments",
            )
        self._groups = [g for optimizer in self._optimizers for g in optimizer.param_groups]
        self._base = [{k: g[k] for k in ("lr", "weight_decay") if k in g} for g in self._groups]
        # Statistics need recomputing only where the weights that are evaluated are not those that are trained.
        swaps = self._averager is not None or any(_swaps_weights(o) for o in self._optimizers)
        self._statistics = BatchStatistics.from_model(model) if swaps else None
        self._step = 0
        self.lr = 0.0

    # --- construction: every part gets the hyperparameters that it names -------------------------

    def _bind(self, part: Part, hparams: HParams) -> Callable[..., Any]:
        assert callable(part), f"the part {part!r} was not resolved"
        keywords = select_keywords(part, hparams)
        self._unused -= set(keywords)
        return functools.partial(part, **keywords)

    def _construct(self, part: Part, hparams: HParams, *args: Any) -> Any:
        construct = self._bind(part, hparams)
        if _has_parameter(part, "horizon") and "horizon" not in hparams:
            construct = functools.partial(construct, horizon=self._horizon)
        return construct(*args)

    def _construct_optional(self, part: Part | None, hparams: HParams, *args: Any) -> Any:
        return None if part is None else self._construct(part, hparams, *args)

    # --- the step --------------------------------------------------------------------------------

    def step(self, work: Work) -> None:
        self._apply_factors(self._current_factors(work.examples))
        if self._order is not None:
            batch = work.draw(indices=self._order.take(self._task.batch_size, work.examples))
        else:
            batch = work.draw()
        if self._replayer is not None and work.replay is not None:
            batch = self._replayer.mix(batch, work.replay)
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        if self._gradient is not None:
            self._gradient(work, batch)
        else:
            work.backward(batch)
        if self._statistics is not None:
            self._statistics.remember(batch, work)
        if self._penalty is not None:
            self._penalty().backward()  # type: ignore[no-untyped-call]
        for optimizer in self._optimizers:
            optimizer.step()
        if self._after_step is not None:
            self._after_step()
        if self._averager is not None:
            self._averager.update()
        self._step += 1

    def _current_factors(self, examples: int) -> Factors:
        task, horizon = self._task, self._horizon
        task_step = task_horizon = None
        if task.task_index is not None:
            task_horizon = self._planned_updates(task.task_horizon)
            task_step = _clamp_to_horizon((examples - task.task_began) // task.batch_size, task_horizon)
        factors = self._schedule(
            Progress(
                step=_clamp_to_horizon(self._step, horizon),
                horizon=horizon,
                examples=examples,
                tokens=examples * task.tokens_per_example,
                batch_size=task.batch_size,
                task_index=task.task_index,
                task_step=task_step,
                task_horizon=task_horizon,
            )
        )
        return factors if isinstance(factors, Factors) else Factors(factors)

    def _planned_updates(self, examples: int | None) -> int | None:
        """The number of updates that are planned for a number of examples."""
        return None if examples is None else planned_updates(examples, self._horizon_fraction, self._task.batch_size)

    def _apply_factors(self, factors: Factors) -> None:
        for group, base in zip(self._groups, self._base, strict=True):
            group["lr"] = base["lr"] * factors.lr
            if factors.weight_decay is not None and "weight_decay" in base:
                group["weight_decay"] = base["weight_decay"] * factors.weight_decay
            if factors.momentum is not None:
                if "betas" in group:
                    group["betas"] = (factors.momentum, *group["betas"][1:])
                elif "momentum" in group:
                    group["momentum"] = factors.momentum
        self.lr = self._groups[0]["lr"]

    # --- evaluation and checkpoints --------------------------------------------------------------

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        # Optimizers such as schedule-free ones hold other weights while they train, and swap them in eval().
        swapping = [o for o in self._optimizers if _swaps_weights(o)]
        for optimizer in swapping:
            optimizer.eval()
        try:
            with (
                nullcontext() if self._averager is None else self._averager.swapped(),
                nullcontext() if self._statistics is None else self._statistics.use_recomputed(),
            ):
                yield
        finally:
            for optimizer in swapping:
                optimizer.train()

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {"step": self._step, "optimizers": [o.state_dict() for o in self._optimizers]}
        for name, part in self._stateful_parts():
            state[name] = part.state_dict()
        return state

    def _stateful_parts(self) -> list[tuple[str, Any]]:
        """The parts that have state: averagers and orders always, others where they have a `state_dict`."""
        parts = {
            "averaging": self._averager,
            "order": self._order,
            "replay": self._replayer,
            "gradient": self._gradient,
            "penalty": self._penalty,
            "after_step": self._after_step,
        }
        return [(name, part) for name, part in parts.items() if hasattr(part, "state_dict")]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._step = state["step"]
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
            _keep_dtypes(optimizer, saved)
        self._groups = [g for optimizer in self._optimizers for g in optimizer.param_groups]
        for name, part in self._stateful_parts():
            part.load_state_dict(state[name])


def _has_parameter(part: Any, name: str) -> bool:
    return name in inspect.signature(part).parameters


def bare_optimizer(cls: type[torch.optim.Optimizer]) -> Recipe:
    """A recipe around an optimizer class, at a constant learning rate."""

    def optimizer(parameters: Sequence[Any], **hparams: Any) -> torch.optim.Optimizer:
        names = inspect.signature(cls).parameters
        if "betas" in names:
            hparams["betas"] = tuple(v for k, v in sorted(hparams.items()) if re.fullmatch(r"beta\d", k))
        return cls([p.tensor for p in parameters], **{k: v for k, v in hparams.items() if k in names})

    return Recipe(optimizer=optimizer, schedule=lambda progress: 1.0, summary=cls.__name__)


def _keep_dtypes(optimizer: Any, saved: dict[str, Any]) -> None:
    """Restore state in the dtype that it was saved in: torch casts it to the dtype of the parameters."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    for number, parameter in zip(numbers, parameters, strict=True):
        for name, value in saved["state"].get(number, {}).items():
            loaded = optimizer.state[parameter].get(name)
            if isinstance(value, Tensor) and isinstance(loaded, Tensor) and loaded.dtype != value.dtype:
                optimizer.state[parameter][name] = value.detach().clone().to(parameter.device)


def _swaps_weights(optimizer: Any) -> bool:
    """Whether an optimizer trains other weights than it evaluates, and swaps them in `eval` and `train`."""
    return hasattr(optimizer, "eval") and hasattr(optimizer, "train")


def _clamp_to_horizon(step: int, horizon: int | None) -> int:
    """The step; after its planned end a schedule stays at its last value."""
    return step if horizon is None else min(step, horizon)
