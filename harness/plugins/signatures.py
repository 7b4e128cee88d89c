"""Check the signatures of submissions and workloads, and describe the signatures of a recipe's functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from harness.contract.part_kinds import PART_KINDS, PartKind
from harness.errors import PluginError
from harness.plugins.contents import Signature

#: Methods of a submission class, with the names of the arguments that the harness passes.
SUBMISSION_METHODS: Mapping[str, tuple[str, ...]] = {
    "step": ("work",),
    "eval_weights": (),
    "state_dict": (),
    "load_state_dict": ("state",),
}
#: Methods of a workload, with the names of the arguments that the harness passes by position. By name, the harness
#: passes only model options (to `build_model`) and `per_example` (to `loss`).
WORKLOAD_METHODS: Mapping[str, tuple[str, ...]] = {
    "build_model": ("seed",),
    "parameter_kinds": ("model",),
    "train_data": ("seed",),
    "loss": ("model", "batch"),
    "outputs": ("model", "batch"),
    "evaluate": ("model", "split", "stage"),
}
#: Method of a workload that draws its held-out data afresh. It is optional.
REDRAW_METHOD = "draw_held_out"
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def describe_recipe(recipe: Any, name: str) -> tuple[Signature, ...]:
    """Return the signatures of the functions of a recipe.

    Args:
        recipe: a `Recipe`.
        name: name of the recipe, for messages.

    Raises:
        PluginError: a part is not callable, or cannot be called with the arguments that the harness passes.
    """
    signatures = []
    for kind in PART_KINDS.values():
        part = getattr(recipe, kind.name)
        if part is not None and not isinstance(part, str):
            if not callable(part):
                problem = f"the {kind.name} of {name} is a {type(part).__name__}"
                raise PluginError(problem, fix=f"give a function, or the name of a part: {kind.name}=…")
            if (signature := _describe_part(part, kind, name)) is not None:
                signatures.append(signature)
    return tuple(signatures)


def _describe_part(part: Callable[..., Any], kind: PartKind, recipe: str) -> Signature | None:
    """Return the signature of a part; None if Python does not know it, as for functions written in C."""
    try:
        parameters = list(inspect.signature(part).parameters.values())
    except (TypeError, ValueError):
        return None
    function = getattr(part, "__name__", type(part).__name__)
    positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL][: len(kind.arguments)]
    takes_any_number = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    keywords = [
        parameter for parameter in parameters if parameter not in positional and parameter.kind not in _VARIADIC
    ]
    positional_only = [parameter.name for parameter in keywords if parameter.kind is parameter.POSITIONAL_ONLY]
    if (len(positional) < len(kind.arguments) and not takes_any_number) or positional_only:
        call = f"{function}({', '.join((*kind.arguments, '*', '**hyperparameters'))})".replace(", *, ", ", ")
        raise PluginError(
            f"the {kind.name} {function} of {recipe} has the wrong arguments: {function}{_signature_text(part)}",
            fix=f"the harness calls {call}: define it with the positional arguments {', '.join(kind.arguments)}",
        )
    # The harness passes `horizon` to every part except schedules, which read it from their progress.
    supplied = {"horizon"} if kind.name != "schedule" else set()
    return Signature(
        kind=kind.name,
        function=function,
        positional=tuple(parameter.name for parameter in positional),
        accepted=tuple(parameter.name for parameter in keywords),
        required=tuple(p.name for p in keywords if p.default is p.empty and p.name not in supplied),
        open=any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters),
    )


def check_submission_class(cls: type, name: str) -> None:
    """Check that the harness can call the constructor and the methods of a submission class.

    Raises:
        PluginError: a method is missing, or has the wrong arguments.
    """
    _check_constructor(cls, name, ("model", "task", "hparams"), {})
    for method, arguments in SUBMISSION_METHODS.items():
        _check_method(cls, name, method, arguments)


def check_workload_class(
    cls: type, name: str, options: Mapping[str, object], arguments: Mapping[str, object] | None
) -> None:
    """Check that the harness can call the constructor and the methods of a workload class.

    Args:
        cls: the class.
        name: name of the class, for messages.
        options: the model options that the workload offers, by name.
        arguments: keyword arguments of the constructor; None if they are unknown.

    Raises:
        PluginError: a method is missing, or has the wrong arguments.
    """
    if arguments is not None:
        _check_constructor(cls, name, (), arguments)
    for method, positional in WORKLOAD_METHODS.items():
        keywords = {"build_model": options, "loss": {"per_example": False}}.get(method, {})
        _check_method(cls, name, method, positional, keywords)
    if hasattr(cls, REDRAW_METHOD):
        _check_method(cls, name, REDRAW_METHOD, ("seeds",))


def _check_constructor(cls: type, name: str, positional: tuple[str, ...], keywords: Mapping[str, object]) -> None:
    if not _accepts(cls, positional, keywords):
        expected = _call_text("__init__", ("self", *positional), keywords)
        problem = f"the constructor of {name} has the wrong arguments: {name}{_signature_text(cls)}"
        raise PluginError(problem, fix=f"define {expected}")


def _check_method(
    cls: type, name: str, method: str, positional: tuple[str, ...], keywords: Mapping[str, object] | None = None
) -> None:
    function = getattr(cls, method, None)
    expected = _call_text(method, ("self", *positional), keywords or {})
    if not callable(function):
        raise PluginError(f"{name} has no method {method}()", fix=f"define {expected}")
    is_bound = isinstance(inspect.getattr_static(cls, method), staticmethod | classmethod)
    if not _accepts(function, positional if is_bound else ("self", *positional), keywords or {}):
        problem = f"{name}.{method}() has the wrong arguments: {method}{_signature_text(function)}"
        raise PluginError(problem, fix=f"define {expected}")


def _accepts(function: Callable[..., Any], positional: tuple[str, ...], keywords: Mapping[str, object]) -> bool:
    """Return whether a function can be called with these arguments.

    Return True if this is unknown, as for functions written in C.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*positional, **keywords)
    except TypeError:
        return False
    return True


def _call_text(function: str, positional: tuple[str, ...], keywords: Mapping[str, object]) -> str:
    return f"{function}({', '.join((*positional, *(f'{name}=…' for name in keywords)))})"


def _signature_text(function: Callable[..., Any]) -> str:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return "(…)"
    return f"({', '.join(str(parameter.replace(annotation=parameter.empty)) for parameter in parameters)})"
