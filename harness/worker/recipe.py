"""Recipes: a submission composed of an optimizer, a schedule and, where wanted, more parts."""

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
    """A training algorithm as a list of parts; each is called with those hyperparameters that it names.

    A part made once (anything but a schedule, which is given the progress) that names `horizon` gets the number of
    updates planned, as its schedule sees it; None where the ruleset hides it. One that needs it declares the need.

    Args:
        optimizer: (parameters: Sequence[Parameter], **hparams) -> a torch optimizer, or several.
        schedule: (progress: Progress, **hparams) -> Factors or the learning-rate factor alone. A pure function.
        averaging: (model, **hparams) -> Averager.
        order: (task, **hparams) -> Order; on a pool only.
        replay: (task, **hparams) -> Replayer; on a stream with a replay buffer only.
        gradient: (model, task, **hparams) -> a function of the work and a batch, called in place of `work.backward`;
            it leaves in `.grad` what the optimizer is to use, from as many passes as it takes.
        penalty: (model, **hparams) -> a function of nothing that returns a loss to add (a scalar tensor).
        after_step: (model, **hparams) -> a function of nothing, called after every update. What has state among these
            three and `replay` is an object with `state_dict` and `load_state_dict`; a closure's is lost on resume.
        model_options: what is requested of the model.
        search_space: the hyperparameters, with defaults and search ranges.
        checks: relations that must hold, such as `"beta1 < 1"`.
        needs: what the workload and ruleset must give (see `harness.contract.entries.NEEDS`).
        summary, sources: what it is and where it comes from.

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
        """`kind:name` of the parts that are given by name."""
        return tuple(f"{kind}:{part}" for kind in PART_KINDS if isinstance(part := getattr(self, kind), str))

    def resolved(self, installed: Mapping[str, Callable[..., Any]]) -> Recipe:
        """This recipe with its named parts replaced by callables (`kind:name` → callable)."""
        parts: dict[str, Any] = {name.partition(":")[0]: installed[name] for name in self.parts}
        return replace(self, **parts)

    def __call__(self, model: nn.Module, task: Task, hparams: HParams) -> RecipeSubmission:
        return RecipeSubmission(self, model, task, hparams)


class RecipeSubmission:
    """A recipe at work; implements `harness.worker.protocols.Submission`."""

    def __init__(self, recipe: Recipe, model: nn.Module, task: Task, hparams: HParams) -> None:
        self._task = task
        self._unused = set(hparams) - {"batch_size", "horizon_fraction"}
        self._fraction = float(hparams.get("horizon_fraction", 1.0))
        self._horizon = self._planned(task.horizon)
        made = self._make(recipe.optimizer, hparams, task.parameters)
        self._optimizers: Sequence[Any] = made if isinstance(made, list | tuple) else [made]
        self._schedule = self._bind(recipe.schedule, hparams)
        self._averager: Averager | None = self._make_optional(recipe.averaging, hparams, model)
        self._order: Order | None = self._make_optional(recipe.order, hparams, task)
        self._replayer: Replayer | None = self._make_optional(recipe.replay, hparams, task)
        self._gradient: Callable[[Work, Batch], None] | None
        self._gradient = self._make_optional(recipe.gradient, hparams, model, task)
        self._penalty: Callable[[], Tensor] | None = self._make_optional(recipe.penalty, hparams, model)
        self._after_step: Callable[[], None] | None = self._make_optional(recipe.after_step, hparams, model)
        if self._unused:
            raise UsageError(
                f"no part takes the hyperparameter(s) {', '.join(sorted(self._unused))}",
                fix="a part takes what its function names as arguments",
            )
        self._groups = [g for optimizer in self._optimizers for g in optimizer.param_groups]
        self._base = [{k: g[k] for k in ("lr", "weight_decay") if k in g} for g in self._groups]
        # Only where other weights are evaluated than trained do statistics have to be taken anew.
        replaced = self._averager is not None or any(_swaps(o) for o in self._optimizers)
        self._statistics = BatchStatistics.of(model) if replaced else None
        self._step = 0
        self.lr = 0.0

    # --- construction: every part gets the hyperparameters that it names -------------------------

    def _bind(self, part: Part, hparams: HParams) -> Callable[..., Any]:
        assert callable(part), f"the part {part!r} was not resolved"
        chosen = select_keywords(part, hparams)
        self._unused -= set(chosen)
        return functools.partial(part, **chosen)

    def _make(self, part: Part, hparams: HParams, *args: Any) -> Any:
        made = self._bind(part, hparams)
        if _names(part, "horizon") and "horizon" not in hparams:
            made = functools.partial(made, horizon=self._horizon)
        return made(*args)

    def _make_optional(self, part: Part | None, hparams: HParams, *args: Any) -> Any:
        return None if part is None else self._make(part, hparams, *args)

    # --- the step --------------------------------------------------------------------------------

    def step(self, work: Work) -> None:
        self._apply(self._factors(work.examples))
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

    def _factors(self, examples: int) -> Factors:
        task, horizon = self._task, self._horizon
        task_step = task_horizon = None
        if task.task_index is not None:
            task_horizon = self._planned(task.task_horizon)
            task_step = _up_to((examples - task.task_began) // task.batch_size, task_horizon)
        factors = self._schedule(
            Progress(
                step=_up_to(self._step, horizon),
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

    def _planned(self, examples: int | None) -> int | None:
        """The updates planned for so many examples."""
        return None if examples is None else planned_updates(examples, self._fraction, self._task.batch_size)

    def _apply(self, factors: Factors) -> None:
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
        # Optimizers such as schedule-free hold other weights while they train, and swap in eval().
        swapping = [o for o in self._optimizers if _swaps(o)]
        for optimizer in swapping:
            optimizer.eval()
        try:
            with (
                nullcontext() if self._averager is None else self._averager.swapped(),
                nullcontext() if self._statistics is None else self._statistics.refreshed(),
            ):
                yield
        finally:
            for optimizer in swapping:
                optimizer.train()

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {"step": self._step, "optimizers": [o.state_dict() for o in self._optimizers]}
        for name, part in self._stateful():
            state[name] = part.state_dict()
        return state

    def _stateful(self) -> list[tuple[str, Any]]:
        """The parts that have state: averagers and orders must, any other may."""
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
        for name, part in self._stateful():
            part.load_state_dict(state[name])


def _names(part: Any, name: str) -> bool:
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
    """Put back state in the dtype it was saved in: torch casts it to that of the parameters."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    for number, parameter in zip(numbers, parameters, strict=True):
        for name, value in saved["state"].get(number, {}).items():
            loaded = optimizer.state[parameter].get(name)
            if isinstance(value, Tensor) and isinstance(loaded, Tensor) and loaded.dtype != value.dtype:
                optimizer.state[parameter][name] = value.detach().clone().to(parameter.device)


def _swaps(optimizer: Any) -> bool:
    """Whether an optimizer holds other weights while it trains, and swaps them in `eval` and `train`."""
    return hasattr(optimizer, "eval") and hasattr(optimizer, "train")


def _up_to(step: int, horizon: int | None) -> int:
    """After its planned end a schedule stays where it ended."""
    return step if horizon is None else min(step, horizon)
