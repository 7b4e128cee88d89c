"""Hyperparameters: parsing, validation and relations between them, without importing what they configure."""

from __future__ import annotations

import ast
import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.contract.domains import Choice, Domain, Fixed, HParams, Integer, LogUniform, Scalar, Space, Uniform
from harness.errors import UsageError, unknown_name_error


def default(domain: Domain) -> Scalar:
    """The value where nothing is tuned.

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
    """Convert text to a value of the domain.

    Raises:
        UsageError: the text is not of the domain's type, or the value is outside the domain.
    """
    return validate(name, _convert(name, text, domain), domain)


def validate(name: str, value: Scalar, domain: Domain) -> Scalar:
    """Convert a value to the domain's type and check that an override may have it.

    Raises:
        UsageError: the value is not allowed; the message names the hyperparameter, the value and what is allowed.
    """
    if isinstance(domain, Choice) or (isinstance(domain, Fixed) and domain.values is not None):
        allowed = domain.values or ()
        if value not in allowed:
            raise UsageError(f"{name}={_show(value)} is not allowed", fix=f"one of {_join(allowed)}")
        return value
    if isinstance(domain, Fixed) and isinstance(domain.default, str | bool):
        if type(value) is not type(domain.default):
            example = "such as " + ("true" if isinstance(domain.default, bool) else repr(domain.default))
            raise UsageError(f"{name}={_show(value)} must be a {type(domain.default).__name__}", fix=example)
        return value
    if isinstance(value, str | bool):
        raise UsageError(f"{name}={_show(value)} must be a number", fix=f"allowed: {_describe_numbers(domain)}")
    is_integer = isinstance(domain, Integer) or (isinstance(domain, Fixed) and isinstance(domain.default, int))
    if is_integer and math.isfinite(value) and value != int(value):
        raise UsageError(f"{name}={_show(value)} must be a whole number", fix=f"allowed: {_describe_numbers(domain)}")
    if not math.isfinite(value):
        raise UsageError(f"{name}={_show(value)} must be a finite number", fix=f"allowed: {_describe_numbers(domain)}")
    low, high = hard_limits(domain)
    if value < low or value > high or (_excludes_low(domain) and value <= low):
        raise UsageError(f"{name}={_show(value)} is out of range", fix=f"allowed: {_describe_numbers(domain)}")
    return int(value) if is_integer else float(value)


def hard_limits(domain: LogUniform | Uniform | Integer | Fixed) -> tuple[float, float]:
    """The bounds on an override; those of a `LogUniform` are wider than its search range."""
    if domain.limits is not None:
        low, high = domain.limits
        return (-math.inf if low is None else low), (math.inf if high is None else high)
    if isinstance(domain, LogUniform):
        return 0.0, math.inf
    if isinstance(domain, Fixed):
        return -math.inf, math.inf
    return domain.low, domain.high


def resolve(
    space: Space, overrides: Mapping[str, Scalar | str], checks: Iterable[str], context: Mapping[str, float | None]
) -> HParams:
    """Every hyperparameter with its value: the override where there is one, else the default.

    Args:
        space: the hyperparameters.
        overrides: values by name; text is parsed.
        checks: relations that must hold.
        context: further names that the relations may use (`horizon` and the shortest `task`, in updates).

    Raises:
        UsageError: an unknown name, a bad value, or a relation that does not hold.
    """
    values: HParams = {name: default(domain) for name, domain in space.items()}
    for name, value in overrides.items():
        if name not in space:
            raise unknown_name_error("hyperparameter", name, space)
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
    """Check a relation such as `"steps(warmup) + steps(decay) <= horizon"`; it is skipped where a name in it is None.

    Raises:
        UsageError: the relation does not hold; the message states it with the values.
        ValueError: the text is not a relation.
    """
    names: dict[str, Any] = {**values, **context}
    tree, used = _parse_cached(check)
    if any(names.get(name) is None for name in used):
        return
    if not _evaluate(tree.body, names):
        stated = ", ".join(f"{name}={_show(names[name])}" for name in used)
        share = float(values.get("horizon_fraction", 1.0))
        planned = f"; horizon is {share:g} of the budget's updates, by horizon_fraction"
        raise UsageError(
            f"these hyperparameters do not go together: {check} does not hold for {stated}",
            fix=f"change one of them{planned if 'horizon' in used and share != 1 else ''}",
        )


def parse_check(check: str) -> ast.Expression:
    """The syntax tree of a relation: comparisons, arithmetic, names, numbers and `steps`, `min`, `max`.

    Raises:
        ValueError: the text contains anything else.
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
def _parse_cached(check: str) -> tuple[ast.Expression, tuple[str, ...]]:
    """A relation and the names in it; cached, since all trials of a plan have the same few relations."""
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
            operand = _evaluate(node.left, names)
            for op, comparator in zip(node.ops, node.comparators, strict=True):
                next_operand = _evaluate(comparator, names)
                if not _COMPARE[type(op)](operand, next_operand):
                    return False
                operand = next_operand
            return True
    raise ValueError(f"not a relation: {ast.dump(node)}")


# --- text ---------------------------------------------------------------------------------------


def describe(domain: Domain) -> str:
    """A domain in words.

    >>> describe(LogUniform(1e-4, 1e-2))
    'log-uniform 0.0001 to 0.01'
    """
    match domain:
        case Choice():
            return f"one of {_join(domain.values)}"
        case Fixed(values=tuple(values)):
            return f"fixed, or one of {_join(values)}"
        case Fixed():
            return "fixed"
        case LogUniform():
            return f"log-uniform {domain.low:g} to {domain.high:g}"
        case Uniform():
            return f"uniform {domain.low:g} to {domain.high:g}"
        case Integer():
            return f"whole number {domain.low} to {domain.high}"


def _convert(name: str, text: str, domain: Domain) -> Scalar:
    """Text as a value of the type of the domain's default."""
    sample = domain.values[0] if isinstance(domain, Choice) else default(domain)
    if isinstance(sample, bool):
        if text.lower() not in ("true", "false"):
            raise UsageError(f"{name}={text} must be true or false", fix=f"{name}=true or {name}=false")
        return text.lower() == "true"
    if isinstance(sample, str):
        return text
    try:
        number = float(text)
    except ValueError:
        raise UsageError(f"{name}={text} must be a number", fix=f"such as {name}={_show(sample)}") from None
    if isinstance(sample, int) and number.is_integer():
        return int(number)
    return number


def _describe_numbers(domain: LogUniform | Uniform | Integer | Fixed) -> str:
    """The numbers that an override may be, in words."""
    low, high = hard_limits(domain)
    if low == -math.inf:
        return f"at most {high:g}" if high != math.inf else "any finite number"
    if high == math.inf:
        return f"{'above' if _excludes_low(domain) else 'at least'} {low:g}"
    return f"{'above ' if _excludes_low(domain) else ''}{low:g} to {high:g}"


def _excludes_low(domain: Domain) -> bool:
    """Whether the lower bound itself is not allowed: a `LogUniform` without limits takes any positive number."""
    return isinstance(domain, LogUniform) and domain.limits is None


def _join(values: Iterable[Scalar]) -> str:
    return ", ".join(_show(value) for value in values)


def _show(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
