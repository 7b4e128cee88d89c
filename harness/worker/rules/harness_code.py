"""The harness's own code stays as it is.

Forbidden: replacing functions, classes or methods of the harness or of the workload in the worker process, and hiding a
method of a harness object by an attribute with the same name.

Why: the clock, the counters and the evaluation run in the same process as the submission. Their code must be the same
in every run.

Instead: use the arguments of the constructor and of `step`. Define your own versions of functions in your own modules.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from torch import nn

from harness.contract.run import RunSpec
from harness.errors import RejectedError
from harness.worker.distributed.collectives import ProcessGroup
from harness.worker.rule import Rule

#: Prefix of the names of the modules whose code is compared.
_PACKAGE = "harness."


class _Binding(NamedTuple):
    """A name in a module or class, and the function or class that is bound to this name.

    Args:
        namespace: the dict of the module or class.
        name: the name.
        value: the function, class or descriptor.
        code: the code of a function; None for other values.
        owner: import path of the module or class.
    """

    namespace: Mapping[str, object]
    name: str
    value: object
    code: CodeType | None
    owner: str


class HarnessCode(Rule):
    """Compares the functions and classes of the harness with their state before the submission's import."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self._bindings: list[_Binding] = []
        self._are_unchanged: Callable[[], bool] = lambda: True
        self._attributes: list[dict[str, Any]] = []

    def before_import(self) -> None:
        modules = [(name, module) for name, module in sys.modules.items() if name.startswith(_PACKAGE)]
        self._bindings = [binding for name, module in modules for binding in _list_bindings(name, vars(module))]
        self._are_unchanged = _make_comparison(self._bindings)

    def before_construction(self, model: nn.Module, group: ProcessGroup) -> None:
        self._attributes = [
            {name: value for name, value in vars(guarded).items() if callable(value)} for guarded in self.objects
        ]

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        if not self._are_unchanged():
            raise _changed(next(_list_changed(self._bindings), "a function of the harness"))
        for guarded, attributes in zip(self.objects, self._attributes, strict=True):
            kind, values = type(guarded), vars(guarded)
            hidden = [name for name in values if isinstance(getattr(kind, name, None), FunctionType)]
            replaced = [name for name, value in attributes.items() if values.get(name) is not value]
            for name in (*hidden, *replaced):
                raise _changed(f"{kind.__module__}.{kind.__qualname__}.{name} of an object")


def _make_comparison(bindings: list[_Binding]) -> Callable[[], bool]:
    """Return a function that returns whether all bindings are unchanged.

    There are thousands of bindings, which are compared at every evaluation. The loops therefore run in C. The returned
    function calls no function by a name of this module or of `builtins`, because a submission could replace it there.
    """
    every, is_same, apply, key_error = all, operator.is_, map, KeyError
    read_code = operator.attrgetter("__code__")
    functions = [(binding.value, binding.code) for binding in bindings if binding.code is not None]
    values, codes = [value for value, _ in functions], [code for _, code in functions]
    by_namespace: dict[int, list[_Binding]] = {}
    for binding in bindings:
        by_namespace.setdefault(id(binding.namespace), []).append(binding)
    namespaces = []
    for members in by_namespace.values():
        members = [*members, members[0]]  # `itemgetter` returns a tuple only for two or more names
        read = operator.itemgetter(*(member.name for member in members))
        namespaces.append((read, members[0].namespace, [member.value for member in members]))

    def are_unchanged() -> bool:
        try:
            for read, namespace, expected in namespaces:
                if not every(apply(is_same, read(namespace), expected)):
                    return False
        except key_error:  # a name was removed
            return False
        return every(apply(is_same, apply(read_code, values), codes))

    return are_unchanged


def _list_changed(bindings: list[_Binding]) -> Iterator[str]:
    """Yield the names whose functions or classes were replaced, and the functions whose code was replaced."""
    for namespace, name, value, code, owner in bindings:
        if namespace.get(name) is not value or (code is not None and getattr(value, "__code__", None) is not code):
            yield f"{owner}.{name}"


def _changed(name: str) -> RejectedError:
    return RejectedError(
        f"{name} was replaced",
        fix="leave the harness's functions and objects as they are; what a submission needs is in its arguments",
    )


def _list_bindings(owner: str, namespace: Mapping[str, Any]) -> Iterator[_Binding]:
    """Yield the functions and classes of a module, and the members of the classes that the module defines."""
    for name, value in namespace.items():
        if not callable(value) and not isinstance(value, (property, staticmethod, classmethod)):
            continue
        code = value.__code__ if isinstance(value, FunctionType) else None
        yield _Binding(namespace, name, value, code, owner)
        if isinstance(value, type) and value.__module__ == owner:
            yield from _list_bindings(f"{owner}.{name}", value.__dict__)
