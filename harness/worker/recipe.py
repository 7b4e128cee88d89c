"""Recipes: submissions composed of an optimizer, a schedule and further parts."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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

#: A part is a callable or the name of an installed part, such as `"wsd"`.
Part: TypeAlias = Callable[..., Any] | str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training algorithm as a list of parts. A part gets the hyperparameters that its arguments name.

    Every part except the schedule may also have an argument `horizon`: the number of planned updates, or None if the
    ruleset hides the horizon. A part that requires the number declares the need `horizon`.

    Args:
        optimizer: (parameters: Sequence[Parameter], **hparams) -> a torch optimizer, or a list of torch optimizers.
        schedule: (progress: Progress, **hparams) -> Factors, or a number that is the learning-rate factor. The
            schedule must be a pure function.
        averaging: (model, **hparams) -> Averager.
        order: (task, **hparams) -> Order; on a pool only.
        replay: (task, **hparams) -> Replayer; on a stream with a replay buffer only.
        gradient: (model, task, **hparams) -> a function (work, batch) that is called instead of `work.backward`. The
            function makes any number of passes and stores the gradient for the optimizer in `.grad`.
        penalty: (model, **hparams) -> a function without arguments that returns a scalar tensor. The recipe adds this
            term to the loss.
        after_step: (model, **hparams) -> a function without arguments that is called after every update.
        model_options: model options that the recipe requests.
        search_space: domains of the hyperparameters by name.
        checks: relations that the hyperparameters must satisfy, such as `"beta1 < 1"`.
        needs: names of what the workload and the ruleset must provide (see `harness.contract.entries.NEEDS`).
        summary: description in one line.
        sources: papers that define the method.

    A `replay`, `gradient`, `penalty` or `after_step` part with state must be an object with `state_dict` and
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
        """The installed parts of the recipe, as `kind:name`."""
        return tuple(f"{kind}:{part}" for kind in PART_KINDS if isinstance(part := getattr(self, kind), str))

    @property
    def all_needs(self) -> frozenset[str]:
        """The declared needs, and the needs that the kinds of the parts imply."""
        kinds = [kind for kind in PART_KINDS.values() if getattr(self, kind.name) is not None]
        return self.needs.union(*(kind.implied_needs for kind in kinds))

    def resolved(self, installed: Mapping[str, Callable[..., Any]]) -> Recipe:
        """Return this recipe with the names of installed parts replaced by the callables in `installed`."""
        parts: dict[str, Any] = {name.partition(":")[0]: installed[name] for name in self.parts}
        return replace(self, **parts)

    def without(self, kind: str, keep: Collection[str] = ()) -> Recipe:
        """Return this recipe without its part of a kind, for an ablation.

        Hyperparameters that are arguments of no other callable part are removed from the search space, except
        `batch_size` and `horizon_fraction`. Checks that contain a removed hyperparameter are removed, too.

        Args:
            kind: kind of the part, such as `averaging`. A recipe without a schedule has a constant learning rate.
            keep: hyperparameters to keep, for example because a part that is given by name uses them.
        """
        removed: dict[str, Any] = {kind: "constant" if kind == "schedule" else None}
        rest = replace(self, **removed)
        others = [part for name in PART_KINDS if callable(part := getattr(rest, name))]
        used = {name for part in others for name in select_keywords(part, dict.fromkeys(self.search_space, 0))}
        lost = set(self.search_space) - used - set(keep) - {"batch_size", "horizon_fraction"}
        return replace(
            rest,
            search_space={name: domain for name, domain in self.search_space.items() if name not in lost},
            checks=tuple(check for check in self.checks if not set(re.findall(r"\w+", check)) & lost),
        )

    def __call__(self, model: nn.Module, task: Task, hparams: HParams) -> RecipeSubmission:
        return RecipeSubmission(self, model, task, hparams)


class RecipeSubmission:
    """A submission that consists of a recipe's parts. It implements `harness.worker.protocols.Submission`."""

    def __init__(self, recipe: Recipe, model: nn.Module, task: Task, hparams: HParams) -> None:
        self._task = task
        #: Names of the hyperparameters that are not bound to a part yet.
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
                f"no part of the recipe has an argument for the hyperparameter(s) {', '.join(sorted(self._unused))}",
                fix="remove them from the search space, or add an argument of the same name to the function of a part",
            )
        self._groups = [g for optimizer in self._optimizers for g in optimizer.param_groups]
        self._initial_values = [{k: g[k] for k in ("lr", "weight_decay") if k in g} for g in self._groups]
        # The statistics of batch norm must be recomputed only if the evaluated weights differ from the trained weights.
        swaps_weights = self._averager is not None or any(_swaps_weights(o) for o in self._optimizers)
        self._statistics = BatchStatistics.from_model(model) if swaps_weights else None
        self._step = 0
        self.lr = 0.0

    # --- construction ----------------------------------------------------------------------------

    def _bind(self, part: Part, hparams: HParams) -> Callable[..., Any]:
        """Return a part with the hyperparameters bound to its arguments of the same names."""
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
        """Return the number of updates that are planned for this number of examples; None if `examples` is None."""
        return None if examples is None else planned_updates(examples, self._horizon_fraction, self._task.batch_size)

    def _apply_factors(self, factors: Factors) -> None:
        for group, initial in zip(self._groups, self._initial_values, strict=True):
            group["lr"] = initial["lr"] * factors.lr
            if factors.weight_decay is not None and "weight_decay" in initial:
                group["weight_decay"] = initial["weight_decay"] * factors.weight_decay
            if factors.momentum is not None:
                if "betas" in group:
                    group["betas"] = (factors.momentum, *group["betas"][1:])
                elif "momentum" in group:
                    group["momentum"] = factors.momentum
        self.lr = self._groups[0]["lr"]

    # --- evaluation and checkpoints --------------------------------------------------------------

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        # A schedule-free optimizer has one set of weights to train and another to evaluate. Its methods eval() and
        # train() swap them.
        swapping_optimizers = [o for o in self._optimizers if _swaps_weights(o)]
        for optimizer in swapping_optimizers:
            optimizer.eval()
        try:
            with (
                nullcontext() if self._averager is None else self._averager.swapped(),
                nullcontext() if self._statistics is None else self._statistics.use_recomputed(),
            ):
                yield
        finally:
            for optimizer in swapping_optimizers:
                optimizer.train()

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {"step": self._step, "optimizers": [o.state_dict() for o in self._optimizers]}
        for name, part in self._stateful_parts():
            state[name] = part.state_dict()
        return state

    def _stateful_parts(self) -> list[tuple[str, Any]]:
        """Return the names and objects of the parts that have a `state_dict`."""
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
        for optimizer, saved_state in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved_state)
            _keep_dtypes(optimizer, saved_state)
        self._groups = [g for optimizer in self._optimizers for g in optimizer.param_groups]
        for name, part in self._stateful_parts():
            part.load_state_dict(state[name])


def _has_parameter(part: Any, name: str) -> bool:
    return name in inspect.signature(part).parameters


def bare_optimizer(cls: type[torch.optim.Optimizer]) -> Recipe:
    """Return a recipe that uses an optimizer class with a constant learning rate."""

    def optimizer(parameters: Sequence[Any], **hparams: Any) -> torch.optim.Optimizer:
        names = inspect.signature(cls).parameters
        if "betas" in names:
            hparams["betas"] = tuple(v for k, v in sorted(hparams.items()) if re.fullmatch(r"beta\d", k))
        return cls([p.tensor for p in parameters], **{k: v for k, v in hparams.items() if k in names})

    return Recipe(optimizer=optimizer, schedule=lambda progress: 1.0, summary=cls.__name__)


def _keep_dtypes(optimizer: Any, saved_state: dict[str, Any]) -> None:
    """Restore the saved dtypes of an optimizer's state.

    `Optimizer.load_state_dict` casts the state to the dtype of the parameters.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    saved_ids = [saved_id for group in saved_state["param_groups"] for saved_id in group["params"]]
    for saved_id, parameter in zip(saved_ids, parameters, strict=True):
        for name, value in saved_state["state"].get(saved_id, {}).items():
            loaded = optimizer.state[parameter].get(name)
            if isinstance(value, Tensor) and isinstance(loaded, Tensor) and loaded.dtype != value.dtype:
                optimizer.state[parameter][name] = value.detach().clone().to(parameter.device)


def _swaps_weights(optimizer: Any) -> bool:
    """Return whether an optimizer has methods `eval` and `train`, which swap the evaluated and the trained weights."""
    return hasattr(optimizer, "eval") and hasattr(optimizer, "train")


def _clamp_to_horizon(step: int, horizon: int | None) -> int:
    """Return the step, but at most the horizon. A schedule then keeps its last value after its planned end."""
    return step if horizon is None else min(step, horizon)
