"""Derive the search space of an optimizer class from its signature."""

from __future__ import annotations

import inspect
import math
from typing import Any

from harness.contract.domains import Fixed, LogUniform, Scalar, Space
from harness.errors import PluginError

#: Argument with the same meaning in all optimizers -> the minimum and maximum of its values.
_LIMITS = {
    "momentum": (0.0, 0.999999),
    "betas": (0.0, 0.999999),
    "weight_decay": (0.0, math.inf),
    "eps": (0.0, math.inf),
}


def signature_space(optimizer: Any) -> Space:
    """Return the search space of an optimizer class. Only the learning rate is searched. Other scalars are fixed.

    `betas` become the hyperparameters `beta1`, `beta2` and so on.

    Raises:
        PluginError: an argument other than the parameters and the learning rate has no default, or `step` requires a
            closure, as in `torch.optim.LBFGS`.
    """
    # An optimizer with a closure decides how often an update computes the loss. A submission must decide this itself.
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise PluginError(
            f"{optimizer.__name__} computes the loss within its step, so it is not a submission by itself",
            fix="write a submission class whose `step` calls `work.backward` in the closure",
        )
    space: Space = {}
    # The first argument of the class is the model's parameters.
    for parameter in list(inspect.signature(optimizer).parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = parameter.default
        if parameter.name == "lr":
            is_learning_rate = isinstance(default, float) and 0 < default < math.inf
            space["lr"] = LogUniform(1e-4, 1e-1, default=float(default) if is_learning_rate else 1e-3)
        elif default is parameter.empty:
            raise PluginError(
                f"{optimizer.__name__} needs the argument {parameter.name!r}", fix="write a Recipe that passes it"
            )
        elif parameter.name == "betas" and isinstance(default, tuple):
            space |= {f"beta{k}": _fix_at("betas", beta) for k, beta in enumerate(default, 1)}
        elif _is_scalar(default):
            # `weight_decay: float = 0` accepts real numbers although its default is an integer.
            is_real = parameter.annotation in (float, "float") and not isinstance(default, str | bool)
            space[parameter.name] = _fix_at(parameter.name, float(default) if is_real else default)
    return space


def _fix_at(name: str, default: Scalar) -> Fixed:
    """Return a domain fixed at an argument's default, with the limits in `_LIMITS` if the default lies within them."""
    low, high = _LIMITS.get(name, (math.inf, -math.inf))
    if isinstance(default, str | bool) or not low <= default <= high:
        return Fixed(default)
    return Fixed(float(default), limits=(low, None if high == math.inf else high))


def _is_scalar(value: Any) -> bool:
    """Return whether a value can be a hyperparameter: a finite number, a string or a Boolean."""
    return isinstance(value, Scalar) and not (isinstance(value, float) and not math.isfinite(value))
