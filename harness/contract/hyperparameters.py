"""Parse and validate the values of hyperparameters, and check relations between them."""

from __future__ import annotations

import ast
import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.contract.domains import Choice, Domain, Fixed, HParams, Integer, LogUniform, Scalar, Space, Uniform
from harness.contract.limits import parse_number
from harness.errors import UsageError, unknown_name_error


def default(domain: Domain) -> Scalar:
    """Return the value that a hyperparameter has without tuning and without an override.

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
    """Convert the text of an override to a value of the domain.

    Args:
        name: name of the hyperparameter, for error messages.
        text: the text of the override.
        domain: the domain of the hyperparameter.

    Raises:
        UsageError: the text does not have the type of the domain, or the domain does not allow the value.
    """
    return validate(name, _convert(name, text, domain), domain)


def validate(name: str, value: Scalar, domain: Domain) -> Scalar:
    """Convert the value of an override to the domain's type, and check that the domain allows the value.

    Args:
        name: name of the hyperparameter, for error messages.
        value: the value of the override.
        domain: the domain of the hyperparameter.

    Raises:
        UsageError: the value is not allowed. The message contains the hyperparameter, the value and the allowed values.
    """
    if isinstance(domain, Choice) or (isinstance(domain, Fixed) and domain.values is not None):
        # The default of a `Fixed` hyperparameter is not tuned, but a user may override it.
        allowed = domain.values or ()
        if value not in allowed:
            raise UsageError(f"{name}={_format_value(value)} is not allowed", fix=f"choose one of: {_join(allowed)}")
        return value
    if isinstance(domain, Fixed) and isinstance(domain.default, str | bool):
        if type(value) is not type(domain.default):
            example = "for example: " + ("true" if isinstance(domain.default, bool) else repr(domain.default))
            expected = "true or false" if isinstance(domain.default, bool) else "text"
            raise UsageError(f"{name}={_format_value(value)} must be {expected}", fix=example)
        return value
    if isinstance(value, str | bool):
        raise UsageError(f"{name}={_format_value(value)} must be a number", fix=f"allowed: {_describe_numbers(domain)}")
    try:
        float(value)
    except OverflowError:
        problem = f"{name} has a value that exceeds the range of a float"
        raise UsageError(problem, fix=f"allowed: {_describe_numbers(domain)}") from None
    is_integer = isinstance(domain, Integer) or (isinstance(domain, Fixed) and isinstance(domain.default, int))
    if is_integer and math.isfinite(value) and value != int(value):
        raise UsageError(
            f"{name}={_format_value(value)} must be a whole number", fix=f"allowed: {_describe_numbers(domain)}"
        )
    if not math.isfinite(value):
        raise UsageError(
            f"{name}={_format_value(value)} must be a finite number", fix=f"allowed: {_describe_numbers(domain)}"
        )
    low, high = override_limits(domain)
    if value < low or value > high or (_excludes_low(domain) and value <= low):
        raise UsageError(f"{name}={_format_value(value)} is out of range", fix=f"allowed: {_describe_numbers(domain)}")
    return int(value) if is_integer else float(value)


def override_limits(domain: LogUniform | Uniform | Integer | Fixed) -> tuple[float, float]:
    """Return the lower and the upper bound on an override. A bound that does not apply is infinite.

    A `LogUniform` without `limits` has the bounds 0 and infinity, not the ends of its search range.
    """
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
    """Return the value of every hyperparameter: its override if there is one, otherwise its default.

    The hyperparameters are in alphabetical order.

    Args:
        space: domains of the hyperparameters by name.
        overrides: values of overrides by name. A string is parsed.
        checks: relations that the values must satisfy.
        context: values of the names `horizon` and `task` in relations; None for an unknown value. Both values are
            numbers of planned updates. `horizon`: in the whole run. `task`: in the shortest stage of a stream with
            visible boundaries.

    Raises:
        UsageError: a name is unknown, a value is not allowed, or a relation does not hold.
    """
    values: HParams = {name: default(domain) for name, domain in space.items()}
    for name, value in overrides.items():
        if name not in space:
            raise unknown_name_error("hyperparameter", name, space)
        values[name] = parse(name, value, space[name]) if isinstance(value, str) else validate(name, value, space[name])
    for check in checks:
        check_relation(check, values, context)
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
    ast.LtE: lambda a, b: a <= b or math.isclose(a, b),  # Rounding errors must not violate the relation.
    ast.Gt: operator.gt,
    ast.GtE: lambda a, b: a >= b or math.isclose(a, b),
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def steps(value: float, horizon: float) -> float:
    """Return a duration in updates.

    Args:
        value: the duration. A value below 1 is a fraction of the horizon. Any other value is a number of updates.
        horizon: number of updates for which the schedule is planned.

    >>> steps(0.1, 500), steps(100, 500)
    (50.0, 100)
    """
    return value * horizon if value < 1 else value


def check_relation(check: str, values: Mapping[str, Scalar], context: Mapping[str, float | None]) -> None:
    """Check that a relation such as `"steps(warmup) + steps(decay) <= horizon"` holds.

    If a name in the relation has the value None, the relation is not checked.

    Args:
        check: the text of the relation.
        values: values of the hyperparameters by name.
        context: values of the names `horizon` and `task` (see `resolve`).

    Raises:
        UsageError: the relation does not hold, or cannot be computed for these values, for example because of a
            division by zero. The message contains the relation and the values.
        ValueError: the text is not a relation.
    """
    names: dict[str, Any] = {**values, **context}
    tree, used = _parse_cached(check)
    if any(names.get(name) is None for name in used):
        return
    assignments = ", ".join(f"{name}={_format_value(names[name])}" for name in used)
    try:
        holds = _evaluate(tree.body, names)
    except (ArithmeticError, TypeError) as error:
        raise UsageError(
            f"the check {check} cannot be computed for {assignments}: {error}",
            fix="change one of these values, or correct the check of the submission or part",
        ) from None
    if not holds:
        fraction = float(values.get("horizon_fraction", 1.0))
        explanation = f"; horizon is {fraction:g} of the budget's updates, because of horizon_fraction"
        raise UsageError(
            f"these hyperparameters are inconsistent: {check} does not hold for {assignments}",
            fix=f"change one of these values{explanation if 'horizon' in used and fraction != 1 else ''}",
        )


def parse_check(check: str) -> ast.Expression:
    """Return the syntax tree of a relation.

    A relation consists of comparisons with `<`, `<=`, `>`, `>=`, `==` and `!=`, of `and` and `or`, of arithmetic with
    `+`, `-`, `*` and `/`, of names, numbers and strings, and of calls `steps(x)`, `min(x, y, ...)` and
    `max(x, y, ...)`.

    Raises:
        ValueError: the text is not a relation.
    """
    try:
        tree = ast.parse(check, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"check {check!r} is not an expression: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a null character, or too many nested parentheses
        raise ValueError(f"check {check!r} is not an expression: {error}") from None
    called = {id(node.func): len(node.args) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        is_function = isinstance(node, ast.Name) and node.id in _FUNCTIONS
        if not isinstance(node, _ALLOWED) or is_function != (id(node) in called):
            part = node.id if isinstance(node, ast.Name) else type(node).__name__
            raise ValueError(f"check {check!r} may not contain {part}; {_GRAMMAR}")
        if isinstance(node, ast.Constant) and not isinstance(node.value, (int, float, str)):
            raise ValueError(f"check {check!r} may not contain {node.value!r}; {_GRAMMAR}")
        if isinstance(node, ast.Name) and is_function and (called[id(node)] == 1) != (node.id == "steps"):
            raise ValueError(f"check {check!r} calls {node.id} with {called[id(node)]} values; {_GRAMMAR}")
    return tree


@functools.cache
def _parse_cached(check: str) -> tuple[ast.Expression, tuple[str, ...]]:
    """Return the syntax tree of a relation and the names in it.

    The result is cached, because all trials of a plan share the same relations.
    """
    tree = parse_check(check)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if "steps" in names:
        names.add("horizon")
    return tree, tuple(sorted(names - set(_FUNCTIONS)))


_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "steps": steps}
#: The end of messages about a text that is not a relation.
_GRAMMAR = (
    "a check has comparisons (< <= > >= == !=), and, or, arithmetic (+ - * /), names, numbers, strings, steps(x), "
    "min(x, y) and max(x, y)"
)
#: The types of the nodes of a relation: exactly those that `_evaluate` computes.
_ALLOWED = (ast.Expression, ast.Compare, ast.BinOp, ast.UnaryOp, ast.USub, ast.Name, ast.Load, ast.Constant, ast.Call)
_ALLOWED += (ast.BoolOp, ast.And, ast.Or, *_BINARY, *_COMPARE)  # type: ignore[assignment]


def _evaluate(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return the value of an expression.

    Args:
        node: the syntax tree of the expression.
        names: values of the names in the expression.
    """
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
    """Return a domain in words.

    >>> describe(LogUniform(1e-4, 1e-2))
    'log-uniform 0.0001 to 0.01'
    """
    match domain:
        case Choice():
            return f"one of {_join(domain.values)}"
        case Fixed(values=tuple(values)):
            return f"not tuned; one of {_join(values)}"
        case Fixed():
            return "not tuned"
        case LogUniform():
            return f"log-uniform {domain.low:g} to {domain.high:g}"
        case Uniform():
            return f"uniform {domain.low:g} to {domain.high:g}"
        case Integer():
            return f"whole number {domain.low} to {domain.high}"


def _convert(name: str, text: str, domain: Domain) -> Scalar:
    """Convert text to the type of the domain's default, or of its first value for a `Choice`."""
    sample = domain.values[0] if isinstance(domain, Choice) else default(domain)
    if isinstance(sample, bool):
        if text.lower() not in ("true", "false"):
            raise UsageError(f"{name}={text} must be true or false", fix=f"{name}=true or {name}=false")
        return text.lower() == "true"
    if isinstance(sample, str):
        return text
    try:
        number = parse_number(text)
    except ValueError:
        raise UsageError(
            f"{name}={text} must be a number", fix=f"for example: {name}={_format_value(sample)}"
        ) from None
    if isinstance(sample, int) and number.is_integer():
        return int(number)
    return number


def _describe_numbers(domain: LogUniform | Uniform | Integer | Fixed) -> str:
    """Return in words the range of numbers that an override may have."""
    low, high = override_limits(domain)
    if low == -math.inf:
        return f"at most {high:g}" if high != math.inf else "any finite number"
    if high == math.inf:
        return f"{'above' if _excludes_low(domain) else 'at least'} {low:g}"
    return f"{'above ' if _excludes_low(domain) else ''}{low:g} to {high:g}"


def _excludes_low(domain: Domain) -> bool:
    """Return whether an override must be larger than the lower bound. This holds for `LogUniform` without limits."""
    return isinstance(domain, LogUniform) and domain.limits is None


def _join(values: Iterable[Scalar]) -> str:
    return ", ".join(_format_value(value) for value in values)


def _format_value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
