"""The code of the harness and of the workload stays as it is.

Forbidden: replacing functions, classes, methods, imported modules or constants (names in capital letters) of the
harness or of the workload in the worker process; hiding a method of the workload, or of an object of the harness that
a submission can reach, by an attribute with the same name; and replacing the objects that compute the passes. The code
of the workload is the module of its class, and the modules of the same package that this module uses. Other values,
such as numbers and tensors in attributes, and the code of other libraries are not compared. All code is compared at
every evaluation, and the code that computes passes also during random passes.

Why: the clock, the counters, the losses and the passes run in the same process as the submission. Their code must be
the same in every run.

Instead: use the arguments of the constructor and of `step`. Define your own versions of functions in your own modules.
"""

from __future__ import annotations

import builtins
import itertools
import operator
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, TypeGuard

from torch import nn

from harness.contract.run import RunSpec
from harness.errors import RejectedError
from harness.plugins import loading
from harness.worker.distributed.collectives import ProcessGroup
from harness.worker.forward import ForwardPass
from harness.worker.microbatch import MicrobatchedPasses
from harness.worker.passes import WholeBatchPasses
from harness.worker.rule import Rule
from harness.worker.work import CountedWork

#: Prefix of the names of the modules whose code is compared.
_PACKAGE = "harness."
#: Fraction of the calls during passes at which the code of the passes is compared.
_COMPARED_SHARE = 0.1
#: Modules of the harness that compute a pass. They and the modules of the workload are also compared during passes.
_PASS_MODULES = frozenset(cls.__module__ for cls in (CountedWork, ForwardPass, MicrobatchedPasses, WholeBatchPasses))
_DESCRIPTORS = (property, staticmethod, classmethod, cached_property)


class _Binding(NamedTuple):
    """A name in a module or class, and the value that is bound to this name.

    Args:
        namespace: the dict of the module or class.
        name: the name.
        value: the function, class, descriptor, module or constant.
        functions: the functions in the value, each with its code and its default values. There are several if a
            decorator wraps a function.
        owner: import path of the module or class.
    """

    namespace: Mapping[str, object]
    name: str
    value: object
    functions: tuple[tuple[FunctionType, CodeType, tuple[Any, ...] | None], ...]
    owner: str


class _Guarded(NamedTuple):
    """An object that the submission can reach, with its class and the attributes that must not change."""

    value: object
    kind: type
    attributes: dict[str, Any]


class HarnessCode(Rule):
    """Compares the code of the harness and the workload with its state before the submission's import."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self._bindings: list[_Binding] = []
        self._are_unchanged: Callable[[], bool] = lambda: True
        self._are_passes_unchanged: Callable[[], bool] = lambda: True
        self._find_hiding_name: Callable[[], str] = lambda: ""
        self._draw = random.SystemRandom().random
        self._guarded: list[_Guarded] = []

    def before_import(self) -> None:
        modules = {name: module for name, module in sys.modules.items() if name.startswith(_PACKAGE)}
        modules |= {module.__name__: module for module in list_workload_modules(self.spec.workload.load)}
        by_module = {name: list(_list_bindings(name, vars(module))) for name, module in modules.items()}
        self._bindings = list(itertools.chain(*by_module.values()))
        classes = _list_classes(self._bindings)
        self._are_unchanged = _make_comparison(self._bindings, classes)
        in_passes = [name for name in modules if name in _PASS_MODULES or not name.startswith(_PACKAGE)]
        of_passes = list(itertools.chain(*(by_module[name] for name in in_passes)))
        self._are_passes_unchanged = _make_comparison(of_passes, _list_classes(of_passes))
        self._find_hiding_name = _make_search(list(modules.values()), classes)

    def after_import(self, process_seconds: float) -> None:
        # A replaced method could be bound while the run is built, and restored before the first evaluation.
        self._check_code()

    def on_forward(self, n: int) -> None:
        self.on_pass()

    def on_backward(self, n: int) -> None:
        self.on_pass()

    def on_pass(self) -> None:
        # A submission could swap the code of the loss around each pass, and restore it before the next evaluation. The
        # comparison takes too long for every pass, so it is made at random ones. `SystemRandom` cannot be predicted.
        if self._draw() < _COMPARED_SHARE and not self._are_passes_unchanged():
            raise _changed(next(_list_changed(self._bindings), "a function of the workload"))

    def before_construction(self, model: nn.Module, group: ProcessGroup) -> None:
        self._check_code()
        parts = [part for work in self.objects if isinstance(work, CountedWork) for part in _list_parts(work)]
        self._guarded = [_Guarded(value, type(value), _list_attributes(value)) for value in (*self.objects, *parts)]

    def _check_code(self) -> None:
        if not self._are_unchanged():
            raise _changed(next(_list_changed(self._bindings), "a function of the harness or of the workload"))
        if hiding := self._find_hiding_name():
            raise _changed(hiding)

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        self._check_code()
        for value, kind, attributes in self._guarded:
            if type(value) is not kind:
                raise _changed(f"the class of an object of {_import_path(kind)}")
            values: dict[str, Any] = getattr(value, "__dict__", {})  # a workload may have slots
            hidden = [
                name
                for name in values
                if name not in attributes and isinstance(getattr(kind, name, None), FunctionType | MethodType)
            ]
            replaced = [name for name, attribute in attributes.items() if values.get(name) is not attribute]
            for name in (*hidden, *replaced):
                raise _changed(f"{_import_path(kind)}.{name} of an object")


def _make_comparison(bindings: list[_Binding], classes: list[type]) -> Callable[[], bool]:
    """Return a function that returns whether all bindings and the base classes of all classes are unchanged.

    There are thousands of bindings, which are compared at every evaluation. The loops therefore run in C. The returned
    function calls no function by a name of this module or of `builtins`, because a submission could replace it there.
    """
    every, is_same, apply, key_error = all, operator.is_, map, KeyError
    read_code, read_defaults = operator.attrgetter("__code__"), operator.attrgetter("__defaults__")
    read_bases = operator.attrgetter("__mro__")
    functions = [function for binding in bindings for function in binding.functions]
    values, codes, defaults = ([function[i] for function in functions] for i in range(3))
    bases = [cls.__mro__ for cls in classes]
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
        return (
            every(apply(is_same, apply(read_code, values), codes))
            and every(apply(is_same, apply(read_defaults, values), defaults))
            and every(apply(is_same, apply(read_bases, classes), bases))
        )

    return are_unchanged


def _make_search(modules: list[ModuleType], classes: list[type]) -> Callable[[], str]:
    """Return a function that returns the import path of a name that was added and hides another; empty if none does.

    A name in a module can hide a builtin function. A name in a class can hide an inherited method. Other new names are
    allowed: Python adds the submodules of a package when they are imported. Like the function of `_make_comparison`,
    the returned function calls no function by its name.
    """
    count, names_of, is_instance, is_callable, has_base = len, frozenset, isinstance, callable, any
    builtin_names, descriptors = frozenset(vars(builtins)), _DESCRIPTORS
    in_modules = [(module.__name__, vars(module), frozenset(vars(module))) for module in modules]
    in_classes = [(_import_path(cls), vars(cls), frozenset(vars(cls)), cls.__mro__[1:]) for cls in classes]

    def find_hiding_name() -> str:
        for path, namespace, names in in_modules:
            if count(namespace) != count(names):
                for name in (names_of(namespace) - names) & builtin_names:
                    return f"{path}.{name}"
        for path, members, names, bases in in_classes:
            if count(members) != count(names):
                for name in names_of(members) - names:
                    value = members[name]
                    # `typing.Protocol` copies `__init__` of a base class when the class is first called.
                    if has_base(base.__dict__.get(name) is value for base in bases):
                        continue
                    if is_callable(value) or is_instance(value, descriptors):
                        return f"{path}.{name}"
        return ""

    return find_hiding_name


def _list_changed(bindings: list[_Binding]) -> Iterator[str]:
    """Yield the names whose values were replaced, and the functions whose code or default values were replaced."""
    for namespace, name, value, functions, owner in bindings:
        if namespace.get(name) is not value or any(
            function.__code__ is not code or function.__defaults__ is not defaults
            for function, code, defaults in functions
        ):
            yield f"{owner}.{name}"


def _list_classes(bindings: list[_Binding]) -> list[type]:
    """Return the classes that the modules of the bindings define."""
    return list({value: None for _, _, value, _, owner in bindings if _is_class_of(value, owner)})


def _changed(name: str) -> RejectedError:
    return RejectedError(
        f"{name} was replaced",
        fix="leave the functions and objects of the harness and of the workload as they are; what a submission needs "
        "is in its arguments",
    )


# --- what is compared -----------------------------------------------------------------------------


def list_workload_modules(load: str) -> list[ModuleType]:
    """Return the module of a workload, and the modules of its package that this module uses, directly or not.

    The packages of the classes from which the workload inherits are treated like its own package, except the standard
    library and torch.

    Args:
        load: import path of the workload's class.
    """
    workload = loading.load_object(load)
    module_name = loading.split_load(load)[0]
    module = loading.import_file(Path(module_name)) if loading.is_file(module_name) else sys.modules[module_name]
    bases = {base.__module__ for base in getattr(workload, "__mro__", ())}
    packages = {name.partition(".")[0] for name in (module.__name__, *bases)}
    packages -= {*sys.stdlib_module_names, "torch", "harness"}
    modules = {module.__name__: module, **{name: sys.modules[name] for name in bases if name in sys.modules}}
    modules = {name: used for name, used in modules.items() if name.partition(".")[0] in packages}
    remaining = list(modules.values())
    while remaining:
        for value in list(vars(remaining.pop()).values()):
            used = value if isinstance(value, ModuleType) else _defining_module(value)
            if used is not None and used.__name__.partition(".")[0] in packages and used.__name__ not in modules:
                modules[used.__name__] = used
                remaining.append(used)
    return list(modules.values())


def _defining_module(value: object) -> ModuleType | None:
    """Return the module that defines a function or class; None for other values."""
    name = getattr(value, "__module__", None) if callable(value) else None
    return sys.modules.get(name) if isinstance(name, str) else None


def _list_bindings(owner: str, namespace: Mapping[str, Any]) -> Iterator[_Binding]:
    """Yield the names of a module that must not change, and those of the classes that the module defines."""
    for name, value in namespace.items():
        is_constant = name.isupper() and value is not None  # a cache may be None until it is first used
        if not is_constant and not callable(value) and not isinstance(value, (ModuleType, *_DESCRIPTORS)):
            continue
        functions = tuple((inner, inner.__code__, inner.__defaults__) for inner in _list_functions(value))
        yield _Binding(namespace, name, value, functions, owner)
        if _is_class_of(value, owner):
            yield from _list_bindings(f"{owner}.{name}", value.__dict__)


def _is_class_of(value: object, module: str) -> TypeGuard[type]:
    """Return whether the value is a class that the module defines."""
    return isinstance(value, type) and value.__module__ == module


def _list_functions(value: Any) -> Iterator[FunctionType]:
    """Yield the functions in a function, a descriptor or a decorated function."""
    if isinstance(value, FunctionType):
        yield value
    if isinstance(value, property):
        inner: tuple[Any, ...] = (value.fget, value.fset, value.fdel)
    elif isinstance(value, cached_property):
        inner = (value.func,)
    elif callable(value) or isinstance(value, _DESCRIPTORS):
        inner = (vars(value).get("__wrapped__") if hasattr(value, "__dict__") else None,)
    else:
        inner = ()
    for function in inner:
        if function is not None and function is not value:
            yield from _list_functions(function)


def _list_parts(work: CountedWork) -> list[object]:
    """Return the objects of the harness that `work` consists of, such as the object that computes passes."""
    return [value for value in vars(work).values() if _is_part(value)]


def _is_part(value: object) -> bool:
    return type(value).__module__.startswith(_PACKAGE) and hasattr(value, "__dict__")


def _list_attributes(guarded: object) -> dict[str, Any]:
    """Return the attributes that must not change: functions, and the objects that compute a pass."""
    has_parts = isinstance(guarded, CountedWork | ForwardPass | WholeBatchPasses | MicrobatchedPasses)
    return {
        name: value
        for name, value in getattr(guarded, "__dict__", {}).items()
        if callable(value) or (has_parts and (_is_part(value) or _holds_checks(value)))
    }


def _holds_checks(value: object) -> bool:
    """Return whether the value is a tuple of functions, such as the checks of the rules."""
    return isinstance(value, tuple) and all(map(callable, value))


def _import_path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
