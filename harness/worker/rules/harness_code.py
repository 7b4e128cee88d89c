"""The harness's own code stays as it is.

Forbidden: replacing functions, classes or methods of the harness or of the workload in the worker process, and setting
attributes of the harness's objects that hide their methods.

Why: the clock, the counters and the evaluation run in the same process as the submission. Their code must be that of
every other run.

Instead: use the arguments of the constructor and of `step`, and keep replaced functions in your own modules.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from torch import nn

from harness.contract.run import RunSpec
from harness.errors import RejectedError
from harness.worker.distributed.collectives import ProcessGroup
from harness.worker.rule import Rule

#: Prefix of the names of the modules whose code is compared.
_PACKAGE = "harness."


class HarnessCode(Rule):
    """Compares the functions and classes in the harness's modules with those before the submission's import."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self._modules: dict[str, ModuleType] = {}
        self._original: dict[str, Any] = {}
        self._attributes: list[dict[str, Any]] = []

    def before_import(self) -> None:
        self._modules = {name: module for name, module in sys.modules.items() if name.startswith(_PACKAGE)}
        self._original = dict(_list_code(self._modules))

    def before_construction(self, model: nn.Module, group: ProcessGroup) -> None:
        self._attributes = [
            {name: value for name, value in vars(guarded).items() if callable(value)} for guarded in self.objects
        ]

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        current = dict(_list_code(self._modules))
        for name, value in self._original.items():
            if current.get(name) is not value:
                raise _changed(name)
        for guarded, attributes in zip(self.objects, self._attributes, strict=True):
            kind, values = type(guarded), vars(guarded)
            hidden = [name for name in values if isinstance(getattr(kind, name, None), FunctionType)]
            replaced = [name for name, value in attributes.items() if values.get(name) is not value]
            for name in (*hidden, *replaced):
                raise _changed(f"{kind.__module__}.{kind.__qualname__}.{name} of an object")


def _changed(name: str) -> RejectedError:
    return RejectedError(
        f"{name} was replaced",
        fix="leave the harness's functions and objects as they are; what a submission needs is in its arguments",
    )


def _list_code(modules: dict[str, ModuleType]) -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of every function, builtin and class of modules, and of every method's code."""
    for module_name, module in modules.items():
        for name, value in vars(module).items():
            if isinstance(value, FunctionType):
                yield f"{module_name}.{name}", value
                yield f"{module_name}.{name} (code)", value.__code__
            elif isinstance(value, type):
                yield f"{module_name}.{name}", value
                if value.__module__ == module_name:
                    for method_name, method in vars(value).items():
                        yield f"{module_name}.{name}.{method_name}", method
                        if isinstance(method, FunctionType):
                            yield f"{module_name}.{name}.{method_name} (code)", method.__code__
            elif callable(value):
                yield f"{module_name}.{name}", value
