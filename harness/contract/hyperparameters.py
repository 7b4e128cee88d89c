"""Hyperparameters: parsing, validation and relations between them, without importing what they configure."""

from __future__ import annotations

import ast
import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.contract.domains import Choice, Domain, Fixed, HParams, Integer, LogUniform, Scalar, Space, Uniform
from harness.errors import UsageError, unknown


def default(domain: Domain) -> Scalar:
    """The value used when nothing is tuned.

    >>> default(LogUniform(1e-4, 1e-2))
    0.001
    """
    if isinstance(domain, Choice):
        return domain.values[0] if domain.default is None else domain.default
    if domain.default is not None:
        return domain.default
    if isinstance(domain, LogUniform):
        return float(f"{math.sqrt(domain.low * domain.high):.6g}")
    if isinstance(domain, Integer):
        return (domain.low + domain.high) // 2
    assert isinstance(domain, Uniform)
    return (domain.low + domain.high) / 2


def parse(name: str, text: str, domain: Domain) -> Scalar:
    """The value that a user typed, in the domain's type.

    Raises:
        UsageError: it is not of that type, or outside the domain.
    """
    return validate(name, _typed(name, text, domain), domain)


def validate(name: str, value: Scalar, domain: Domain) -> Scalar:
    """`value` in the domain's own type, if it is allowed there by hand.

    Raises:
        UsageError: naming the hyperparameter, the value and what is allowed.
    """
    if isinstance(domain, Choice) or (isinstance(domain, Fixed) and domain.values is not None):
        allowed = domain.values or ()
        if value not in allowed:
            raise UsageError(f"{name}={_show(value)} is not allowed", fix=f"one of {_listed(allowed)}")
        return value
    if isinstance(domain, Fixed) and isinstance(domain.default, str | bool):
        if type(value) is not type(domain.default):
            raise UsageError(f"{name}={_show(value)} must be a {type(domain.default).__name__}")
        return value
    if isinstance(value, str | bool):
        raise UsageError(f"{name}={_show(value)} must be a number")
    whole = isinstance(domain, Integer) or (isinstance(domain, Fixed) and isinstance(domain.default, int))
    if whole and math.isfinite(value) and value != int(value):
        raise UsageError(f"{name}={_show(value)} must be a whole number")
    low, high = hard_limits(domain)
    open_below = isinstance(domain, LogUniform) and domain.limits is None
    if not math.isfinite(value):
        raise UsageError(f"{name}={_show(value)} must be a finite number")
    if value < low or value > high or (open_below and value <= low):
        raise UsageError(f"{name}={_show(value)} is out of range", fix=f"allowed: {_range(low, high, open_below)}")
    return int(value) if whole else float(value)


def hard_limits(domain: LogUniform | Uniform | Integer | Fixed) -> tuple[float, float]:
    """The bounds on a number set by hand; wider than the search range of a `LogUniform`."""
    if domain.limits is not None:
        low, high = domain.limits
        return (-math.inf if low is None else low), (math.inf if high is None else high)
    if isinstance(domain, LogUniform):
        return 0.0, math.inf
    if isinstance(domain, Fixed):
        return -math.inf, math.inf
    return domain.low, domain.high


def resolve(
    space: Space, given: Mapping[str, Scalar | str], checks: Iterable[str], context: Mapping[str, float | None]
) -> HParams:
    """Every hyperparameter with its value: what was given over the defaults, all of it validated.

    Args:
        space: the hyperparameters there are.
        given: values set by hand; text is parsed.
        checks: relations that must hold.
        context: further names the relations may use (`horizon` and the shortest `task`, in updates).

    Raises:
        UsageError: an unknown name, a bad value, or a relation that does not hold.
    """
    values: HParams = {name: default(domain) for name, domain in space.items()}
    for name, value in given.items():
        if name not in space:
            raise unknown("hyperparameter", name, space)
        values[name] = parse(name, value, space[name]) if isinstance(value, str) else validate(name, value, space[name])
    for check in checks:
        require(check, values, context)
    return dict(sorted(values.items()))


# --- relations ----------------------------------------------------------------------------------

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: lambda a, b: a <= b or math.isclose(a, b),  # shares that make up a whole do so but for rounding
    ast.Gt: operator.gt,
    ast.GtE: lambda a, b: a >= b or math.isclose(a, b),
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def steps(value: float, horizon: float) -> float:
    """A duration in updates: below 1 it is a share of the horizon, from 1 on a number of updates.

    >>> steps(0.1, 500), steps(100, 500)
    (50.0, 100)
    """
    return value * horizon if value < 1 else value


def require(check: str, values: Mapping[str, Scalar], context: Mapping[str, float | None]) -> None:
    """Check a relation such as `"steps(warmup) + steps(decay) <= horizon"`; skipped where a name is unknown (None).

    Raises:
        UsageError: it does not hold; the message states it with the values.
        ValueError: it is not such a relation.
    """
    names: dict[str, Any] = {**values, **context}
    tree, used = _parsed(check)
    if any(names.get(name) is None for name in used):
        return
    if not _evaluate(tree.body, names):
        stated = ", ".join(f"{name}={_show(names[name])}" for name in used)
        share = float(values.get("horizon_fraction", 1.0))
        raise UsageError(
            f"these hyperparameters do not go together: {check} does not hold for {stated}",
            fix=f"horizon is {share:g} of the budget's updates, by horizon_fraction"
            if "horizon" in used and share != 1
            else None,
        )


def parse_check(check: str) -> ast.Expression:
    """The relation as a tree of comparisons, arithmetic, names, numbers and `steps`, `min`, `max`.

    Raises:
        ValueError: it holds anything else.
    """
    try:
        tree = ast.parse(check, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"check {check!r} is not an expression: {error.msg}") from None
    allowed = (ast.Expression, ast.Compare, ast.BinOp, ast.UnaryOp, ast.USub, ast.Name, ast.Load, ast.Constant)
    allowed += (ast.Call, ast.operator, ast.cmpop, ast.BoolOp, ast.And, ast.Or)  # type: ignore[assignment]
    for node in ast.walk(tree):
        if not isinstance(node, allowed) or (
            isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS)
        ):
            raise ValueError(f"check {check!r} may not contain {type(node).__name__}")
    return tree


@functools.cache
def _parsed(check: str) -> tuple[ast.Expression, tuple[str, ...]]:
    """A relation and the names in it; kept, since a plan of thousands of trials asks for the same few again."""
    tree = parse_check(check)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return tree, tuple(sorted(names - set(_FUNCTIONS)))


_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "steps": steps}


def _evaluate(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return names[node.id]
        case ast.UnaryOp():
            return -_evaluate(node.operand, names)
        case ast.BinOp():
            return _BINARY[type(node.op)](_evaluate(node.left, names), _evaluate(node.right, names))
        case ast.BoolOp():
            results = (_evaluate(value, names) for value in node.values)
            return all(results) if isinstance(node.op, ast.And) else any(results)
        case ast.Call(func=ast.Name(id=function)):
            values = [_evaluate(argument, names) for argument in node.args]
            return steps(values[0], names["horizon"]) if function == "steps" else _FUNCTIONS[function](*values)
        case ast.Compare():
            left = _evaluate(node.left, names)
            for op, comparator in zip(node.ops, node.comparators, strict=True):
                right = _evaluate(comparator, names)
                if not _COMPARE[type(op)](left, right):
                    return False
                left = right
            return True
    raise ValueError(f"not a relation: {ast.dump(node)}")


# --- text ---------------------------------------------------------------------------------------


def describe(domain: Domain) -> str:
    """A domain in a few words.

    >>> describe(LogUniform(1e-4, 1e-2))
    'log-uniform 0.0001 to 0.01'
    """
    match domain:
        case Choice():
            return f"one of {_listed(domain.values)}"
        case Fixed(values=tuple(values)):
            return f"fixed, or one of {_listed(values)}"
        case Fixed():
            return "fixed"
        case LogUniform():
            return f"log-uniform {domain.low:g} to {domain.high:g}"
        case Uniform():
            return f"uniform {domain.low:g} to {domain.high:g}"
        case Integer():
            return f"whole number {domain.low} to {domain.high}"


def _typed(name: str, text: str, domain: Domain) -> Scalar:
    sample = domain.values[0] if isinstance(domain, Choice) else default(domain)
    if isinstance(sample, bool):
        if text.lower() not in ("true", "false"):
            raise UsageError(f"{name}={text} must be true or false")
        return text.lower() == "true"
    if isinstance(sample, str):
        return text
    try:
        number = float(text)
    except ValueError:
        raise UsageError(f"{name}={text} must be a number") from None
    if isinstance(sample, int) and number.is_integer():
        return int(number)
    return number


def _range(low: float, high: float, open_below: bool) -> str:
    if low == -math.inf:
        return f"at most {high:g}"
    if high == math.inf:
        return f"{'above' if open_below else 'at least'} {low:g}"
    return f"{'above ' if open_below else ''}{low:g} to {high:g}"


def _listed(values: Iterable[Scalar]) -> str:
    return ", ".join(_show(value) for value in values)


def _show(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
