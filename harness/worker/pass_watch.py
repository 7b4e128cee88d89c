"""Calls the checks of the rules in the middle of forward and backward passes.

A submission's hook could change a setting in the middle of a pass, and restore the setting before the pass ends. The
checks are therefore called by hooks on one module of the model and on one of the module's parameters. At every
evaluation, the hooks move to another module.

A compiled pass cannot contain further hooks. If the loss is compiled, a hook is therefore registered only while outputs
are computed, which are never compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class PassWatch:
    """Hooks on one module and on one of its parameters.

    Args:
        model: the model.
        checks: the functions to call.
        is_running: function that returns whether the harness is computing a forward pass. Forward passes that the
            submission itself makes are not checked. All backward passes are checked.
        is_permanent: whether the hooks stay registered. If False, they are registered only in `watched_forward`.
    """

    def __init__(
        self,
        model: nn.Module,
        checks: Sequence[Callable[[], None]],
        is_running: Callable[[], bool],
        *,
        is_permanent: bool = True,
    ) -> None:
        self._is_permanent = is_permanent
        self._modules = [
            module for module in model.modules() if checks and next(module.parameters(recurse=False), None) is not None
        ]
        self._index = -1
        self._handles: list[RemovableHandle] = []

        # These hooks are not methods: a deep copy of the model would also copy the object that has the method.
        def call_in_forward(module: nn.Module, args: Any, output: Any) -> None:
            if is_running():
                for check in checks:
                    check()

        def call_in_backward(gradient: Tensor) -> None:
            for check in checks:
                check()

        self._call_in_forward, self._call_in_backward = call_in_forward, call_in_backward
        self.move()

    def move(self) -> None:
        """Move the hooks to the next module."""
        for handle in self._handles:
            handle.remove()
        if not self._modules:
            return
        self._index = (self._index + 1) % len(self._modules)
        if not self._is_permanent:
            return
        module = self._modules[self._index]
        self._handles = [module.register_forward_hook(self._call_in_forward)]
        parameter = next((p for p in module.parameters(recurse=False) if p.requires_grad), None)
        if parameter is not None:
            handle = parameter.register_hook(self._call_in_backward)  # type: ignore[no-untyped-call]
            self._handles.append(handle)

    @contextmanager
    def watched_forward(self) -> Iterator[None]:
        """Return a context for one forward pass. If the hooks are not permanent, it registers the forward hook."""
        if self._is_permanent or not self._modules:
            yield
            return
        handle = self._modules[self._index].register_forward_hook(self._call_in_forward)
        try:
            yield
        finally:
            handle.remove()
